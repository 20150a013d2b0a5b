"""A connection that is kept: what comes again every few seconds would mostly wait for new ones, and fill their caches."""

import contextlib
import threading
from collections.abc import Iterator

import psycopg2

from services.driver import Connection
from services.server import connect

_keeping = threading.Lock()
# for what it was made, what closes it, and the connection
_kept: tuple[tuple[object, ...], contextlib.ExitStack, Connection] | None = None


@contextlib.contextmanager
def kept(database: str, settings: dict[str, str]) -> Iterator[Connection]:
    """Lend a connection as :func:`services.server.connect` makes it, and keep it until the next call.

    There is one; whoever finds it lent gets one that is closed afterwards. The borrower begins and ends its transactions (``with connection``).
    After an exception the connection is not used again.
    """
    global _kept
    if not _keeping.acquire(blocking=False):
        with connect(database, autocommit=True, settings=settings) as connection:
            connection.autocommit = False
            yield connection
        return
    try:
        purpose = (database, *settings.items())
        if _kept is not None and (_kept[0] != purpose or not _answers(_kept[2])):
            _forget()
        if _kept is None:
            with contextlib.ExitStack() as stack:
                connection = stack.enter_context(connect(database, autocommit=True, settings=settings))
                connection.autocommit = False
                _kept = (purpose, stack.pop_all(), connection)
        try:
            yield _kept[2]
        except BaseException:
            _forget()
            raise
    finally:
        _keeping.release()


def _forget() -> None:
    global _kept
    if _kept is not None:
        _kept[1].close()
        _kept = None


def _answers(connection: Connection) -> bool:
    """Ask a connection that was not used for a while; the server may have been started again."""
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        return False
    return True
