"""Pieces of a table: ranges of a unique key, each small enough for one transaction."""

from dataclasses import dataclass

from psycopg2 import sql

from services import shape, statements
from services.driver import Connection

# a transaction of this size is decoded and skipped in no time by those who watch the WAL
PIECE_BYTES = 1024 * 1024
PIECE_ROWS = 5000


@dataclass(frozen=True)
class Part:
    """What is read by one key: the rows of a table, or its tombstones. ``kind`` is rows or tombstones."""

    kind: str
    table: sql.Composable
    columns: list[str]
    key: list[str]

    def between(self, last: list[str] | None, end: list[str]) -> sql.Composable:
        """Write the condition for the keys behind ``last`` (None: from the first) up to ``end``, as texts."""
        return sql.SQL("{} AND ({}) <= ({})").format(self.behind(last), statements.joined(self.key), _values(end))

    def behind(self, last: list[str] | None) -> sql.Composable:
        """Write the condition for the keys behind ``last``."""
        return sql.SQL("({}) > ({})").format(statements.joined(self.key), _values(last)) if last is not None else sql.SQL("true")


class Size:
    """How many rows make a piece: few at first, then as many as their size so far lets go into :data:`PIECE_BYTES`."""

    def __init__(self) -> None:
        self.rows = 200

    def learn(self, rows: int, length: int) -> None:
        """Take the next piece's number of rows from this one's."""
        fitting = PIECE_BYTES * rows // length if rows and length else self.rows
        # rows that are larger than those before are met soon enough
        self.rows = max(1, min(PIECE_ROWS, fitting, self.rows * 8))


def parts_of(found: shape.Shape) -> list[Part]:
    """Return what a seed reads of a table, in this order.

    Rows first: a row that was deleted behind the reader's back has left a tombstone, which is read then. The other way round
    neither would be (docs/decisions/0018-seeds-in-pieces.md).
    """
    tombstone = sql.Identifier("unison", found.companion("tombstone"))
    return [Part("rows", sql.Identifier(found.schema, found.table), found.stored, list(found.key)),
            Part("tombstones", tombstone, [*found.key, *shape.TOMBSTONE_COLUMNS], [*found.key, *shape.VERSION_COLUMNS])]


def next_end(peer: Connection, part: Part, last: list[str] | None, rows: int) -> list[str] | None:
    """Ask the peer for the key that ends a piece of so many rows behind ``last``; None when there are no more."""
    key = statements.joined(part.key)
    backwards = sql.SQL(", ").join(sql.SQL("{} DESC").format(sql.Identifier(column)) for column in part.key)
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in part.key)
    with peer.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT ARRAY[{}] FROM (SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}) AS piece ORDER BY {} LIMIT 1").format(
            texts, key, part.table, part.behind(last), key, sql.Literal(rows), backwards))
        found = cursor.fetchone()
        return found[0] if found else None


def _values(key: list[str]) -> sql.Composable:
    # PostgreSQL reads each as what it is compared with
    return sql.SQL(", ").join(sql.Literal(value) for value in key)
