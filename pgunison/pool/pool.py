"""The pool: what an application uses. docs/pool.md describes it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg2
from psycopg2 import extensions

from pgunison.configuration.sysconfig import Configuration, Group
from pgunison.errors import UsageError
from pgunison.pool.errors import ConnectionLost, PartlyCommitted, PoolError, Unavailable, UnknownOutcome
from pgunison.pool.node import NodeState
from pgunison.pool.router import Choice, Router
from pgunison.pool.routes import CONNECT_TIMEOUT_S, STATUS, found, parameters, rules
from pgunison.pool.session import Lane, Session
from pgunison.pool.slots import Slots

# A call that takes longer than this has its node asked, and asked again, whether it is well.
STALL_S, ASK_EVERY_S = 0.15, 0.1
# While one node lets a caller wait for its connection, the next node is tried.
CONNECT_PATIENCE_S = 0.3
# how often who waits looks again, whatever happens
LOOK_EVERY_S = 0.05
# the server ends a statement by itself, before we cut its connection
CUT_BEHIND_S = 0.5
OPENERS = 16
# how long one node may take for what a token asks for, before another one is tried
TOKEN_PATIENCE_S = 0.05
OUTCOME_TIMEOUT_S = 2.0


class Pool:
    """Connections of the groups of a configuration to all nodes of its cluster. Threads share it; a process that forks opens it afterwards."""

    def __init__(self, configuration: Configuration, path: Path, passwords: dict[str, str], local: str | None = None):
        self._configuration, self._passwords = configuration, passwords
        kinds = {role.name: role.kind for role in configuration.roles}
        self._slots = Slots()
        self._changed = threading.Condition()
        self._waiting = 0
        self._closed = False
        self._sessions: set[Session] = set()
        self._opener = ThreadPoolExecutor(OPENERS, thread_name_prefix="pgunison connect")
        self._groups = {group.name: _Lanes(group, kinds[group.role] == "writer") for group in configuration.groups}
        self._router = Router(path, rules(configuration, local), self._watch, self._node_changed)
        self._node_changed(None)
        self._router.start()

    @classmethod
    def open(cls, config: str | Path = "sysconfig.json", runtime: str = "auto", *, local: str | None = None) -> Self:
        """Open the pool of a cluster that was made on this machine.

        Waits half a second at the most for the nodes that answer; the others are taken in when they do. ``local`` names the node that is nearest, for groups
        with the policy local-first. Raises OrchestratorError when the cluster was never made, UsageError for a wrong configuration.
        """
        configuration, path, passwords = found(config, runtime)
        pool = cls(configuration, path, passwords, local)
        pool._router.await_first_answers()
        return pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections that nobody has; those that are lent are closed when they come back."""
        self._router.close()
        with self._changed:
            self._closed = True
            idle = [session for group in self._groups.values() for lane in group.lanes.values() for session in _drain(lane)]
            self._changed.notify_all()
        for session in idle:
            self._discard(session)
        self._opener.shutdown(wait=False, cancel_futures=True)

    def connection(self, group: str, *, key: object = None, after: str | None = None, timeout_s: float | None = None) -> "Borrowed":
        """Lend a connection of a group: ``with pool.connection("writer1") as db: db.query(statement, parameters)``.

        ``key`` (any value with a text) takes the key's home node; ``after`` a node that has applied the token; ``timeout_s`` is how long it may take to get
        the connection, and each statement in the block, the group's ``timeout_s`` and ``statement_timeout_s`` by default. Raises at the beginning of the block
        Unavailable; in it and at its end ConnectionLost, UnknownOutcome, and PostgreSQL's own errors as they are.
        """
        found = self._groups.get(group)
        if found is None:
            raise UsageError(f"there is no group {group}", f"the groups are {', '.join(self._groups) or 'none'}", "name one of them")
        return Borrowed(self, found, None if key is None else str(key), after, timeout_s)

    def nodes(self) -> dict[str, NodeState]:
        """Return what is known of each node."""
        return self._router.states

    def busy(self, node: str) -> int:
        """Return how many connections to a node are lent, or being opened."""
        return sum(group.lanes[node].busy for group in self._groups.values() if node in group.lanes)

    def ready(self, group: str) -> dict[str, float]:
        """Return which nodes get new work of a group, each with its part of a full share (0 to 1)."""
        return dict(self._router.choices[group].weights)

    # --- lending ---

    def _lend(self, group: "_Lanes", key: str | None, after: str | None, timeout_s: float | None) -> Session:
        first: str | None = None
        if key is None and after is None and (take := self._router.choices[group.name].take) is not None:
            # what happens nearly always, with nothing that waits and no lock
            first = take()
            try:
                session = group.lanes[first].idle.pop()
            except (KeyError, IndexError):
                pass
            else:
                if session.alive():
                    session.limit_s = group.limit_s if timeout_s is None else timeout_s
                    return session
                self._discard(session)
        return self._lend_slowly(group, first, key, after, timeout_s)

    def _lend_slowly(self, group: "_Lanes", first: str | None, key: str | None, after: str | None, timeout_s: float | None) -> Session:
        wait_s = group.group.timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + wait_s
        if after is not None:
            session = self._lend_after(group, key, after, deadline, wait_s)
        else:
            session = self._take(group, lambda choice: choice.order(key, self.busy, first), deadline, wait_s)
        session.limit_s = group.limit_s if timeout_s is None else timeout_s
        return session

    def _take(self, group: "_Lanes", order: Callable[[Choice], list[str]], deadline: float, wait_s: float) -> Session:
        """Take an idle connection of the best node that has one, having others opened where there is room; wait until the deadline."""
        asked: dict[str, float] = {}
        choice, names = None, []
        with self._changed:
            self._waiting += 1
        try:
            while True:
                if choice is not (now_is := self._router.choices[group.name]):
                    choice, names = now_is, order(now_is)
                dead: list[Session] = []
                with self._changed:
                    if self._closed:
                        raise PoolError("the pool is closed", "", "open another one")
                    now = time.monotonic()
                    session = self._idle(group, names, asked, now, dead)
                    if session is None and not dead:
                        self._have_opened(group, names, asked, now)
                        if now >= deadline:
                            raise self._unavailable(group, names, wait_s)
                        self._changed.wait(min(LOOK_EVERY_S, deadline - now))
                for one in dead:
                    self._discard(one)
                if session is not None:
                    return session
        finally:
            with self._changed:
                self._waiting -= 1

    def _idle(self, group: "_Lanes", names: Sequence[str], asked: dict[str, float], now: float, dead: list[Session]) -> Session | None:
        """Take an idle connection of the first node that has one, and put by those that are dead. A node with room for one more is not passed over, unless
        connecting to it fails or takes long."""
        for name in names:
            lane = group.lanes.get(name)
            if lane is None:
                continue
            for session in _drain(lane):
                if session.alive():
                    return session
                dead.append(session)
            if lane.made >= lane.count or now < lane.retry_at:
                continue
            if lane.failures:
                # tried again beside others that have a connection, so that nobody waits for it
                self._start_opening(group, lane, asked, now)
            elif now - asked.get(name, now) < CONNECT_PATIENCE_S:
                return None
        return None

    def _have_opened(self, group: "_Lanes", names: Sequence[str], asked: dict[str, float], now: float) -> None:
        """Have a connection opened for a caller, on the best node that has room for one; on another one when that takes long."""
        if any(now - at < CONNECT_PATIENCE_S for at in asked.values()):
            return
        for name in names:
            lane = group.lanes.get(name)
            if lane is None or lane.made >= lane.count or now < lane.retry_at:
                continue
            # one who comes back is tried by one caller at a time
            if name in asked and now - asked[name] < CONNECT_TIMEOUT_S:
                continue
            if self._start_opening(group, lane, asked, now):
                return

    def _start_opening(self, group: "_Lanes", lane: Lane, asked: dict[str, float], now: float) -> bool:
        """Have one connection more opened, in a thread; False where that must wait: a node that comes back is tried by one at a time."""
        name = lane.endpoint.name
        state = self._router.states.get(name)
        if state is None or (state.trial and self.busy(name)):
            return False
        asked[name] = now
        lane.made += 1
        self._opener.submit(self._open, group, lane, asked)
        return True

    def _open(self, group: "_Lanes", lane: Lane, asked: dict[str, float]) -> None:
        name = lane.endpoint.name
        try:
            session = self._connect(group, lane)
        except Exception as error:
            self._router.suspect(name)
            with self._changed:
                lane.made, lane.failures = lane.made - 1, lane.failures + 1
                lane.failure = str(error).strip().partition("\n")[0]
                lane.retry_at = time.monotonic() + min(1.0, 0.05 * 2 ** min(lane.failures, 5))
                asked.pop(name, None)
                self._changed.notify_all()
            return
        self._router.proved(name)
        with self._changed:
            lane.failure, lane.failures, lane.retry_at = "", 0, time.monotonic() + 0.2 if lane.gone else 0.0
            self._sessions.add(session)
            asked.pop(name, None)
        self._give_back(session)

    def _connect(self, group: "_Lanes", lane: Lane) -> Session:
        told = parameters(group.group, lane.endpoint, self._router.endpoints, self._passwords[group.group.role])
        handler = self._slots.open(f"{group.name}@{lane.endpoint.name}/{id(lane)}", lane.count, group.group.autocommit, told)
        try:
            return Session(lane, handler, group.limit_s)
        except BaseException:
            # a machine without a descriptor left
            self._slots.close(handler)
            raise

    def _lend_after(self, group: "_Lanes", key: str | None, token: str, deadline: float, wait_s: float) -> Session:
        """Take a connection to a node that has applied the token: the first one that has, or gets it in time."""
        missing: dict[str, str] = {}
        while True:
            # those that were not asked yet come first
            session = self._take(group, lambda choice: sorted(choice.order(key, self.busy), key=missing.__contains__), deadline, wait_s)
            patience_s = TOKEN_PATIENCE_S * (4 if session.node in missing else 1)
            try:
                found = self._behind(group, session, token, min(max(0.0, deadline - time.monotonic()), patience_s))
            except BaseException:
                self._end(session)
                raise
            if found is None:
                return session
            missing[session.node] = found
            self._end(session)
            if time.monotonic() >= deadline:
                raise Unavailable(f"no node has what the token asks for within {wait_s:g} s",
                                  "; ".join(f"{name} lacks {what}" for name, what in sorted(missing.items())), STATUS)

    def _behind(self, group: "_Lanes", session: Session, token: str, wait_s: float) -> str | None:
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
                self._router.suspect(session.node)
                return f"an answer: {session.cut_because or str(error).strip()}"
            raise
        finally:
            session.since = 0.0

    def _outcome(self, group: "_Lanes", node: str, life: str, number: str) -> str:
        """Ask a node what became of a transaction of its present life."""
        try:
            session = self._take(group, lambda _: [node], time.monotonic() + OUTCOME_TIMEOUT_S, OUTCOME_TIMEOUT_S)
        except Unavailable:
            return "unknown"
        session.limit_s, session.since = OUTCOME_TIMEOUT_S, time.monotonic()
        try:
            session.cursor.execute("SELECT pg_xact_status(%s::xid8), unison.token()", [number])
            status, token = session.cursor.fetchone()
        except psycopg2.Error:
            # it was lost again, or the server has never drawn that number
            return "unknown"
        finally:
            session.since = 0.0
            self._end(session)
        return str(status) if status in ("committed", "aborted") and f"{node}-{life}-" in token else "unknown"

    def _unavailable(self, group: "_Lanes", names: Sequence[str], wait_s: float) -> Unavailable:
        said = []
        for name, lane in sorted(group.lanes.items()):
            if name not in names and name not in self._router.choices[group.name].weights:
                said.append(f"{name}: {self._router.why(name)}")
            elif lane.failure:
                said.append(f"{name}: {lane.failure}")
            elif lane.busy >= lane.count:
                said.append(f"{name}: its {lane.count} connections are in use")
            else:
                said.append(f"{name}: it is being connected")
        return Unavailable(f"no node can serve {group.name} within {wait_s:g} s", "; ".join(said) or "the cluster has no nodes", STATUS)

    # --- coming back ---

    def _give_back(self, session: Session) -> None:
        if session.lane.gone or self._closed or session.cut_because is not None:
            self._discard(session)
            return
        session.lane.idle.append(session)
        if self._waiting:
            with self._changed:
                self._changed.notify_all()
        elif self._closed or session.lane.gone:
            # it was closed just now, and has not seen this one
            self._sweep(session.lane)

    def _sweep(self, lane: Lane) -> None:
        for session in _drain(lane):
            self._discard(session)

    def _end(self, session: Session) -> None:
        """Take a connection back that may be in any state."""
        if not session.settled:
            session.since = time.monotonic()
            # one that cannot be rolled back is closed, which is the same to the server
            with contextlib.suppress(psycopg2.Error):
                session.connection.rollback()
            session.since = 0.0
        if session.connection.closed or session.cut_because is not None or not session.settled:
            self._discard(session)
        else:
            self._give_back(session)

    def _discard(self, session: Session) -> None:
        """Close a connection; another one takes its place when somebody needs it."""
        session.release()
        self._slots.close(session.handler)
        with self._changed:
            if session in self._sessions:
                self._sessions.remove(session)
                session.lane.made -= 1
            self._changed.notify_all()

    # --- what the router's thread calls ---

    def _watch(self) -> None:
        """Cut what takes too long, and have the node asked of what takes long."""
        now = time.monotonic()
        for session in list(self._sessions):
            since = session.since
            if not since or session.cut_because is not None or now - since < min(STALL_S, session.limit_s):
                continue
            state = self._router.states.get(session.node)
            if now - since > session.limit_s:
                session.cut(f"{session.node} has not answered within {session.limit_s:g} s")
                self._router.suspect(session.node)
            elif state is not None and state.state == "silent":
                session.cut(f"{session.node}: {state.reason}")
            elif now - session.asked_at >= ASK_EVERY_S:
                session.asked_at = now
                self._router.ask(session.node)

    def _node_changed(self, name: str | None) -> None:
        """Make lanes for nodes that have come; close what leads to those that have gone, or do not answer."""
        ended: list[Session] = []
        with self._changed:
            nodes = self._router.nodes
            for group in self._groups.values():
                lanes = {node: group.lanes[node] if node in group.lanes and group.lanes[node].endpoint == endpoint
                         else Lane(endpoint, group.group.connections_per_node) for node, endpoint in nodes.items()}
                for lane in group.lanes.values():
                    state = self._router.states.get(lane.endpoint.name)
                    # one that is drained waits for its clients to leave
                    lane.gone = lane not in lanes.values() or (state is not None and state.state in ("silent", "not ready"))
                    if lane.gone:
                        ended += _drain(lane)
                group.lanes = lanes
            self._changed.notify_all()
        for session in ended:
            self._discard(session)


