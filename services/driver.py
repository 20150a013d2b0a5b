"""The driver's connection and cursor, by the names that annotations use, and what every query's answer has."""

from typing import Any

from psycopg2.extensions import connection, cursor

Connection = connection
Cursor = cursor


def one_row(cursor: Cursor) -> tuple[Any, ...]:
    """Return the next row of a statement that always answers with one; LookupError when it has none."""
    found = cursor.fetchone()
    if found is None:
        # without the statement, which may hold a secret
        raise LookupError("a statement that always answers with a row has answered with none")
    return found


def column_names(cursor: Cursor) -> list[str]:
    """Return the names of the columns of the last statement's answer; LookupError when it answers no rows at all."""
    if cursor.description is None:
        raise LookupError("the last statement is none that answers with rows")
    return [column.name for column in cursor.description]
