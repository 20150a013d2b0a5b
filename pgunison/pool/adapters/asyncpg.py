"""asyncpg: a pool a node."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from pgunison.endpoints import Endpoint
from pgunison.pool.routes import Routes

# how long one node may take to give a connection, before another one is tried
ACQUIRE_TIMEOUT_S = 1.0


class Pools:
    """The pools of a group, in one event loop; ``options`` are create_pool's."""

    def __init__(self, routes: Routes, group: str, **options: Any):
        self._routes, self._name, told = routes, group, routes.group(group)
        self._options: dict[str, Any] = {"min_size": 0, "max_size": told.connections_per_node, "command_timeout": told.statement_timeout_s + 0.5,
                         "server_settings": {"statement_timeout": str(int(told.statement_timeout_s * 1000))}} | options
        self._pools: dict[Endpoint, asyncpg.Pool] = {}

    @asynccontextmanager
    async def connection(self, key: object = None) -> "AsyncIterator[PoolConnectionProxy[Any]]":
        """Borrow a connection to the node that is next, as ``Pool.acquire`` does; Unavailable when no node gives one in the group's time."""
        tries = self._routes.tries(self._name, key)
        async with AsyncExitStack() as stack:
            while True:
                endpoint = await asyncio.to_thread(next, tries)
                try:
                    pool = await self._pool(endpoint)
                    lent = await stack.enter_async_context(pool.acquire(timeout=ACQUIRE_TIMEOUT_S))
                    break
                except (OSError, TimeoutError, asyncpg.PostgresConnectionError) as error:
                    # one whose connections are all in use is none the worse for it
                    if not (isinstance(error, TimeoutError) and self._in_use(endpoint)):
                        self._routes.lost(endpoint)
            yield lent

    def _in_use(self, endpoint: Endpoint) -> bool:
        pool = self._pools[endpoint]
        return pool.get_size() - pool.get_idle_size() >= pool.get_max_size()

    async def close(self) -> None:
        """Close all pools."""
        for pool in self._pools.values():
            await pool.close()

    async def _pool(self, endpoint: Endpoint) -> asyncpg.Pool:
        if endpoint not in self._pools:
            to = self._routes.parameters(self._name, endpoint)
            # told by the address, the authorities' certificates are read for each connection: renew changes them
            address = f"postgresql://?sslrootcert={quote(to['sslrootcert'], safe='')}" if "sslrootcert" in to else None
            self._pools[endpoint] = asyncpg.create_pool(address, host=to["host"], port=to["port"], database=to["dbname"], user=to["user"],
                                                        password=to["password"], ssl=to["sslmode"], **self._options)
        # a pool that is awaited again is opened once
        await self._pools[endpoint]
        return self._pools[endpoint]
