"""Stale: an old copy of the node's disk was put back, and its peers know more of the node than it knows itself.

Its WAL goes on from an old position. Peers have applied that part of it already, as they believe, and skip what it says now; and it has lost
what it had confirmed to them. So nobody may write here, and nothing that it says of itself counts, until it was made anew.
"""

import logging
import secrets

from psycopg2 import sql

from pgunison.contract.phase import JOINING
from services import statements
from services.driver import Cursor, one_row

# Apart enough that no two runs of a life meet, and rare enough that the numbers never end.
RUN_STEP = 2**32

logger = logging.getLogger(__name__)


def notice(cursor: Cursor) -> str | None:
    """Begin a run of the node where one begins; return why the node is stale, None when nothing says so.

    What was noticed is remembered, the node serves no longer, and its tables are closed to writers and readers.
    """
    _begin_run(cursor)
    cursor.execute("SELECT stale FROM unison.node")
    known: str | None = one_row(cursor)[0]
    if known:
        return known
    found = reason(cursor)
    if found:
        logger.error("%s", found)
        cursor.execute("UPDATE unison.node SET stale = %s, phase = %s, phase_since = clock_timestamp(), phase_by = NULL", [found, JOINING])
        _close_tables(cursor)
    return found


def reason(cursor: Cursor) -> str | None:
    """Return what says that the node's data is older than what its peers have of it, None when nothing does. Changes nothing."""
    cursor.execute(statements.text("positions"))
    confirmed = cursor.fetchall()
    # behind them: what was written in between is no lack
    cursor.execute("SELECT pg_current_wal_insert_lsn()")
    end = one_row(cursor)[0]
    for peer, position in confirmed:
        if _lsn(position) > _lsn(end):
            return f"an old copy of its data was put back: {peer} has its WAL up to {position}, and here it ends at {end}"
    cursor.execute(statements.text("unknown_beats"))
    for peer, number in cursor.fetchall():
        return f"an old copy of its data was put back: {peer} has heard its beat {number}, which it did not make as far as its data says"
    return None


def _begin_run(cursor: Cursor) -> None:
    """Let the numbers of this start of the server lie where no other copy of the data has any."""
    cursor.execute("SELECT EXISTS (SELECT FROM unison.run WHERE last IS NULL AND started_at = pg_postmaster_start_time())")
    if not one_row(cursor)[0]:
        cursor.execute(statements.text("begin_run"), {"step": RUN_STEP + secrets.randbelow(RUN_STEP)})


def _close_tables(cursor: Cursor) -> None:
    cursor.execute("UPDATE unison.replicated_table SET is_open = false WHERE is_open RETURNING schema_name, table_name")
    for schema, name in cursor.fetchall():
        cursor.execute(sql.SQL("REVOKE SELECT, INSERT, UPDATE, DELETE ON {} FROM unison_writers, unison_readers").format(sql.Identifier(schema, name)))


def _lsn(text: str) -> int:
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)
