"""The seed of a link: what the source held before the link's slot was made."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg2
import psycopg2.errors
from psycopg2 import sql

from services import shape, statements
from services.errors import ServiceError

ORIGIN = "unison_seed"
# Apply workers of other links may change the same rows in another order meanwhile.
ATTEMPTS = 5


def seed(connection, open_peer: Callable[[], AbstractContextManager], subscription: str) -> int:
    """Merge the rows and tombstones that the peer holds of each table that is not seeded yet; returns how many there were.

    The subscription carries the changes of these tables already, so nothing of the peer is missed; what comes twice is harmless, because the
    merge is idempotent (docs/convergence.md). The origin was made by :func:`ensure_origin`. ``connection`` is in autocommit mode and is left so.
    ServiceError when the peer cannot be read.
    """
    with connection.cursor() as cursor:
        # With an origin of its own, what is merged here is not sent on: the others get it from where it comes from.
        cursor.execute("SELECT pg_replication_origin_session_setup(%s)", [ORIGIN])
        connection.autocommit = False
        try:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return _merge(connection, cursor, open_peer, subscription)
                except psycopg2.errors.DeadlockDetected:
                    connection.rollback()
                    if attempt == ATTEMPTS:
                        raise
        finally:
            connection.rollback()
            connection.autocommit = True
            cursor.execute("SELECT pg_replication_origin_session_reset()")
    raise AssertionError("the last attempt returns or raises")


def ensure_origin(cursor) -> None:
    """Make the replication origin of seeds; ``cursor`` is a superuser's."""
    cursor.execute("SELECT CASE WHEN pg_replication_origin_oid(%s) IS NULL THEN pg_replication_origin_create(%s) END", [ORIGIN] * 2)


def _merge(connection, cursor, open_peer: Callable[[], AbstractContextManager], subscription: str) -> int:
    rows = 0
    begin_merging(cursor)
    with open_peer() as peer:
        peer.set_session(isolation_level="REPEATABLE READ", readonly=True)
        for schema, name in unseeded(cursor, subscription):
            found = shape.read(cursor, schema, name)
            rows += copy(peer, cursor, sql.Identifier("unison", found.companion("tombstone")), [*found.key, *shape.TOMBSTONE_COLUMNS])
            rows += copy(peer, cursor, sql.Identifier(schema, name), found.stored)
            cursor.execute("INSERT INTO unison.seeded (subscription, schema_name, table_name)"
                           " SELECT oid, %s, %s FROM pg_subscription WHERE subname = %s", [schema, name, subscription])
        with peer.cursor() as source:
            # the rows may be any member's, and this node may not have heard them from that member yet
            source.execute("SELECT life, number FROM unison.member")
            for life, number in source.fetchall():
                cursor.execute("INSERT INTO unison.hearsay AS h (life, number) VALUES (%s, %s)"
                               " ON CONFLICT (life) DO UPDATE SET number = greatest(h.number, excluded.number)", [life, number])
    cursor.execute("DELETE FROM unison.seeded WHERE subscription NOT IN (SELECT oid FROM pg_subscription)")
    connection.commit()
    return rows


def begin_merging(cursor) -> None:
    """Let what this transaction inserts be merged as what a peer holds."""
    # a large table takes its time, and so may a worker that holds a row
    # What is copied says nothing of what its writer had seen, so it makes no conflict; the stream does, on one of the two nodes at least.
    # It takes no short cut: the stream may bring the same row at the same time.
    cursor.execute("SET LOCAL session_replication_role = replica; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
                   " SET LOCAL unison.seeding = on; SELECT set_config('unison.careful', pg_current_xact_id()::text, true)")


def unseeded(cursor, subscription: str) -> list[tuple[str, str]]:
    """List the tables that the subscription carries and whose rows of before it has not merged, as schema and name."""
    cursor.execute("SELECT r.schema_name, r.table_name FROM pg_subscription s JOIN pg_subscription_rel l ON l.srsubid = s.oid"
                   " JOIN unison.replicated_table r ON l.srrelid = to_regclass(format('%%I.%%I', r.schema_name, r.table_name))"
                   " WHERE s.subname = %s AND NOT EXISTS (SELECT FROM unison.seeded d WHERE"
                   " (d.subscription, d.schema_name, d.table_name) = (s.oid, r.schema_name, r.table_name)) ORDER BY 1, 2", [subscription])
    return cursor.fetchall()


def copy(peer, cursor, table: sql.Composable, columns: list[str]) -> int:
    """Stream a table from ``peer`` into the node behind ``cursor``; returns the number of rows read."""
    names = statements.joined(columns)
    # COPY of a query, because COPY of a table takes no generated columns and asks for more rights
    read_statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, table).as_string(peer)
    write_statement = sql.SQL("COPY {} ({}) FROM STDIN").format(table, names).as_string(cursor)
    read_end, write_end = os.pipe()
    counts, failures = [], []

    def read() -> None:
        try:
            with peer.cursor() as source, os.fdopen(write_end, "wb") as pipe:
                source.copy_expert(read_statement, pipe)
                counts.append(source.rowcount)
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
        raise ServiceError("the peer's rows could not be read", str(failures[0]).strip().splitlines()[0], "call again") from failures[0]
    return counts[0]
