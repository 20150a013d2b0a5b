"""SQLAlchemy: an engine (psycopg2) a node."""

from typing import Any

import psycopg2
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext

from pgunison.endpoints import Endpoint
from pgunison.pool.routes import Routes


class Engines:
    """The engines of a group; ``options`` are create_engine's. Threads share it: ``with engines.next().begin() as connection: ...``"""

    def __init__(self, routes: Routes, group: str, **options: Any):
        self._routes, self._name, told = routes, group, routes.group(group)
        self._options: dict[str, Any] = {"pool_size": told.connections_per_node, "max_overflow": 0, "pool_timeout": told.timeout_s,
                                         "pool_pre_ping": True} | ({"isolation_level": "AUTOCOMMIT"} if told.autocommit else {}) | options
        self._engines: dict[Endpoint, Engine] = {}

    def next(self, key: object = None) -> Engine:
        """Return the engine of the node that is next, or of a key's home; Unavailable when no node takes work."""
        endpoint = self._routes.next(self._name, key)
        if endpoint not in self._engines:
            self._engines.setdefault(endpoint, self._make(endpoint))
        return self._engines[endpoint]

    def dispose(self) -> None:
        """Close the connections of all engines."""
        for engine in self._engines.values():
            engine.dispose()

    def _make(self, endpoint: Endpoint) -> Engine:
        engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(**self._routes.parameters(self._name, endpoint)), **self._options)

        @event.listens_for(engine, "handle_error")
        def handle_error(context: ExceptionContext) -> None:
            error = context.original_exception
            # what PostgreSQL has an SQLSTATE for it has answered: a deadlock or a statement's time-out is the application's
            if context.is_disconnect or (isinstance(error, psycopg2.OperationalError) and error.pgcode is None):
                self._routes.lost(endpoint)

        return engine
