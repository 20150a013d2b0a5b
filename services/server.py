"""Connections to the node's own PostgreSQL, over the Unix socket.

A table, and whatever hangs at it, is the owner's to change: triggers, rules, policies, domains, operators. So whatever touches one is done by a role that
has the owner's rights and no more (:func:`connect`). What only a superuser may do is a short list (:func:`administer`), and touches nothing of the owner's.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import psycopg2.extensions

from pgunison.contract.names import AGENT
from services.agent_role import ensure_agent_role, former_owner
from services.driver import Connection
from services.errors import ServiceError
from services.server_log import ServerLog

LIMITS = {"lock_timeout": "10s", "statement_timeout": "60s"}
CHANGE_PATIENCE_S = 10.0
# Whoever waits for a lock on a table has all its traffic wait behind: not for long, and then again (retry.py). Longer than it takes to notice a deadlock.
CHANGE_LOCK_TIMEOUT = "1500ms"
# For statements that hold a secret: what a superuser may set so that no view, no log and no module keeps their text, whatever the server's settings are.
UNSEEN = {"track_activities": "off", "log_statement": "none", "log_min_error_statement": "panic", "log_min_duration_statement": "-1",
          "log_min_duration_sample": "-1", "log_transaction_sample_rate": "0", "debug_print_parse": "off", "debug_print_rewritten": "off",
          "debug_print_plan": "off", "auto_explain.log_min_duration": "-1", "pg_stat_statements.track": "none", "pgaudit.log": "none"}
# A lock of the server's own kind (advisory) could be taken by anybody who reads there. One process is enough: the agent, which holds its node's lock.
_changing = threading.RLock()


# What somebody may have set for the database or the role, and must not reach us (services/pinned.py); of those that every supported PostgreSQL has.
UNIFORM = {"timezone": "UTC", "datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "1", "bytea_output": "hex", "xmlbinary": "base64",
           "xmloption": "content", "lc_monetary": "C", "lc_numeric": "C", "client_encoding": "UTF8", "array_nulls": "on", "transform_null_equals": "off",
           "standard_conforming_strings": "on", "quote_all_identifiers": "off", "role": "none", "default_transaction_read_only": "off",
           "default_transaction_isolation": "read committed", "default_transaction_deferrable": "off", "statement_timeout": "0", "lock_timeout": "0",
           "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0", "synchronous_commit": "local", "exit_on_error": "off",
           "gin_fuzzy_search_limit": "0", "plan_cache_mode": "auto", "check_function_bodies": "on", "default_tablespace": "", "temp_tablespaces": "",
           "default_table_access_method": "heap", "local_preload_libraries": "", "enable_indexscan": "on", "enable_bitmapscan": "on",
           "unison.careful": "", "unison.seeding": "off", "plpgsql.extra_errors": "none",
           # where a policy would filter rows it is an error: what nodes tell each other is whole or nothing
           "row_security": "off"}
# the same, which the replicator may not set at a peer
UNIFORM_HERE = {"session_replication_role": "origin",
                # policies do not apply to an owner, unless forced: then an error, and never a part of the rows
                "row_security": "off"}

# A server that stands still must not take every thread of the agent, nor a caller's time for long.
QUESTIONS_AT_ONCE = 8
QUESTION_WAIT_S = 2.0

_questions = threading.BoundedSemaphore(QUESTIONS_AT_ONCE)


@dataclass(frozen=True)
class Server:
    """Where the node's PostgreSQL listens, who may administer it, and as whom the agent works on what is the owner's.

    ``log_directory`` is where the server writes its log; None where nobody looks into it.
    ``root_certificate`` is the file of the authorities that peers' certificates must come from; None where peers speak no TLS.
    """

    socket_directory: str
    port: int
    superuser: str = "postgres"
    role: str = AGENT
    root_certificate: str | None = None
    log_directory: Path | None = None


_server: Server | None = None
_log = ServerLog(None)


def configure(server: Server) -> None:
    """Say which server this process's services speak to; the agent does it once, when it starts."""
    global _server, _log
    _server, _log = server, ServerLog(server.log_directory)


def server_log() -> ServerLog:
    """Return the log of the server that this process's services speak to."""
    return _log


def security() -> dict[str, str]:
    """Return what a connection string to a peer needs, so that it is the peer and nobody listens."""
    certificate = _current().root_certificate
    return {"sslmode": "verify-full", "sslrootcert": certificate} if certificate else {}


def options(settings: dict[str, str]) -> str:
    """Write settings for a connection as libpq takes them, after those that make every node read and write values in one way."""
    uniform = {"search_path": "pg_catalog", **UNIFORM}
    # libpq splits at spaces
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in (uniform | settings).items())


def unlimit(connection: Connection) -> None:
    """Lift the limit that older servers do not know, and would not take as an option."""
    if connection.server_version >= 170000:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET transaction_timeout = 0")
        connection.autocommit = False


