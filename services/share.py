"""Share: what the maintenance has to do on one replicated table, and may fail to."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from services import statements
from services.driver import Cursor, one_row
from services.statements import joined

Answer = TypeVar("Answer")
EVERY_TOMBSTONE = sql.SQL("true")


@dataclass(frozen=True)
class Share:
    """A replicated table by its names and its key.

    ``overdue`` names the part that failed, ``sweep`` or ``collect``; ``again`` says that it is time to try it again.
    """

    schema: str
    table: str
    image: str
    tombstone: str
    key: tuple[str, ...]
    overdue: str | None = None
    again: bool = False

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"

    def sweep(self, cursor: Cursor, chosen: sql.Composable = EVERY_TOMBSTONE) -> int:
        """Delete the rows that are older than their tombstone; returns how many there were. The transaction must be in replica role.

        ``chosen`` is the condition for the tombstones ``d`` to be looked at; all of them by default.
        """
        names = {f"{alias}_key": joined(list(self.key), alias) for alias in ("t", "d")} | {
            "table": sql.Identifier(self.schema, self.table), "tombstone": sql.Identifier("unison", self.tombstone),
            "schema_text": sql.Literal(self.schema), "table_text": sql.Literal(self.table)}
        cursor.execute(statements.render("sweep", cursor, chosen=chosen, **names))
        swept: int = one_row(cursor)[0]
        return swept

    def trim(self, cursor: Cursor) -> int:
        """Delete the images: each is in the WAL, where the peers get it from; returns how many there were."""
        cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("unison", self.image)))
        return cursor.rowcount

    def collect(self, cursor: Cursor, chosen: sql.Composable) -> tuple[int, int]:
        """Forget the chosen tombstones; returns how many rows had to be swept for it, and how many were forgotten."""
        # what raced with one of these has no later chance to be found
        swept = self.sweep(cursor, chosen)
        cursor.execute(sql.SQL("DELETE FROM {} AS d WHERE {}").format(sql.Identifier("unison", self.tombstone), chosen))
        return swept, cursor.rowcount

    def note(self, cursor: Cursor, part: str, since: int, took_s: float, error: psycopg2.Error) -> None:
        """Remember that a part failed: from round ``since`` on it has to be made up for."""
        cursor.execute(
            "INSERT INTO unison.overdue AS o (schema_name, table_name, share, since, took_s, reason) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (schema_name, table_name, share) DO UPDATE SET since = least(o.since, excluded.since), tried_at = excluded.tried_at,"
            " took_s = excluded.took_s, reason = excluded.reason", [self.schema, self.table, part, since, took_s, said(error)])

    def claim(self, cursor: Cursor) -> int | None:
        """Lock the note of what failed; returns since which round that is, None when somebody else makes up for it just now or has."""
        cursor.execute("SELECT since FROM unison.overdue WHERE (schema_name, table_name, share) = (%s, %s, %s) FOR UPDATE SKIP LOCKED",
                       [self.schema, self.table, self.overdue])
        found = cursor.fetchone()
        return found[0] if found else None

    def forget(self, cursor: Cursor) -> None:
        """Remove the note: what failed is made up for."""
        cursor.execute("DELETE FROM unison.overdue WHERE (schema_name, table_name, share) = (%s, %s, %s)", [self.schema, self.table, self.overdue])


def shares(cursor: Cursor) -> list[Share]:
    """List the replicated tables, those first whose share failed, which waits the longest first; one that failed in both parts is there twice."""
    cursor.execute(statements.text("shares"))
    return [Share(schema, table, image, tombstone, tuple(key), overdue, again) for schema, table, image, tombstone, key, overdue, again in cursor]


def with_work(cursor: Cursor, asked: list[Share], chosen: sql.Composable) -> tuple[list[Share], list[Share]]:
    """Tell which of the tables have images to trim, and which have chosen tombstones ``d``.

    Two statements for all tables, of which the second looks only into those that are not empty: what nobody writes to costs next to nothing.
    When that cannot be told, because somebody keeps one of them locked, all of them may.
    """
    columns = {"schemas": "schema", "tables": "table", "images": "image", "tombstones": "tombstone"}
    try:
        with savepoint(cursor):
            cursor.execute(statements.text("sizes"), {name: [getattr(share, of) for share in asked] for name, of in columns.items()})
            sizes = cursor.fetchall()
            questions = []
            for place, (share, (images, tombstones)) in enumerate(zip(asked, sizes, strict=True)):
                if images or tombstones:
                    questions.append(sql.SQL("SELECT {}, EXISTS (SELECT FROM {}), EXISTS (SELECT FROM {} AS d WHERE {})").format(
                        sql.Literal(place), sql.Identifier("unison", share.image), sql.Identifier("unison", share.tombstone), chosen))
            if not questions:
                return [], []
            cursor.execute(sql.SQL(" UNION ALL ").join(questions))
            found = cursor.fetchall()
    except psycopg2.Error:
        if cursor.connection.closed:
            raise
        return asked, asked
    return [asked[place] for place, images, _ in found if images], [asked[place] for place, _, tombstones in found if tombstones]


@contextmanager
def savepoint(cursor: Cursor) -> Iterator[None]:
    """Undo what the block did when a statement of it fails, and nothing else of the transaction."""
    cursor.execute("SAVEPOINT share")
    try:
        yield
    except psycopg2.Error:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK TO SAVEPOINT share")
            cursor.execute("RELEASE SAVEPOINT share")
        raise
    cursor.execute("RELEASE SAVEPOINT share")


def said(error: psycopg2.Error) -> str:
    """Say in a line what PostgreSQL says of an error."""
    return " ".join(filter(None, (error.diag.message_primary or str(error), error.diag.message_detail)))


class Attempts:
    """Do shares one after another; each that fails is undone and noted. When failures have taken ``left_s`` the rest is put off to the next round."""

    def __init__(self, left_s: float):
        self.left_s = left_s

    def attempt(self, cursor: Cursor, share: Share, part: str, since: int,
                work: Callable[[Share], Answer]) -> Answer | None:
        """Do ``work``, the part of a share that looks back to round ``since``; None when it failed."""
        began = time.monotonic()
        try:
            if self.left_s <= 0:
                raise psycopg2.extensions.QueryCanceledError("put off: the shares of other tables fail, and take their time")
            with savepoint(cursor):
                return work(share)
        except psycopg2.Error as error:
            if cursor.connection.closed:
                raise
            took_s = time.monotonic() - began
            self.left_s -= took_s
            share.note(cursor, part, since, took_s, error)
            return None
