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
        # the connections that are in use, by the objects of their blocks
        self._lent: dict[Endpoint, set[object]] = {}

    @contextlib.contextmanager
    def connection(self, key: object = None) -> Iterator[psycopg.Connection[Any]]:
        """Borrow a connection to the node that is next, as ``ConnectionPool.connection`` does; Unavailable when no node gives one in the group's time."""
        with contextlib.ExitStack() as stack:
            for endpoint in self._routes.tries(self._name, key):
                pool, lent = self._pool(endpoint), self._lent.setdefault(endpoint, set())
                in_use = len(lent) >= pool.max_size
                try:
                    connection = stack.enter_context(pool.connection())
                    break
                except PoolTimeout:
                    # one whose connections are all in use is none the worse for it
                    if not in_use and len(lent) < pool.max_size:
                        self._routes.lost(endpoint)
            block = object()
            lent.add(block)
            # before the pool has it again
            stack.callback(lent.discard, block)
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
