"""What has to be done on a node again and again: close races, forget what every member has, throw away messages that are sent.

A round is one transaction: one that fails leaves no trace but its number, and the next one looks back as far as it must.
Each table has a share of it (share.py). A share that fails is undone for itself and noted in ``unison.overdue``; it is
tried again in a transaction of its own, which looks back to where the first failure did. That is right for the same
reason as a round is (sql/round.sql): the oldest transaction only gets younger, so what a later sweep has to look at is
never more than what the first one had to that failed. Until then the table's tombstones stay: here because they are
needed, and on the members because a row of this node may still be older than one, and somebody could change that row
and send it. The beats tell them (sql/send_beat.sql).
"""

import json
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from services import statements
from services.driver import Connection, Cursor, one_row
from services.errors import ServiceError
from services.share import Attempts, Share, said, shares, with_work

# A beat is a small transaction on every member; none of what waits for it is urgent.
BEAT_EVERY_ROUNDS = 5
# so much of a round may be lost to shares that fail
FAILING_S = 10.0
# A share waits no longer for somebody's lock: it is tried again, and others are not kept waiting. A round has nothing else to wait for.
SETTINGS = {"statement_timeout": "10min", "lock_timeout": "1s"}


@dataclass(frozen=True)
class Upkeep:
    """How long and how much a node remembers."""

    tombstone_retention_s: int
    conflict_retention_s: int
    conflict_bytes: int


@dataclass
class Done:
    """How many rows were swept, images trimmed and tombstones collected."""

    swept: int = 0
    trimmed: int = 0
    collected: int = 0


def maintain(connection: Connection, upkeep: Upkeep) -> dict[str, Any]:
    """Do one round of maintenance.

    Returns the numbers of :class:`Done`; ``failing``, tables by name, for how many seconds and why; and ``prepared``, transactions by name (their
    gid), database and for how many seconds.
    """
    done, attempts = Done(), Attempts(FAILING_S)
    with connection, connection.cursor() as cursor:
        number, since = _begin(cursor, upkeep)
        _as_replica(cursor)
        tables = shares(cursor)
        _sweep_and_trim(cursor, tables, since, attempts, done)
        if number % BEAT_EVERY_ROUNDS == 0:
            # this INSERT is for the peers; behind the sweeps, because it tells which of them failed
            cursor.execute("SET LOCAL session_replication_role = origin")
            cursor.execute(statements.text("send_beat"))
            cursor.execute(statements.text("trim_conflicts"), {"retention_s": upkeep.conflict_retention_s, "bytes": upkeep.conflict_bytes})
            _as_replica(cursor)
            _collect(cursor, tables, attempts, done)
    for share in tables:
        if share.overdue and share.again and attempts.left_s > 0:
            _make_up(connection, share, share.overdue, attempts, done)
    with connection, connection.cursor() as cursor:
        return vars(done) | _failing(cursor)


def sweep(connection: Connection) -> int:
    """Delete every row that is older than its tombstone, of every table; returns how many there were.

    ServiceError names the tables that could not be swept; the others are.
    """
    swept, failed = 0, {}
    with connection, connection.cursor() as cursor:
        tables = {str(share): share for share in shares(cursor)}
    for name, share in tables.items():
        try:
            with connection, connection.cursor() as cursor:
                _as_replica(cursor)
                swept += share.sweep(cursor)
        except psycopg2.Error as error:
            if connection.closed:
                raise
            failed[name] = said(error)
    if failed:
        raise ServiceError(f"{', '.join(failed)} cannot be swept", "; ".join(f"{name}: {reason}" for name, reason in failed.items()),
                           "mend the table, or end what holds its lock, and call again")
    return swept


def _begin(cursor: Cursor, upkeep: Upkeep) -> tuple[int, int]:
    """Record the round; returns its number, and from which round on tombstones must be swept."""
    cursor.execute("SELECT nextval('unison.round_number')")
    number = one_row(cursor)[0]
    # Each a statement of its own: the number must be drawn before the running transactions are looked at, and these before the prepared ones.
    cursor.execute(statements.text("running"))
    running = one_row(cursor)[0]
    cursor.execute(statements.text("round"), {"number": number, "running": running, "retention_s": upkeep.tombstone_retention_s})
    return number, one_row(cursor)[0]


