"""psycopg 3: a ``psycopg_pool.ConnectionPool`` a node."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from pgunison.endpoints import Endpoint
from pgunison.pool.routes import Routes


class Pools:
    """The pools of a group; ``options`` are ConnectionPool's. Threads share it."""

    def __init__(self, routes: Routes, group: str, **options: Any):
        self._routes, self._name, self._group = routes, group, routes.group(group)
        self._options: dict[str, Any] = {"min_size": 0, "max_size": self._group.connections_per_node, "timeout": 1.0, "check": ConnectionPool.check_connection,
                         "kwargs": {"autocommit": self._group.autocommit}} | options
        self._pools: dict[Endpoint, ConnectionPool[psycopg.Connection[Any]]] = {}

    @contextlib.contextmanager
    def connection(self, key: object = None) -> Iterator[psycopg.Connection[Any]]:
        """Borrow a connection to the node that is next, as ``ConnectionPool.connection`` does; Unavailable when no node takes work."""
        with contextlib.ExitStack() as stack:
            while True:
                endpoint = self._routes.next(self._name, key)
                try:
                    connection = stack.enter_context(self._pool(endpoint).connection())
                    break
                except PoolTimeout:
                    self._routes.lost(endpoint)
            yield connection

    def close(self) -> None:
        """Close all pools."""
        for pool in self._pools.values():
            pool.close()

    def _pool(self, endpoint: Endpoint) -> ConnectionPool[psycopg.Connection[Any]]:
        if endpoint not in self._pools:
            told = make_conninfo(**self._routes.parameters(self._name, endpoint))
            made: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(told, open=True, **self._options)
            if self._pools.setdefault(endpoint, made) is not made:
                made.close()
        return self._pools[endpoint]
