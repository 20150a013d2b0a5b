"""What has to be done on a node again and again: close races, forget what every member has, throw away messages that are sent."""

from dataclasses import dataclass

from psycopg2 import sql

from services import shape, statements
from services.table import replicated_tables

# A beat is a small transaction on every member; none of what waits for it is urgent.
BEAT_EVERY_ROUNDS = 5
EVERY_TOMBSTONE = sql.SQL("true")


@dataclass(frozen=True)
class Upkeep:
    """How long and how much a node remembers."""

    tombstone_retention_s: int
    conflict_retention_s: int
    conflict_bytes: int


def maintain(cursor, upkeep: Upkeep) -> dict[str, int]:
    """Do one round of maintenance; returns how many rows were swept, images trimmed and tombstones collected.

    The whole round is one transaction: one that fails leaves no trace but its number, and the next one looks back as far as it must.
    """
    cursor.execute("SELECT nextval('unison.round_number')")
    number = cursor.fetchone()[0]
    # a statement of its own, because the number must be drawn before the running transactions are looked at
    cursor.execute(statements.text("round"), {"number": number, "retention_s": upkeep.tombstone_retention_s})
    since = cursor.fetchone()[0]
    done = {"swept": 0, "trimmed": 0, "collected": 0}
    if number % BEAT_EVERY_ROUNDS == 0:
        # before the replica role: this INSERT is for the peers
        cursor.execute(statements.text("send_beat"))
        cursor.execute(statements.text("trim_conflicts"), {"retention_s": upkeep.conflict_retention_s, "bytes": upkeep.conflict_bytes})
    cursor.execute("SET LOCAL session_replication_role = replica")
    done["swept"] = sweep(cursor, sql.SQL("d.unison_arrived >= {}").format(sql.Literal(since)))
    if number % BEAT_EVERY_ROUNDS == 0:
        collected = collect(cursor)
        done = done | {"collected": collected["collected"], "swept": done["swept"] + collected["swept"]}
    done["trimmed"] = trim(cursor)
    return done


def sweep(cursor, chosen: sql.Composable = EVERY_TOMBSTONE) -> int:
    """Delete the rows that are older than their tombstone; returns how many there were. The session must be in replica role.

    ``chosen`` is the condition for the tombstones ``d`` to be looked at; all of them by default.
    """
    deleted = 0
    for names in _tables(cursor):
        cursor.execute(statements.render("sweep", cursor, chosen=chosen, **names))
        deleted += cursor.fetchone()[0]
    return deleted


def collect(cursor) -> dict[str, int]:
    """Forget the tombstones that every member has applied; returns how many, and how many rows had to be swept for it."""
    cursor.execute(statements.text("collect"))
    found = cursor.fetchone()
    if found is None:
        return {"collected": 0, "swept": 0}
    chosen = sql.SQL("d.unison_arrived < {} AND d.modified_ts < to_timestamp({})").format(*map(sql.Literal, found))
    collected = 0
    # everything older has arrived, the versions too that these notes wait for
    cursor.execute("DELETE FROM unison.replaced WHERE arrived < %s", [found[0]])
    # what raced with one of these has no later chance to be found
    swept = sweep(cursor, chosen)
    for names in _tables(cursor):
        cursor.execute(sql.SQL("DELETE FROM {} AS d WHERE {}").format(names["tombstone"], chosen))
        collected += cursor.rowcount
    return {"collected": collected, "swept": swept}


def trim(cursor) -> int:
    """Delete the images: each is in the WAL, where the peers get it from; returns how many there were."""
    trimmed = 0
    for names in _tables(cursor):
        cursor.execute(sql.SQL("DELETE FROM {}").format(names["image"]))
        trimmed += cursor.rowcount
    return trimmed


def _tables(cursor) -> list[dict[str, sql.Composable]]:
    """List what the files in sql/ ask for, table by table, without a table that somebody dropped."""
    shapes = [shape.read(cursor, table["schema"], table["name"]) for table in replicated_tables(cursor)]
    return [found.parts(0)["names"] for found in shapes if found is not None]
