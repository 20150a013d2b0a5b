"""python3 examples/use_asyncpg.py [sysconfig.json]: insert with asyncpg."""

import asyncio
import sys

from pgunison.pool.adapters.asyncpg import Pools
from pgunison.pool.routes import Routes


async def main() -> None:
    with Routes.open(sys.argv[1] if len(sys.argv) > 1 else "sysconfig.json") as routes:
        pools = Pools(routes, "writer1")
        for number in range(6):
            async with pools.connection() as connection:
                row = await connection.fetchrow("INSERT INTO table1 (col1) VALUES ($1) RETURNING id, modified_node", f"asyncpg {number}")
            print(f"stored row {row['id']} as node {row['modified_node']}")
        await pools.close()


asyncio.run(main())
