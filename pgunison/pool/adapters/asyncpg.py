"""asyncpg: a pool a node."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from pgunison.endpoints import Endpoint
from pgunison.pool.routes import Routes


class Pools:
    """The pools of a group, in one event loop; ``options`` are create_pool's."""

    def __init__(self, routes: Routes, group: str, **options: Any):
        self._routes, self._name, told = routes, group, routes.group(group)
        self._options: dict[str, Any] = {"min_size": 0, "max_size": told.connections_per_node, "command_timeout": told.statement_timeout_s + 0.5,
                         "server_settings": {"statement_timeout": str(int(told.statement_timeout_s * 1000))}} | options
        self._pools: dict[Endpoint, asyncpg.Pool] = {}

    @asynccontextmanager
    async def connection(self, key: object = None) -> "AsyncIterator[PoolConnectionProxy[Any]]":
        """Borrow a connection to the node that is next, as ``Pool.acquire`` does; Unavailable when no node takes work."""
        async with AsyncExitStack() as stack:
            while True:
                endpoint = await asyncio.to_thread(self._routes.next, self._name, key)
                try:
                    lent = await stack.enter_async_context((await self._pool(endpoint)).acquire(timeout=1.0))
                    break
                except (OSError, TimeoutError, asyncpg.PostgresConnectionError):
                    self._routes.lost(endpoint)
            yield lent

    async def close(self) -> None:
        """Close all pools."""
        for pool in self._pools.values():
            await pool.close()

    async def _pool(self, endpoint: Endpoint) -> asyncpg.Pool:
        if endpoint not in self._pools:
            to = self._routes.parameters(self._name, endpoint)
            tls = ssl.create_default_context(cafile=to["sslrootcert"]) if "sslrootcert" in to else False
            self._pools[endpoint] = asyncpg.create_pool(host=to["host"], port=to["port"], database=to["dbname"], user=to["user"], password=to["password"],
                                                        ssl=tls, **self._options)
        # a pool that is awaited again is opened once
        await self._pools[endpoint]
        return self._pools[endpoint]
