"""A session: one connection, and how what was sent through it ended: ok, failed or unknown."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.errors

# What a statement may meet that is nobody's mistake: classes of SQLSTATE. 08 connection, 23505 a key is taken, 40 serialization and deadlock, 53 no room,
# 55 not available, 57 intervention, 58 the disk.
EXPECTED = ("08", "23505", "40", "53", "55P", "57", "58")


class Session:
    """Statements outside of :meth:`transaction` commit by themselves."""

    def __init__(self, connection):
        self._connection = connection
        connection.autocommit = True
        self._in_transaction = False
        self._in_doubt = False

    @property
    def lost(self) -> bool:
        return bool(self._connection.closed)

    def execute(self, statement: str, parameters: Any = None) -> list[tuple]:
        """Execute a statement; returns its rows, if it has any."""
        self._in_doubt = not self._in_transaction
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            rows = cursor.fetchall() if cursor.description else []
        self._in_doubt = False
        return rows

    @contextlib.contextmanager
    def transaction(self, level: str = "READ COMMITTED", *, commit: bool = True, prepare: str | None = None) -> Iterator[None]:
        """Commit what is executed in the block, or roll it back without ``commit`` and after an exception.

        With ``prepare`` it is left prepared under that name instead.
        """
        end = f"PREPARE TRANSACTION '{prepare}'" if prepare else "COMMIT" if commit else "ROLLBACK"
        self._in_transaction = True
        try:
            self.execute(f"BEGIN ISOLATION LEVEL {level}")
            yield
            self._in_transaction = not commit
            self.execute(end)
        except psycopg2.Error:
            if not self.lost and not self._in_doubt:
                with contextlib.suppress(psycopg2.OperationalError, psycopg2.InterfaceError):
                    self.execute("ROLLBACK")
            raise
        finally:
            self._in_transaction = False

    def ending(self, error: psycopg2.Error, expected: tuple[str, ...] = ()) -> str | None:
        """Tell how the operation that met this error ended, and close what cannot be used any more; None when such an error should not be met.

        ``expected`` are beginnings of SQLSTATE that may be met beside EXPECTED.
        """
        code = error.pgcode or ""
        if self.lost or code.startswith("57P") or not code and isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
            self._connection.close()
            return "unknown" if self._in_doubt else "failed"
        return "failed" if code.startswith((*EXPECTED, *expected)) else None
