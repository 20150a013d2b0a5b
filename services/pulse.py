"""Pulse: what a load balancer must know of a node at every moment, asked on a connection that is kept."""

import contextlib
from typing import Any

import psycopg2

from pgunison.contract.phase import drained
from services import installation, statements
from services.driver import Connection, Cursor, column_names, one_row
from services.errors import ServiceError
from services.server import connect


class Pulse:
    """Ask one node's database; one caller at a time. An error closes the connection, and the next question makes another one."""

    def __init__(self, database: str):
        self._database = database
        self._stack = contextlib.ExitStack()
        self._connection: Connection | None = None

    def ask(self) -> dict[str, Any]:
        """Return a row of sql/pulse.sql: ``name``, ``life``, ``position``, ``started``, ``drained`` (by whom and since when, or None), and ``lag``, a list of
        ``{origin, life, applied, seconds}``.

        Raises ServiceError when PostgreSQL does not answer, or the database is not prepared by this version. Takes as long as a frozen server is frozen.
        """
        try:
            if self._connection is None:
                self._connection = self._stack.enter_context(
                    connect(self._database, autocommit=True, settings={"statement_timeout": "5s"}, connect_timeout_s=2))
                with self._connection.cursor() as cursor:
                    _refuse_another_version(cursor)
            with self._connection.cursor() as cursor:
                cursor.execute(statements.text("pulse"))
                found = dict(zip(column_names(cursor), one_row(cursor), strict=True))
                phase = [found.pop(name) for name in ("phase", "phase_by", "phase_since")]
                return found | {"drained": drained(*phase)}
        except (psycopg2.Error, LookupError) as error:
            self.close()
            said = str(error).strip().partition("\n")[0]
            raise ServiceError("PostgreSQL does not say how the node does", said, "see the node's log") from error
        except ServiceError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        self._connection = None
        with contextlib.suppress(psycopg2.Error):
            self._stack.close()


def _refuse_another_version(cursor: Cursor) -> None:
    """Raise ServiceError when the database is of another version: what it lacks would be an error in the server's log at each question."""
    node = installation.recorded(cursor)
    if node is None:
        raise ServiceError("PostgreSQL does not say how the node does", "its database is not prepared", "python3 orchestrator.py up")
    if fault := installation.fault(node):
        raise ServiceError("PostgreSQL does not say how the node does", fault, "python3 orchestrator.py up")
