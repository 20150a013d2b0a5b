"""The stock of a pool: the connections that are open, who waits for one, and the thread that sees to it that nobody waits for a node that does not answer."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2

from pgunison.configuration.sysconfig import Configuration
from pgunison.pool.errors import PoolError, Unavailable
from pgunison.pool.router import Choice, Router
from pgunison.pool.routes import CONNECT_TIMEOUT_S, STATUS, parameters, rules
from pgunison.pool.session import Lane, Lanes, Session
from pgunison.pool.slots import Slots

# A call that takes longer than this has its node asked, and asked again, whether it is well.
STALL_S, ASK_EVERY_S = 0.15, 0.1
# While one node lets a caller wait for its connection, the next node is tried.
CONNECT_PATIENCE_S = 0.3
# how often who waits looks again, whatever happens
LOOK_EVERY_S = 0.05
OPENERS = 16


class Stock:
    """The open connections of all groups to all nodes. Threads share it."""

    def __init__(self, configuration: Configuration, path: Path, passwords: dict[str, str], local: str | None = None):
        self._passwords = passwords
        kinds = {role.name: role.kind for role in configuration.roles}
        self._slots = Slots()
        self._changed = threading.Condition()
        self._waiting = 0
        self._closed = False
        self._sessions: set[Session] = set()
        self._opener = ThreadPoolExecutor(OPENERS, thread_name_prefix="pgunison connect")
        self.groups = {group.name: Lanes(group, kinds[group.role] == "writer") for group in configuration.groups}
        self.router = Router(path, rules(configuration, local), self._watch, self._node_changed)
        self._node_changed(None)
        self.router.start()

    def close(self) -> None:
        """Close all connections that nobody has, and others when they come back."""
        self.router.close()
        with self._changed:
            self._closed = True
            idle = [session for group in self.groups.values() for lane in group.lanes.values() for session in lane.drain()]
            self._changed.notify_all()
        for session in idle:
            self.discard(session)
        self._opener.shutdown(wait=False, cancel_futures=True)

    def busy(self, node: str) -> int:
        """Return how many connections to a node are lent, or being opened."""
        return sum(group.lanes[node].busy for group in self.groups.values() if node in group.lanes)

    # --- taking ---

    def take(self, group: Lanes, order: Callable[[Choice], list[str]], deadline: float, wait_s: float) -> Session:
        """Take an idle connection of the best node that has one, having others opened where there is room; wait until the deadline."""
        asked: dict[str, float] = {}
        choice, names = None, []
        with self._changed:
            self._waiting += 1
        try:
            while True:
                if choice is not (now_is := self.router.choices[group.name]):
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
                    self.discard(one)
                if session is not None:
                    return session
        finally:
            with self._changed:
                self._waiting -= 1

    def _idle(self, group: Lanes, names: Sequence[str], asked: dict[str, float], now: float, dead: list[Session]) -> Session | None:
        """Take an idle connection of the first node that has one, and put by those that are dead. A node with room for one more is not passed over, unless
        connecting to it fails or takes long."""
        for name in names:
            lane = group.lanes.get(name)
            if lane is None:
                continue
            for session in lane.drain():
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

    def _have_opened(self, group: Lanes, names: Sequence[str], asked: dict[str, float], now: float) -> None:
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

    def _start_opening(self, group: Lanes, lane: Lane, asked: dict[str, float], now: float) -> bool:
        """Have one connection more opened, in a thread; False where that must wait: a node that comes back is tried by one at a time."""
        name = lane.endpoint.name
        state = self.router.states.get(name)
        if state is None or (state.trial and self.busy(name)):
            return False
        asked[name] = now
        lane.made += 1
        self._opener.submit(self._open, group, lane, asked)
        return True

    def _open(self, group: Lanes, lane: Lane, asked: dict[str, float]) -> None:
        name = lane.endpoint.name
        try:
            session = self._connect(group, lane)
        except Exception as error:
            self.router.suspect(name)
            with self._changed:
                lane.made, lane.failures = lane.made - 1, lane.failures + 1
                lane.failure = str(error).strip().partition("\n")[0]
                lane.retry_at = time.monotonic() + min(1.0, 0.05 * 2 ** min(lane.failures, 5))
                asked.pop(name, None)
                self._changed.notify_all()
            return
        self.router.proved(name)
        with self._changed:
            lane.failure, lane.failures, lane.retry_at = "", 0, time.monotonic() + 0.2 if lane.gone else 0.0
            self._sessions.add(session)
            asked.pop(name, None)
        self.put(session)

    def _connect(self, group: Lanes, lane: Lane) -> Session:
        told = parameters(group.group, lane.endpoint, self.router.endpoints, self._passwords[group.group.role])
        handler = self._slots.open(f"{group.name}@{lane.endpoint.name}/{id(lane)}", lane.count, group.group.autocommit, told)
        try:
            return Session(lane, handler, group.limit_s)
        except BaseException:
            # a machine without a descriptor left
            self._slots.close(handler)
            raise

    def _unavailable(self, group: Lanes, names: Sequence[str], wait_s: float) -> Unavailable:
        said = []
        for name, lane in sorted(group.lanes.items()):
            if name not in names and name not in self.router.choices[group.name].weights:
                said.append(f"{name}: {self.router.why(name)}")
            else:
                said.append(f"{name}: {lane.why()}")
        return Unavailable(f"no node can serve {group.name} within {wait_s:g} s", "; ".join(said) or "the cluster has no nodes", STATUS)

    # --- coming back ---

    def put(self, session: Session) -> None:
        """Take a connection back on which no transaction is open."""
        if session.lane.gone or self._closed or session.cut_because is not None:
            self.discard(session)
            return
        session.lane.idle.append(session)
        if self._waiting:
            with self._changed:
                self._changed.notify_all()
        elif self._closed or session.lane.gone:
            # it was closed just now, and has not seen this one
            self._sweep(session.lane)

    def _sweep(self, lane: Lane) -> None:
        for session in lane.drain():
            self.discard(session)

    def end(self, session: Session) -> None:
        """Take a connection back that may be in any state."""
        if not session.settled:
            session.since = time.monotonic()
            # one that cannot be rolled back is closed, which is the same to the server
            with contextlib.suppress(psycopg2.Error):
                session.connection.rollback()
            session.since = 0.0
        if session.connection.closed or session.cut_because is not None or not session.settled:
            self.discard(session)
        else:
            self.put(session)

    def discard(self, session: Session) -> None:
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
            state = self.router.states.get(session.node)
            if now - since > session.limit_s:
                session.cut(f"{session.node} has not answered within {session.limit_s:g} s")
                self.router.suspect(session.node)
            elif state is not None and state.state == "silent":
                session.cut(f"{session.node}: {state.reason}")
            elif now - session.asked_at >= ASK_EVERY_S:
                session.asked_at = now
                self.router.ask(session.node)

    def _node_changed(self, name: str | None) -> None:
        """Make lanes for nodes that have come; close what leads to those that have gone, or do not answer."""
        ended: list[Session] = []
        with self._changed:
            nodes = self.router.nodes
            for group in self.groups.values():
                lanes = {node: group.lanes[node] if node in group.lanes and group.lanes[node].endpoint == endpoint
                         else Lane(endpoint, group.group.connections_per_node) for node, endpoint in nodes.items()}
                for lane in group.lanes.values():
                    state = self.router.states.get(lane.endpoint.name)
                    # one that is drained waits for its clients to leave
                    lane.gone = lane not in lanes.values() or (state is not None and state.state in ("silent", "not ready"))
                    if lane.gone:
                        ended += lane.drain()
                group.lanes = lanes
            self._changed.notify_all()
        for session in ended:
            self.discard(session)
