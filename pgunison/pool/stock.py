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
from pgunison.pool.lanes import Lane, Lanes, Waiter
from pgunison.pool.router import Choice, Router
from pgunison.pool.routes import CONNECT_TIMEOUT_S, STATUS, parameters, rules
from pgunison.pool.session import Session
from pgunison.pool.slots import Slots
from pgunison.pool.watch import watch

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
        self._lock = threading.Lock()
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
        with self._lock:
            self._closed = True
            idle = [session for group in self.groups.values() for lane in group.lanes.values() for session in lane.drain()]
            for group in self.groups.values():
                group.wake()
        for session in idle:
            self.discard(session)
        self._opener.shutdown(wait=False, cancel_futures=True)

    def busy(self, node: str) -> int:
        """Return how many connections to a node are lent, or being opened."""
        # lanes are replaced at any moment
        return sum(lane.busy for group in self.groups.values() if (lane := group.lanes.get(node)) is not None)

    # --- taking ---

    def take(self, group: Lanes, order: Callable[[Choice], list[str]], deadline: float, wait_s: float) -> Session:
        """Take an idle connection of the best node that has one, having others opened where there is room; wait until the deadline.

        Who came first is served first, of those who take the same node.
        """
        waiter = Waiter(self._lock, order)
        with self._lock:
            group.waiting.append(waiter)
        try:
            while True:
                waiter.follow(self.router.choices[group.name])
                with self._lock:
                    if self._closed:
                        raise PoolError("the pool is closed", "", "open another one")
                    now = time.monotonic()
                    dead = self._look(group, waiter, now)
                    if waiter.session is None and not dead:
                        self._have_opened(group, waiter, now)
                        if now >= deadline:
                            raise self._unavailable(group, waiter.names, wait_s)
                        waiter.condition.wait(min(LOOK_EVERY_S, deadline - now))
                    session = waiter.session
                for one in dead:
                    self.discard(one)
                if session is not None:
                    return session
        except BaseException:
            if waiter.session is not None:
                self.put(waiter.session)
            raise
        finally:
            with self._lock:
                group.waiting.remove(waiter)

    def _look(self, group: Lanes, waiter: Waiter, now: float) -> list[Session]:
        """Deal out what is idle on the nodes that the waiter takes, the best one first; returns what is dead. A node with room for one more is not passed
        over, unless connecting to it fails or takes long, or it comes back: then it is tried beside the others, and nobody waits for it."""
        waiter.accepts = set()
        dead: list[Session] = []
        for name in waiter.names:
            lane = group.lanes.get(name)
            if lane is None:
                continue
            waiter.accepts.add(lane)
            dead += lane.deal()
            if waiter.session is not None:
                break
            if lane.made >= lane.count or now < lane.retry_at:
                continue
            if lane.failures or self._on_trial(name):
                self._start_opening(group, lane, {}, now)
            elif now - waiter.asked.get(name, now) < CONNECT_PATIENCE_S:
                break
        return dead

    def _have_opened(self, group: Lanes, waiter: Waiter, now: float) -> None:
        """Have a connection opened for a caller, on the best node that has room for one; on another one when that takes long."""
        asked = waiter.asked
        if any(now - at < CONNECT_PATIENCE_S for at in asked.values()):
            return
        for name in waiter.names:
            lane = group.lanes.get(name)
            if lane is None or lane.made >= lane.count or now < lane.retry_at or now - asked.get(name, -CONNECT_TIMEOUT_S) < CONNECT_TIMEOUT_S:
                continue
            if self._start_opening(group, lane, asked, now):
                return

    def _on_trial(self, name: str) -> bool:
        state = self.router.states.get(name)
        return state is not None and state.trial

    def _start_opening(self, group: Lanes, lane: Lane, asked: dict[str, float], now: float) -> bool:
        """Have one connection more opened, in a thread; False where that must wait: a node that failed or comes back is tried by one at a time."""
        name = lane.endpoint.name
        tried = lane.opening if lane.failures else self._on_trial(name) and any(of.lanes[name].opening for of in self.groups.values() if name in of.lanes)
        if tried or name not in self.router.states:
            return False
        attempt = object()
        lane.opening.add(attempt)
        lane.made += 1
        try:
            self._opener.submit(self._open, group, lane, attempt, asked)
        except RuntimeError as error:
            # no thread can be started; another one may still find the attempt in the queue
            lane.opening.remove(attempt)
            lane.made -= 1
            lane.failed(error, now)
            return False
        asked[name] = now
        return True

    def _open(self, group: Lanes, lane: Lane, attempt: object, asked: dict[str, float]) -> None:
        if attempt not in lane.opening:
            return
        name = lane.endpoint.name
        try:
            session = self._connect(group, lane)
        except BaseException as error:
            self.router.suspect(name)
            with self._lock:
                lane.opening.remove(attempt)
                lane.made -= 1
                lane.failed(error, time.monotonic())
                asked.pop(name, None)
                group.wake()
            if not isinstance(error, Exception):
                raise
            return
        self.router.proved(name)
        with self._lock:
            lane.opening.remove(attempt)
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
        said = "; ".join(f"{name}: {self.why(group, name, names)}" for name in sorted(group.lanes))
        return Unavailable(f"no node can serve {group.name} within {wait_s:g} s", said or "the cluster has no nodes", STATUS)

    def why(self, group: Lanes, name: str, names: Sequence[str]) -> str:
        """Say why a node gives no connection to a caller who takes those of ``names``."""
        if name in names:
            return group.lanes[name].why()
        return f"{names[0]} was asked for" if name in self.router.choices[group.name].weights and names else self.router.why(name, group.name)

    # --- coming back ---

    def put(self, session: Session) -> None:
        """Take a connection back on which no transaction is open."""
        if session.lane.gone or self._closed or session.cut_because is not None:
            self.discard(session)
            return
        lane = session.lane
        lane.idle.append(session)
        dead: list[Session] = []
        if lane.waiting:
            with self._lock:
                dead += lane.deal()
        if self._closed or lane.gone:
            # it was closed just now, and has not seen this one
            dead += lane.drain()
        for one in dead:
            self.discard(one)

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
        with self._lock:
            if session in self._sessions:
                self._sessions.remove(session)
                session.lane.made -= 1
            for waiter in session.lane.waiting:
                waiter.condition.notify()

    # --- what the router's thread calls ---

    def _watch(self) -> None:
        watch(list(self._sessions), self.router)

    def _node_changed(self, name: str | None) -> None:
        """Make lanes for nodes that have come; close what leads to those that have gone, or do not answer."""
        ended: list[Session] = []
        with self._lock:
            nodes = self.router.nodes
            for group in self.groups.values():
                lanes = {node: group.lanes[node] if node in group.lanes and group.lanes[node].endpoint == endpoint
                         else Lane(endpoint, group.group.connections_per_node, group.waiting) for node, endpoint in nodes.items()}
                for lane in group.lanes.values():
                    state = self.router.states.get(lane.endpoint.name)
                    # one that is drained waits for its clients to leave
                    lane.gone = lane not in lanes.values() or (state is not None and state.state in ("silent", "not ready"))
                    if lane.gone:
                        ended += lane.drain()
                group.lanes = lanes
                group.wake()
        for session in ended:
            self.discard(session)