def _as_replica(cursor: Cursor) -> None:
    """Let what follows be no new deletion."""
    cursor.execute("SET LOCAL session_replication_role = replica")


def _sweep_and_trim(cursor: Cursor, tables: list[Share], since: int, attempts: Attempts, done: Done) -> None:
    overdue = {str(share) for share in tables if share.overdue == "sweep"}
    well = list({str(share): share for share in tables if str(share) not in overdue}.values())
    chosen = arrived_since(since)
    images, tombstones = with_work(cursor, well, chosen)

    def work(share: Share) -> tuple[int, int]:
        return share.sweep(cursor, chosen) if share in tombstones else 0, share.trim(cursor) if share in images else 0

    for share in [share for share in well if share in images or share in tombstones]:
        if numbers := attempts.attempt(cursor, share, "sweep", since, work):
            done.swept, done.trimmed = done.swept + numbers[0], done.trimmed + numbers[1]


def _collect(cursor: Cursor, tables: list[Share], attempts: Attempts, done: Done) -> None:
    """Forget the tombstones that every member has applied."""
    found = _bounds(cursor)
    if found is None:
        return
    number, chosen, kept = found
    # everything older has arrived, the versions too that these notes wait for
    cursor.execute("DELETE FROM unison.replaced WHERE arrived < %s AND NOT (%s::jsonb @> jsonb_build_array(jsonb_build_array(schema_name, table_name)))",
                   [number, json.dumps(kept)])
    well = [share for share in tables if share.overdue is None and [share.schema, share.table] not in kept]
    for share in with_work(cursor, well, chosen)[1]:
        if numbers := attempts.attempt(cursor, share, "collect", number, lambda share: share.collect(cursor, chosen)):
            done.swept, done.collected = done.swept + numbers[0], done.collected + numbers[1]


def _bounds(cursor: Cursor) -> tuple[int, sql.Composable, list[list[str]]] | None:
    """Return the round before which tombstones may be forgotten, the condition for them, and the tables of which none may be."""
    cursor.execute(statements.text("collect"))
    found = cursor.fetchone()
    return found and (found[0], sql.SQL("d.unison_arrived < {} AND d.modified_ts < to_timestamp({})").format(*map(sql.Literal, found[:2])), found[2])


def _make_up(connection: Connection, share: Share, part: str, attempts: Attempts, done: Done) -> None:
    """Do the part that failed in an earlier round, in a transaction of its own, and forget that it failed."""
    def work(share: Share) -> Done:
        if part == "sweep":
            return Done(share.sweep(cursor, condition), share.trim(cursor))
        found = _bounds(cursor)
        if found is None or [share.schema, share.table] in found[2]:
            # not now, and then it is no failure of this table's
            return Done()
        swept, collected = share.collect(cursor, found[1])
        return Done(swept, collected=collected)

    with connection, connection.cursor() as cursor:
        since = share.claim(cursor)
        if since is None:
            return
        condition = arrived_since(since)
        _as_replica(cursor)
        if made := attempts.attempt(cursor, share, part, since, work):
            share.forget(cursor)
            done.swept, done.trimmed, done.collected = done.swept + made.swept, done.trimmed + made.trimmed, done.collected + made.collected


def _failing(cursor: Cursor) -> dict[str, list[dict[str, Any]]]:
    cursor.execute(statements.text("overdue"))
    found = cursor.fetchall()
    return {"failing": [{"table": name, "age_s": age_s, "reason": reason} for kind, name, _, age_s, reason in found if kind == "table"],
            "prepared": [{"gid": name, "database": database, "age_s": age_s} for kind, name, database, age_s, _ in found if kind == "prepared"]}


def arrived_since(number: int) -> sql.Composable:
    """Write the condition for tombstones ``d`` that arrived in this round or later."""
    return sql.SQL("d.unison_arrived >= {}").format(sql.Literal(number))
