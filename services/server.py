"""Connections to the node's own PostgreSQL, as its superuser, over the Unix socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2
import psycopg2.extensions

from services.errors import ServiceError

# Any number: it only has to be the same in each process that changes this node.
CHANGE_LOCK = 7_305_807


@dataclass(frozen=True)
class Server:
    """Where the node's PostgreSQL listens and who may administer it.

    ``root_certificate`` is the file of the authorities that peers' certificates must come from; None where peers speak no TLS.
    """

    socket_directory: str
    port: int
    superuser: str = "postgres"
    root_certificate: str | None = None


_server: Server | None = None


def configure(server: Server) -> None:
    """Say which server this process's services speak to; the agent does it once, when it starts."""
    global _server
    _server = server


def security() -> dict[str, str]:
    """Return what a connection string to a peer needs, so that it is the peer and nobody listens."""
    if _server is None:
        raise RuntimeError("services.server.configure() was not called")
    return {"sslmode": "verify-full", "sslrootcert": _server.root_certificate} if _server.root_certificate else {}


def options(settings: dict[str, str]) -> str:
    """Write settings for a connection as libpq takes them, after those that make every node read and write values in one way."""
    uniform = {"search_path": "pg_catalog", "timezone": "UTC", "datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "1",
               "bytea_output": "hex"}
    return " ".join(f"-c {name}={value}" for name, value in (uniform | settings).items())


@contextmanager
def connect(database: str, *, autocommit: bool = False, settings: dict[str, str] | None = None) -> Iterator:
    """Open a connection to ``database``, commit at the end, roll back on an exception.

    Every value is written in one fixed way (ISO dates, UTC, all digits), so that nodes can be compared.
    Raises ServiceError when the server does not answer.
    """
    if _server is None:
        raise RuntimeError("services.server.configure() was not called")
    limits = {"lock_timeout": "10s", "statement_timeout": "60s"}
    try:
        connection = psycopg2.connect(
            host=_server.socket_directory, port=_server.port, user=_server.superuser, dbname=database, connect_timeout=5,
            application_name="pgunison agent", options=options(limits | (settings or {})))
    except psycopg2.OperationalError as error:
        raise ServiceError("PostgreSQL does not answer", str(error).strip(), "see the node's log") from error
    try:
        connection.autocommit = autocommit
        yield connection
        if not autocommit:
            connection.commit()
    finally:
        connection.close()


@contextmanager
def change(database: str, *, autocommit: bool = False, settings: dict[str, str] | None = None) -> Iterator:
    """Open a connection as :func:`connect` does, and keep every other change of this node out meanwhile.

    The lock belongs to the session: it also holds for what cannot run in a transaction, and ends with it.
    """
    with connect(database, autocommit=True, settings=settings) as connection:
        with connection.cursor() as cursor:
            try:
                cursor.execute("SELECT pg_advisory_lock(%s)", [CHANGE_LOCK])
            except psycopg2.errors.LockNotAvailable as error:
                raise ServiceError("another change of this node is under way", "it held the lock for longer than 10 s",
                                   "try again") from error
        connection.autocommit = autocommit
        yield connection
        if not autocommit:
            connection.commit()
