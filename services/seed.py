"""The seed of a link: what the source held before the link's slot was made, merged piece by piece."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO

import psycopg2
import psycopg2.errors
from psycopg2 import sql

from services import shape, statements
from services.driver import Connection, Cursor
from services.errors import ServiceError
from services.headroom import Headroom
from services.piece import Part, Size, next_end, parts_of

ORIGIN = "unison_seed"
# Apply workers, of this link too, may change the same rows in another order meanwhile.
ATTEMPTS = 10
ALL = sql.SQL("true")


def seed(connection: Connection, open_peer: Callable[[], AbstractContextManager[Connection]],
         subscription: str) -> tuple[int, list[str]]:
    """Merge the rows and tombstones that the peer holds of each table that is not seeded yet; returns how many this call
    merged, and sentences about what it could not spare others.

    The subscription carries the changes of these tables already, so nothing of the peer is missed; what comes twice is
    harmless, because the merge is idempotent (docs/convergence.md). Each piece is a transaction of its own, and an
    interrupted seed goes on behind the last one (docs/decisions/0018-seeds-in-pieces.md). ``connection`` is in autocommit mode
    and is left so. The origin was made by :func:`ensure_origin`. ServiceError when the peer cannot be read.
    """
    with connection.cursor() as cursor:
        # With an origin of its own, what is merged here is not sent on: the others get it from where it comes from.
        cursor.execute("SELECT pg_replication_origin_session_setup(%s)", [ORIGIN])
        connection.autocommit = False
        try:
            with open_peer() as peer:
                # each statement sees what is there by then, and holds back nothing on the peer when it is done
                peer.set_session(isolation_level="READ COMMITTED", readonly=True, autocommit=True)
                return _Seed(connection, cursor, peer, subscription).run()
        finally:
            if not connection.closed:
                connection.rollback()
                connection.autocommit = True
                cursor.execute("SELECT pg_replication_origin_session_reset()")


def ensure_origin(cursor: Cursor) -> None:
    """Make the replication origin of seeds; ``cursor`` is a superuser's."""
    cursor.execute("SELECT CASE WHEN pg_replication_origin_oid(%s) IS NULL THEN pg_replication_origin_create(%s) END", [ORIGIN] * 2)


class _Seed:
    """One call's way through the tables of one subscription."""

    def __init__(self, connection: Connection, cursor: Cursor, peer: Connection, subscription: str):
        self._connection, self._cursor, self._peer, self._subscription = connection, cursor, peer, subscription
        # The peer writes WAL, too: with checksums, who reads a page first after it was written may log it whole.
        self._rooms = ((Headroom(), connection), (Headroom(), peer))

    def run(self) -> tuple[int, list[str]]:
        rows = 0
        tables = unseeded(self._cursor, self._subscription)
        for schema, name in tables:
            rows += self._table(schema, name)
        self._cursor.execute("DELETE FROM unison.seeded WHERE subscription NOT IN (SELECT oid FROM pg_subscription)")
        self._cursor.execute("DELETE FROM unison.seed_piece WHERE subscription NOT IN (SELECT oid FROM pg_subscription)")
        self._connection.commit()
        return rows, [sentence for headroom, _ in self._rooms for sentence in headroom.sentences]

    def _table(self, schema: str, name: str) -> int:
        found = shape.read(self._cursor, schema, name)
        which = {"subscription": self._subscription, "schema": schema, "table": name}
        self._cursor.execute("SELECT part, last_key FROM unison.seed_piece JOIN pg_subscription s ON s.oid = subscription WHERE s.subname ="
                             " %(subscription)s AND (schema_name, table_name) = (%(schema)s, %(table)s)", which)
        done = self._cursor.fetchone()
        self._connection.commit()
        parts = parts_of(found)
        kinds = [part.kind for part in parts]
        rows = 0
        for part in parts[kinds.index(done[0]) if done else 0:]:
            rows += self._part(part, which, done[1] if done and done[0] == part.kind else None)
        self._cursor.execute(statements.text("seed_done"), which)
        self._connection.commit()
        return rows

    def _part(self, part: Part, which: dict[str, str], last: list[str] | None) -> int:
        rows, size = 0, Size()
        while (end := self._next_end(part, last, size.rows)) is not None:
            # between transactions: one that is open would keep the slots where they are
            for headroom, connection in self._rooms:
                headroom.wait(connection)
            count, length = self._attempted(part, which, last, end)
            rows, last = rows + count, end
            size.learn(count, length)
        return rows

    def _next_end(self, part: Part, last: list[str] | None, rows: int) -> list[str] | None:
        try:
            return next_end(self._peer, part, last, rows)
        except psycopg2.Error as error:
            raise unreadable(error) from error

    def _attempted(self, part: Part, which: dict[str, str], last: list[str] | None, end: list[str]) -> tuple[int, int]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._piece(part, which, last, end)
            except psycopg2.errors.DeadlockDetected:
                self._connection.rollback()
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _piece(self, part: Part, which: dict[str, str], last: list[str] | None, end: list[str]) -> tuple[int, int]:
        cursor = self._cursor
        begin_merging(cursor)
        rows, length = copy(self._peer, cursor, part.table, part.columns, part.between(last, end))
        # After the piece was read, and in its transaction: what it brought may be any member's, not heard from that member yet. No round
        # of maintenance may see the piece without this (round.sql).
        with self._peer.cursor() as source:
            source.execute("SELECT life, number FROM unison.member")
            for life, number in source.fetchall():
                cursor.execute("INSERT INTO unison.hearsay AS h (life, number) VALUES (%s, %s)"
                               " ON CONFLICT (life) DO UPDATE SET number = greatest(h.number, excluded.number)", [life, number])
        cursor.execute(statements.text("seed_piece"), which | {"part": part.kind, "last_key": end})
        self._connection.commit()
        return rows, length


