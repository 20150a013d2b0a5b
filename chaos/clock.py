"""Clocks that are wrong: in the database of a node, clock_timestamp() is a function of ours, which is off by an offset of its own on each node.

The machine's clock stays as it is, because it is not ours alone. What PostgreSQL resolved before keeps the right clock: column defaults, and
connections that were there already.
"""

from datetime import timedelta

from psycopg2 import sql

from chaos.target import Target


def install(target: Target, node: str) -> None:
    """Put our clock, which is right yet, in the place of PostgreSQL's."""
    connection = target.superuser(node)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO machine_clock_timestamp")
            _set(cursor, timedelta(0), 0.000001)
    finally:
        connection.close()


def turn(target: Target, node: str, offset: timedelta, *, grain_s: float = 0.000001) -> None:
    """Set the node's clock to the machine's and so much more, or less; it ticks once a grain."""
    connection = target.superuser(node)
    try:
        with connection, connection.cursor() as cursor:
            _set(cursor, offset, grain_s)
    finally:
        connection.close()


def _set(cursor, offset: timedelta, grain_s: float) -> None:
    # plpgsql, because a function in SQL would be taken apart into the statement that calls it, and stay there
    body = sql.SQL("BEGIN RETURN date_bin({}, machine_clock_timestamp() + {}, timestamptz '2000-01-01 00:00:00+00'); END").format(
        sql.Literal(timedelta(seconds=grain_s)), sql.Literal(offset))
    cursor.execute(sql.SQL("CREATE OR REPLACE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql"
                           " SET search_path = pg_catalog, pg_temp AS {}").format(sql.Literal(body.as_string(cursor))))
