"""python3 examples/use_psycopg_pool.py [sysconfig.json]: insert with psycopg 3 and psycopg_pool."""

import sys

from pgunison.pool.adapters.psycopg_pool import Pools
from pgunison.pool.routes import Routes

with Routes.open(sys.argv[1] if len(sys.argv) > 1 else "sysconfig.json") as routes:
    pools = Pools(routes, "writer1")
    for number in range(6):
        with pools.connection() as connection:
            inserted = connection.execute("INSERT INTO table1 (col1) VALUES (%s) RETURNING id, modified_node", [f"psycopg {number}"])
            row = inserted.fetchone()
        print(f"stored row {row[0]} as node {row[1]}")
    pools.close()