class _Lanes:
    """A group with its connections to each node; ``lanes`` is replaced as a whole."""

    def __init__(self, group: Group, writes: bool):
        self.group, self.writes, self.name = group, writes, group.name
        self.limit_s = group.statement_timeout_s + CUT_BEHIND_S
        self.lanes: dict[str, Lane] = {}


class Borrowed:
    """A connection that is lent for a ``with`` block. In a group without autocommit the block is a transaction: its end commits, an exception rolls back."""

    __slots__ = ("_after", "_committed", "_group", "_key", "_node", "_pool", "_session", "_timeout_s")

    def __init__(self, pool: Pool, group: _Lanes, key: str | None, after: str | None, timeout_s: float | None):
        self._pool, self._group, self._key, self._after, self._timeout_s = pool, group, key, after, timeout_s
        self._session: Session | None = None
        self._node: str | None = None
        # something of the block may stand, whatever becomes of the rest
        self._committed = False

    def __enter__(self) -> Self:
        if self._session is not None:
            raise PoolError("the block has begun already", "a connection is lent for one block", "call pool.connection() for each")
        session = self._session = self._pool._lend(self._group, self._key, self._after, self._timeout_s)
        self._node = session.lane.endpoint.name
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        session = self._session
        if session is None:
            return
        if kind is None and self._group.group.autocommit and session.connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE:
            # what happens nearly always
            self._session = None
            self._pool._give_back(session)
            return
        unsettled = self._group.group.autocommit and not session.connection.closed
        try:
            if kind is None and not self._group.group.autocommit:
                self.commit()
        finally:
            self._session = None
            self._pool._end(session)
        if kind is None and unsettled:
            raise PoolError("the block left a transaction open, and it was rolled back", f"{self._group.name} commits each statement by itself",
                            "end what BEGIN began, or take a group without autocommit")

    @property
    def node(self) -> str:
        """Return the name of the node that the connection leads to."""
        if self._node is None:
            raise PoolError("the block has not begun", "", "use it in a with statement")
        return self._node

    def query(self, statement: Any, parameters: Any = None) -> list[dict[str, Any]]:
        """Execute a statement, a text or a psycopg2.sql.Composable; returns its rows, none for one that answers with none.

        Raises psycopg2.Error for what PostgreSQL refuses; when the connection is lost, UnknownOutcome where the statement may have committed by itself, else
        PartlyCommitted where something of the block stands, else ConnectionLost.
        """
        rows = self._query(statement, parameters, commits=self._group.group.autocommit and self._group.writes)
        if self._group.writes and not self._committed and self._session is not None:
            # each statement does, and one that was a COMMIT
            self._committed = (self._session.connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE
                               and self._session.cursor.statusmessage != "ROLLBACK")
        return rows

    def _query(self, statement: Any, parameters: Any = None, *, commits: bool = False) -> list[dict[str, Any]]:
        session = self._session or self._ended()
        cursor = session.cursor
        session.since = time.monotonic()
        try:
            cursor.execute(statement, parameters)
            if cursor.description is None:
                return []
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]
        except psycopg2.Error as error:
            if not session.connection.closed:
                raise
            raise self._lost(session, error, commits=commits) from error
        finally:
            session.since = 0.0

    def commit(self) -> None:
        """Commit what was done so far. UnknownOutcome when the connection is lost in it; PoolError where each statement commits by itself."""
        session = self._transaction()
        if session.connection.status == extensions.STATUS_READY:
            # nothing was done since the last one
            return
        if session.connection.closed or session.cut_because is not None:
            # no COMMIT is sent any more
            raise self._lost(session, psycopg2.OperationalError("it was lost before COMMIT"), commits=False)
        status = session.connection.get_transaction_status()
        if status == extensions.TRANSACTION_STATUS_INERROR:
            self.rollback()
            raise PoolError("nothing was committed: a statement of the transaction had failed", "PostgreSQL takes a COMMIT for a ROLLBACK then",
                            "let the error leave the block, or call rollback()")
        number = self._number() if self._group.writes and status == extensions.TRANSACTION_STATUS_INTRANS else None
        session.since = time.monotonic()
        try:
            session.connection.commit()
        except psycopg2.Error as error:
            if not session.connection.closed:
                raise
            # what only reads leaves nothing
            raise self._lost(session, error, commits=self._group.writes, number=number) from error
        finally:
            session.since = 0.0
        self._committed = self._committed or number is not None

    def _number(self) -> str | None:
        """Ask for the number of the transaction, by which its outcome can be asked later; None when it has written nothing."""
        (row,) = self._query("SELECT pg_current_xact_id_if_assigned()::text AS number")
        return None if row["number"] is None else str(row["number"])

    def rollback(self) -> None:
        """Undo what was done since the last commit; PoolError where each statement commits by itself."""
        session = self._transaction()
        session.since = time.monotonic()
        try:
            session.connection.rollback()
        except psycopg2.Error as error:
            raise self._lost(session, error, commits=False) from error
        finally:
            session.since = 0.0

    def token(self) -> str:
        """Return what a later read must have seen: all that was committed here, and all that was visible. For ``connection(..., after=token)``.

        Also behind the block. PoolError while a transaction has written and not committed: its place in the WAL is not known yet; and behind the block when
        its node does not tell it: then what the block committed stands all the same.
        """
        if self._session is None:
            node = self.node
            try:
                return self._token_behind(node)
            except (PoolError, psycopg2.Error) as error:
                said = error.message if isinstance(error, PoolError) else str(error).strip().partition("\n")[0]
                raise PoolError(f"the token cannot be had from {node}", said,
                                "what the block committed stands: ask for the token again, or read on that node") from error
        idle = self._session.connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE
        (found,) = self._query("SELECT unison.token() AS token, pg_current_xact_id_if_assigned() IS NULL AS settled")
        if not found["settled"]:
            raise PoolError("a token cannot be had before what was written is committed", f"a transaction of {self._group.name} is open",
                            "call commit() before, or token() behind the block")
        if idle and not self._group.group.autocommit:
            self.rollback()
        return str(found["token"])

    def _token_behind(self, node: str) -> str:
        session = self._pool._take(self._group, lambda _: [node], time.monotonic() + self._group.group.timeout_s, self._group.group.timeout_s)
        self._session = session
        try:
            return self.token()
        finally:
            self._session = None
            self._pool._end(session)

    def _transaction(self) -> Session:
        """Return the session of a block that is a transaction."""
        session = self._session or self._ended()
        if self._group.group.autocommit:
            raise PoolError(f"{self._group.name} commits each statement by itself", "there is no transaction to commit or to roll back",
                            'take a group with "autocommit": false')
        return session

    def _ended(self) -> Session:
        raise PoolError("the block has ended, and its connection with it", "", "borrow another one: pool.connection(...)")

    def _lost(self, session: Session, error: psycopg2.Error, *, commits: bool, number: str | None = None) -> PoolError:
        life = self._pool._router.states[session.node].life if session.node in self._pool._router.states else None
        self._pool._router.suspect(session.node)
        detail = session.cut_because or str(error).strip().partition("\n")[0] or type(error).__name__
        if commits:
            ask = partial(self._pool._outcome, self._group, session.node, life, number) if number and life else None
            return UnknownOutcome(f"the connection to {session.node} was lost in COMMIT: what was done may stand or not", detail,
                                  "ask outcome(), or look for it, before doing it again", session.node, ask)
        if self._committed:
            return PartlyCommitted(f"the connection to {session.node} was lost", detail, "what was committed before stands; the rest does not", session.node)
        return ConnectionLost(f"the connection to {session.node} was lost", detail, "nothing of the block stands: it may be done again", session.node)


def _drain(lane: Lane) -> Iterator[Session]:
    while True:
        try:
            yield lane.idle.pop()
        except IndexError:
            return
