"""Lanes: the connections of a group to each node, and who waits for one, in the order of their coming."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pgunison.configuration.sysconfig import Group
from pgunison.endpoints import Endpoint
from pgunison.pool.router import Choice

if TYPE_CHECKING:
    from pgunison.pool.session import Session

# the server ends a statement by itself, before we cut its connection
CUT_BEHIND_S = 0.5


class Waiter:
    """One who waits: ``names`` are the nodes from the best on, ``accepts`` the lanes whose connections it takes at this moment, ``asked`` when it had a
    connection opened, by node; ``session`` is what it was given. Its lock is the stock's."""

    def __init__(self, lock: threading.Lock, order: Callable[[Choice], list[str]]):
        self._order = order
        self._choice: Choice | None = None
        self.condition = threading.Condition(lock)
        self.names: list[str] = []
        self.accepts: set[Lane] = set()
        self.asked: dict[str, float] = {}
        self.session: Session | None = None

    def follow(self, choice: Choice) -> None:
        """Put the nodes in order anew where the choice is another one."""
        if choice is not self._choice:
            self._choice, self.names = choice, self._order(choice)

    def give(self, session: "Session") -> None:
        """End the wait with a connection."""
        self.session = session
        self.condition.notify()


class Lane:
    """The connections of one group to one node: ``idle`` are free, ``made`` is how many there are or are being opened, ``opening`` the attempts under way."""

    def __init__(self, endpoint: Endpoint, count: int, waiting: deque[Waiter]):
        self.endpoint, self.count, self.waiting = endpoint, count, waiting
        self.idle: deque[Session] = deque()
        self.made = 0
        self.opening: set[object] = set()
        # the node is no node of the cluster any more, or takes no work: what comes back is closed
        self.gone = False
        # why the last attempt to connect failed, how often in a row, and when the next one may be made
        self.failure, self.failures, self.retry_at = "", 0, 0.0

    @property
    def busy(self) -> int:
        return self.made - len(self.idle)

    def deal(self) -> "list[Session]":
        """Give what is idle to those who wait for it, whoever came first; returns those that turn out to be dead. Under the stock's lock."""
        dead: list[Session] = []
        for waiter in self.waiting:
            while self.idle and waiter.session is None and self in waiter.accepts:
                try:
                    session = self.idle.pop()
                except IndexError:
                    # one who does not have to wait was faster
                    return dead
                if session.alive():
                    waiter.give(session)
                else:
                    dead.append(session)
        return dead

    def drain(self) -> "Iterator[Session]":
        """Take out what is idle, one after the other."""
        while True:
            try:
                yield self.idle.pop()
            except IndexError:
                return

    def failed(self, error: BaseException, now: float) -> None:
        """Take note that an attempt to connect failed."""
        self.failures += 1
        self.failure = str(error).strip().partition("\n")[0] or type(error).__name__
        self.retry_at = now + min(1.0, 0.05 * 2 ** min(self.failures, 5))

    def why(self) -> str:
        """Say why nobody gets a connection."""
        return self.failure or (f"its {self.count} connections are in use" if self.busy >= self.count else "it is being connected")


class Lanes:
    """A group with its connections to each node; ``lanes`` is replaced as a whole. ``waiting`` are those for whom there was none, the first one first."""

    def __init__(self, group: Group, writes: bool):
        self.group, self.writes, self.name = group, writes, group.name
        self.limit_s = group.statement_timeout_s + CUT_BEHIND_S
        self.lanes: dict[str, Lane] = {}
        self.waiting: deque[Waiter] = deque()

    def wake(self) -> None:
        """Have everybody who waits look again. Under the stock's lock."""
        for waiter in self.waiting:
            waiter.condition.notify()
