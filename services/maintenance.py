"""What has to be done on a node again and again: close races, throw away images."""

from psycopg2 import sql

from services import shape, statements
from services.table import replicated_tables


def sweep(cursor, *, everything: bool) -> int:
    """Delete the rows that are older than their tombstone; returns how many there were.

    Not ``everything``: only tombstones that may have raced since the last sweep. A row escaped that sweep when its transaction
    (B) still ran; B began after O(last), the start of the oldest transaction of that moment. The tombstone's
    transaction overlapped B, so it began after O(O(last)). O never falls, so any earlier sweep of before O(last) gives a bound.
    A clock that was set back breaks this reasoning, hence the whole sweep from time to time (begin_sweep.sql).
    """
    cursor.execute("SET LOCAL session_replication_role = replica")
    cursor.execute(statements.text("begin_sweep"), {"everything": everything})
    since = cursor.fetchone()[0]
    deleted = 0
    for table in replicated_tables(cursor):
        found = shape.read(cursor, table["schema"], table["name"])
        if found is None:
            continue
        names = found.parts(0)["names"]
        cursor.execute(statements.render("sweep", cursor, since=sql.Literal(since), **names))
        deleted += cursor.rowcount
    return deleted


def trim(cursor) -> int:
    """Delete the images: each is in the WAL, where the peers get it from; returns how many there were."""
    trimmed = 0
    for table in replicated_tables(cursor):
        cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("unison", table["image"])))
        trimmed += cursor.rowcount
    return trimmed