@contextmanager
def connect(database: str, *, autocommit: bool = False, settings: dict[str, str] | None = None,
            connect_timeout_s: int = 5) -> Iterator[Connection]:
    """Open a connection to ``database`` as the agent's own role, commit at the end, roll back on an exception.

    The role has the rights of the owner, and may choose which triggers fire; so what the owner makes run here gains nothing (services/agent_role.py).
    Every value is written in one fixed way (ISO dates, UTC, all digits), so that nodes can be compared.
    Raises ServiceError when the server does not answer.
    """
    role = _current().role
    try:
        connection = _open(database, role, settings, connect_timeout_s)
    except ServiceError as error:
        if f'role "{role}" does not exist' not in error.detail:
            raise
        _adopt(database, role)
        connection = _open(database, role, settings, connect_timeout_s)
    with _transaction(connection, autocommit):
        yield connection


@contextmanager
def administer(database: str, *, autocommit: bool = False, settings: dict[str, str] | None = None,
               connect_timeout_s: int = 5) -> Iterator[Connection]:
    """Open a connection as :func:`connect` does, but as the superuser.

    For what nobody else may do, and for nothing that reads or writes a table, or calls a function, that the owner can change. RESET ROLE takes a superuser's
    rights back, so SET ROLE is no protection. Used for:

    - roles and the database (node.prepare): only a superuser may make a role that replicates;
    - the schema unison, its functions and tables (node.prepare): they belong to the superuser, because the guard's function runs for each DDL statement, a
      superuser's too. The statements define; they do not touch rows. Whatever the owner had hung at them is removed first;
    - event triggers (node.prepare);
    - the settings of the owner and the replicators in the database (services/pinned.py), and to read those of the server's files;
    - subscriptions and replication origins (subscription.setup): they belong to the owner, who may not read the password in them;
    - to see whether the database is there at all (node.describe).
    """
    connection = _open(database, _current().superuser, settings, connect_timeout_s)
    with _transaction(connection, autocommit):
        yield connection


@contextmanager
def changing() -> Iterator[None]:
    """Keep every other change of this node out meanwhile. Raises ServiceError when another one takes too long."""
    if not _changing.acquire(timeout=CHANGE_PATIENCE_S):
        raise ServiceError("another change of this node is under way", f"it took longer than {CHANGE_PATIENCE_S:.0f} s", "try again")
    try:
        yield
    finally:
        _changing.release()


@contextmanager
def question(database: str,
             how: Callable[..., AbstractContextManager[Connection]] | None = None) -> Iterator[Connection]:
    """Open a connection as ``how`` does (:func:`connect`, or :func:`administer`), for a question that is answered at once or not at all.

    A server that is frozen takes the caller's time, but never more than a few of our threads. Raises ServiceError when it does not answer in time.
    """
    if not _questions.acquire(timeout=QUESTION_WAIT_S):
        raise ServiceError("PostgreSQL does not answer", f"{QUESTIONS_AT_ONCE} earlier questions wait for it still", "see the node's log; is it frozen?")
    try:
        with (how or connect)(database, settings={"statement_timeout": "8s", "lock_timeout": "4s"}, connect_timeout_s=2) as connection:
            yield connection
    except psycopg2.errors.QueryCanceled as error:
        raise ServiceError("PostgreSQL does not answer in time", str(error).strip().splitlines()[0], "see pg_stat_activity on the node") from error
    finally:
        _questions.release()


@contextmanager
def unless_changing() -> Iterator[bool]:
    """Keep changes out as :func:`changing` does when none is under way; whether that is so. For what comes again and need not wait for a long one."""
    free = _changing.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            _changing.release()


@contextmanager
def change(database: str, *, autocommit: bool = False,
           settings: dict[str, str] | None = None) -> Iterator[Connection]:
    """Open a connection as :func:`connect` does, and keep every other change of this node out meanwhile. It waits for no lock for long."""
    with changing(), connect(database, autocommit=autocommit, settings={"lock_timeout": CHANGE_LOCK_TIMEOUT} | (settings or {})) as connection:
        yield connection


def _current() -> Server:
    if _server is None:
        raise RuntimeError("services.server.configure() was not called")
    return _server


def agent() -> str:
    """Return the name of the agent's own role."""
    return _current().role


def _open(database: str, role: str, settings: dict[str, str] | None, connect_timeout_s: int) -> Connection:
    server = _current()
    try:
        connection = psycopg2.connect(
            host=server.socket_directory, port=server.port, user=role, dbname=database, connect_timeout=connect_timeout_s,
            application_name="pgunison agent", options=options(UNIFORM_HERE | LIMITS | (settings or {})))
        unlimit(connection)
        return connection
    except psycopg2.OperationalError as error:
        raise ServiceError("PostgreSQL does not answer", str(error).strip(), "see the node's log") from error


def _adopt(database: str, role: str) -> None:
    """Give the agent its role on a node that an earlier version prepared, or that a superuser took it from."""
    with administer(database) as connection, connection.cursor() as cursor:
        owner = former_owner(cursor)
        if owner is None:
            raise ServiceError("the node is not prepared", f"role {role} does not exist", "call node.prepare first")
        ensure_agent_role(cursor, role, owner)


@contextmanager
def _transaction(connection: Connection, autocommit: bool) -> Iterator[None]:
    try:
        connection.autocommit = autocommit
        yield
        if not autocommit:
            connection.commit()
    finally:
        connection.close()
