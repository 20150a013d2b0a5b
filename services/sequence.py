"""Sequence: a sequence that a table's column owns, and this node's range of it."""

from microesb import microesb
from psycopg2 import sql

from services.driver import Cursor
from services.errors import ServiceError
from services.result import Result

RANGE = 2**31


def node_range(index: int) -> tuple[int, int]:
    """First and last value of the node with this index: no two nodes ever draw the same."""
    return index * RANGE + 1, (index + 1) * RANGE


class Sequence(microesb.MultiClassHandler):
    """A sequence that the call names by the column which owns it; columns that it does not name get their range all the same."""

    column: str


def set_range(cursor: Cursor, table: tuple[str, str], column: str, index: int, result: Result) -> None:
    """Confine the sequence of a table's column to the node's range; running out is then an error and never a collision.

    Repeatable: a sequence that has the range is left as it is, with the values it has drawn.
    """
    cursor.execute(
        "SELECT s.seqmin, s.seqmax, s.seqcycle, s.seqtypid::regtype::text, n.nspname, c.relname"
        " FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE s.seqrelid = pg_get_serial_sequence(format('%%I.%%I', %s::text, %s::text), %s)::regclass",
        [*table, column])
    found = cursor.fetchone()
    if found is None:
        raise ServiceError(f"column {column} of {table[0]}.{table[1]} owns no sequence",
                           "pg_get_serial_sequence() is null", "use bigserial, or an identity column of type bigint")
    minimum, maximum, cycle, kind, schema, name = found
    if kind != "bigint":
        raise ServiceError(f"the sequence of column {column} is of type {kind}", "a node's range is 2^31 keys",
                           "make column and sequence bigint")
    first, last = node_range(index)
    if (minimum, maximum, cycle) == (first, last, False):
        return
    cursor.execute(sql.SQL("ALTER SEQUENCE {} MINVALUE {} MAXVALUE {} START WITH {} RESTART WITH {} NO CYCLE").format(
        sql.Identifier(schema, name), *map(sql.Literal, (first, last, first, first))))
    result.done.append(f"set the range of {schema}.{name} to {first}..{last}")
