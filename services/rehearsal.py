"""Rehearsal: are the expressions of a table computed where changes arrive as they are where they are made?

An apply worker's search path is empty. A function of a user, in an index, a CHECK, a generated column or a domain, that names something without
its schema fails there, and with it the link, for good. So each expression is computed once with an empty path, for a made-up row: what is found missing
then would be missing there. That a value does not please an expression says nothing.
"""

import re

import psycopg2
from psycopg2 import errors, sql

from services import statements
from services.driver import Cursor, one_row
from services.errors import ServiceError

MISSING = (errors.UndefinedFunction, errors.UndefinedTable, errors.UndefinedObject, errors.UndefinedColumn, errors.InvalidSchemaName)
# one of these is a value of almost every type
SAMPLES = ("a", "1", "true", "2020-01-01", "1 day", "00:00", "{}", "127.0.0.1", "00000000-0000-0000-0000-000000000000", "(1,1)", "[1,2)", "08:00:2b:01:02:03")


def require_rehearsed(cursor: Cursor, schema: str, table: str) -> None:
    """Raise ServiceError, with the statement that mends it, when an expression of the table needs a search path. Leaves no trace."""
    cursor.execute("SELECT to_regclass(format('%%I.%%I', %s::text, %s::text))::oid", [schema, table])
    oid = one_row(cursor)[0]
    cursor.execute(statements.text("rehearsed"), {"table": oid})
    expressions = cursor.fetchall()
    if not expressions:
        return
    cursor.execute("SELECT attname, format_type(atttypid, atttypmod), attgenerated <> '' FROM pg_attribute"
                   " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum", [oid])
    row = sql.SQL(", ").join([sql.SQL("{} AS {}").format(_sample(cursor, kind, generated), sql.Identifier(name))
                              for name, kind, generated in cursor.fetchall()])
    for stands, expression in expressions:
        error = _attempt(cursor, sql.SQL("SELECT {} FROM (SELECT {}) AS sample OFFSET 0").format(sql.SQL(expression), row))
        if isinstance(error, MISSING):
            function = _function(cursor, error.diag.context or "")
            raise ServiceError(f"{schema}.{table} cannot be replicated",
                               f"{stands}: {error.diag.message_primary}, where changes of peers arrive: there the search path is empty"
                               + (f", and {function} sets none" if function else ""),
                               f"ALTER FUNCTION {function or '...'} SET search_path = pg_catalog, {schema}")


def _sample(cursor: Cursor, kind: str, generated: bool) -> sql.Composable:
    """Find a value of the type, NULL if none is known. ``kind`` is the catalogue's own text."""
    if not generated:
        for sample in SAMPLES:
            value = sql.SQL("{}::{}").format(sql.Literal(sample), sql.SQL(kind))
            error = _attempt(cursor, sql.SQL("SELECT {}").format(value))
            if error is None or isinstance(error, MISSING):
                return value
    return sql.SQL("NULL::{}").format(sql.SQL(kind))


def _attempt(cursor: Cursor, statement: sql.Composable) -> psycopg2.Error | None:
    """Execute a statement as an apply worker would; returns what it failed with."""
    cursor.execute("SAVEPOINT rehearsal; SELECT set_config('search_path', '', true)")
    try:
        cursor.execute(statement)
    except psycopg2.Error as error:
        return error
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT rehearsal; RELEASE SAVEPOINT rehearsal")
    return None


def _function(cursor: Cursor, context: str) -> str | None:
    """Name the function that was called from outside, which is the last line of an error's context."""
    named = re.findall(r'SQL function "([^"]+)"|PL/pgSQL function (?:\S+\.)?"?([^\s".(]+)"?\(', context)
    if not named:
        return None
    cursor.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE proname = %s AND pronamespace <> 'pg_catalog'::regnamespace ORDER BY oid LIMIT 1",
                   [next(filter(None, named[-1]))])
    found = cursor.fetchone()
    return found[0] if found else None