def begin_merging(cursor: Cursor) -> None:
    """Let what this transaction inserts be merged as what a peer holds."""
    # a large piece takes its time, and so may a worker that holds a row
    # What is copied says nothing of what its writer had seen, so it makes no conflict; the stream does, on one of the two nodes at least.
    # It takes no short cut: the stream may bring the same row at the same time.
    cursor.execute("SET LOCAL session_replication_role = replica; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
                   " SET LOCAL unison.seeding = on; SELECT set_config('unison.careful', pg_current_xact_id()::text, true)")


def unseeded(cursor: Cursor, subscription: str) -> list[tuple[str, str]]:
    """List the tables that the subscription carries and whose rows of before it has not merged, as schema and name."""
    cursor.execute("SELECT r.schema_name, r.table_name FROM pg_subscription s JOIN pg_subscription_rel l ON l.srsubid = s.oid"
                   " JOIN unison.replicated_table r ON l.srrelid = to_regclass(format('%%I.%%I', r.schema_name, r.table_name))"
                   " WHERE s.subname = %s AND NOT EXISTS (SELECT FROM unison.seeded d WHERE"
                   " (d.subscription, d.schema_name, d.table_name) = (s.oid, r.schema_name, r.table_name)) ORDER BY 1, 2", [subscription])
    return [(schema, name) for schema, name in cursor.fetchall()]


def copy(peer: Connection, cursor: Cursor, table: sql.Composable, columns: list[str],
         chosen: sql.Composable = ALL) -> tuple[int, int]:
    """Stream the chosen rows of a table from ``peer`` into the node behind ``cursor``; returns how many there were, and their bytes as text."""
    names = statements.joined(columns)
    # COPY of a query, because COPY of a table takes no generated columns and asks for more rights
    read_statement = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT").format(names, table, chosen).as_string(peer)
    write_statement = sql.SQL("COPY {} ({}) FROM STDIN").format(table, names).as_string(cursor)
    read_end, write_end = os.pipe()
    counts: list[tuple[int, int]] = []
    failures: list[Exception] = []

    def read() -> None:
        try:
            with peer.cursor() as source, os.fdopen(write_end, "wb") as pipe:
                counted = _Counted(pipe)
                source.copy_expert(read_statement, counted)
                counts.append((source.rowcount, counted.length))
        except Exception as error:  # handed to the caller's thread below
            failures.append(error)

    reader = threading.Thread(target=read, name="seed", daemon=True)
    reader.start()
    try:
        with os.fdopen(read_end, "rb") as pipe:
            cursor.copy_expert(write_statement, pipe)
    finally:
        reader.join()
    if failures:
        raise unreadable(failures[0]) from failures[0]
    return counts[0]


def unreadable(error: Exception) -> ServiceError:
    """Word that a peer's rows could not be read whole."""
    hint = "python3 orchestrator.py up lets the replicator read them" if isinstance(error, psycopg2.errors.InsufficientPrivilege) else "call again"
    return ServiceError("the peer's rows could not be read", str(error).strip().splitlines()[0], hint)


class _Counted:
    """A pipe's end that counts what goes through."""

    def __init__(self, pipe: BinaryIO):
        self._pipe = pipe
        self.length = 0

    def write(self, data: bytes) -> int:
        self.length += len(data)
        return self._pipe.write(data)
