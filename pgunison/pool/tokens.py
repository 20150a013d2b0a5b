"""What a node is asked for a caller: what it lacks of a token, and what became of a transaction."""

import time
from typing import NamedTuple

import psycopg2

from pgunison.errors import UsageError
from pgunison.pool.errors import Unavailable
from pgunison.pool.lanes import Lanes
from pgunison.pool.routes import STATUS
from pgunison.pool.session import Session
from pgunison.pool.stock import Stock

# how long one node may take for what a token asks for, before another one is tried
TOKEN_PATIENCE_S = 0.05
OUTCOME_TIMEOUT_S = 2.0
# since when the server counts what it does: it begins anew after a crash, and nothing else that a client may read tells of one
ERA = "(SELECT extract(epoch FROM stats_reset)::text FROM pg_stat_wal)"


class Numbered(NamedTuple):
    """A transaction by its number, and the era in which it had it: after a crash, one whose WAL was not on disk never was, and its number is given again."""

    number: str
    era: str


def after(stock: Stock, group: Lanes, key: str | None, token: str, deadline: float, wait_s: float) -> Session:
    """Take a connection to a node that has applied the token: the first one that has, or gets it in time."""
    missing: dict[str, str] = {}
    while True:
        # those that were not asked yet come first
        try:
            session = stock.take(group, lambda choice: sorted(choice.order(key, stock.busy), key=missing.__contains__), deadline, wait_s)
        except Unavailable:
            if not missing:
                raise
            raise _nobody_has_it(stock, group, key, missing, wait_s) from None
        patience_s = TOKEN_PATIENCE_S * (4 if session.node in missing else 1)
        try:
            found = _behind(stock, group, session, token, min(max(0.0, deadline - time.monotonic()), patience_s))
        except BaseException:
            stock.end(session)
            raise
        if found is None:
            return session
        missing[session.node] = found
        stock.end(session)
        if time.monotonic() >= deadline:
            raise _nobody_has_it(stock, group, key, missing, wait_s)


def _nobody_has_it(stock: Stock, group: Lanes, key: str | None, missing: dict[str, str], wait_s: float) -> Unavailable:
    names = stock.router.choices[group.name].order(key, stock.busy)
    said = (f"{name}: " + (f"it lacks {missing[name]}" if name in missing else stock.why(group, name, names)) for name in sorted(group.lanes))
    return Unavailable(f"no node has what the token asks for within {wait_s:g} s", "; ".join(said), STATUS)


def _behind(stock: Stock, group: Lanes, session: Session, token: str, wait_s: float) -> str | None:
    """Ask a node what it lacks of a token, in a transaction of its own: what follows must see what has come."""
    session.limit_s = wait_s + 1
    session.since = time.monotonic()
    try:
        session.cursor.execute("SELECT unison.behind(%s, %s)", [token, wait_s])
        found: str | None = session.cursor.fetchone()[0]
        if not group.group.autocommit:
            session.connection.rollback()
        return found
    except psycopg2.errors.InvalidParameterValue as error:
        raise UsageError("after is no token", "a token is made by db.token()", "give one as it was made") from error
    except psycopg2.Error as error:
        if session.connection.closed:
            stock.router.suspect(session.node)
            return f"an answer: {session.cut_because or str(error).strip()}"
        raise
    finally:
        session.since = 0.0


def outcome(stock: Stock, group: Lanes, node: str, life: str, transaction: Numbered) -> str:
    """Ask a node what became of a transaction of its present life. After a crash, that its number was committed may be said of another one."""
    try:
        session = stock.take(group, lambda _: [node], time.monotonic() + OUTCOME_TIMEOUT_S, OUTCOME_TIMEOUT_S)
    except Unavailable:
        return "unknown"
    session.limit_s, session.since = OUTCOME_TIMEOUT_S, time.monotonic()
    try:
        session.cursor.execute(f"SELECT pg_xact_status(%s::xid8), unison.token(), {ERA}", [transaction.number])
        status, token, era = session.cursor.fetchone()
    except psycopg2.Error:
        # it was lost again, or the server has never drawn that number
        return "unknown"
    finally:
        session.since = 0.0
        stock.end(session)
    if f"{node}-{life}-" not in token or status == "committed" and era != transaction.era:
        return "unknown"
    return str(status) if status in ("committed", "aborted") else "unknown"
