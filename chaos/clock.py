"""Clocks that are wrong: the functions that stamp versions read a clock of ours, which is off by an offset of its own on each node.

Only what gives versions is shifted. The machine's clock stays as it is, because it is not ours alone.
"""

import re
from datetime import timedelta

from psycopg2 import sql

from chaos.target import Target

CLOCK = re.compile(r"(?:\bpg_catalog\s*\.\s*)?\bclock_timestamp\s*\(\s*\)", re.IGNORECASE)


def install(target: Target, node: str) -> int:
    """Let the functions in the schema unison read our clock, which is right yet; returns how many do."""
    connection = target.superuser(node)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA chaos; GRANT USAGE ON SCHEMA chaos TO PUBLIC")
            _set(cursor, timedelta(0))
            cursor.execute("SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
                           " WHERE n.nspname = 'unison' AND p.prokind = 'f' AND p.prosrc ~* 'clock_timestamp'")
            definitions = [row[0] for row in cursor]
            for definition in definitions:
                cursor.execute(CLOCK.sub("chaos.clock()", definition))
            return len(definitions)
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


def _set(cursor, offset: timedelta, grain_s: float = 0.000001) -> None:
    # plpgsql, because a function in SQL would be taken apart into the statement that calls it, and stay there
    body = sql.SQL("BEGIN RETURN date_bin({}, clock_timestamp() + {}, timestamptz '2000-01-01 00:00:00+00'); END").format(
        sql.Literal(timedelta(seconds=grain_s)), sql.Literal(offset))
    cursor.execute(sql.SQL("CREATE OR REPLACE FUNCTION chaos.clock() RETURNS timestamptz LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {}")
                   .format(sql.Literal(body.as_string(cursor))))
