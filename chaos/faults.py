"""The faults, each a class: ``do`` it, ``heal`` it, and its sentence as ``str()``. Those of containers are in chaos/container_faults.py.

Which of them strike whom and when is decided in chaos/schedule.py. ``heal`` undoes what does not pass by itself.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import psycopg2

from chaos import clock, disk
from chaos.comparison import disable, resume
from chaos.processes import Freezer, children, send
from chaos.target import Link, Target


@dataclass
class Fault:
    """``node`` is the one whose processes it touches, of which a node suffers one fault at a time; None when it only touches links or clocks."""

    node: str | None

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes whose processes it touches."""
        return (self.node,) if self.node else ()

    def do(self, target: Target, freezer: Freezer) -> bool:
        """Do it; False when there was nothing to do it to."""
        raise NotImplementedError

    def heal(self, target: Target, freezer: Freezer) -> None:
        """Undo it."""


@dataclass
class Pause(Fault):
    """A link is paused the way an owner does it: the subscription is disabled."""

    link: Link

    def __str__(self) -> str:
        return "pause {} to {}".format(*self.link)

    def do(self, target: Target, freezer: Freezer) -> bool:
        # nobody waits until its worker ends: another pause of the link may end before
        disable(target, *self.link)
        return True

    def heal(self, target: Target, freezer: Freezer) -> None:
        resume(target, *self.link)


@dataclass
class Cut(Fault):
    """Links carry nothing, and nobody is told: the walsender of each stands still. A link's other way stays as it is."""

    links: tuple[Link, ...]
    pids: list[int] = field(default_factory=list, compare=False, repr=False)

    def __str__(self) -> str:
        return "cut " + ", ".join(f"{source} to {target}" for source, target in self.links)

    def do(self, target: Target, freezer: Freezer) -> bool:
        self.pids = freezer.freeze([pid for source, to in self.links if (pid := _reachable(partial(walsender, target, source, to)))])
        return bool(self.pids)

    def heal(self, target: Target, freezer: Freezer) -> None:
        freezer.thaw(self.pids)


@dataclass
class Kill(Fault):
    """PostgreSQL of the node is killed: SIGKILL, or SIGQUIT, which is an immediate shutdown; its agent starts it again."""

    signal_number: int

    def __str__(self) -> str:
        return f"kill -9 of PostgreSQL of {self.node}" if self.signal_number == signal.SIGKILL else f"immediate restart of PostgreSQL of {self.node}"

    def do(self, target: Target, freezer: Freezer) -> bool:
        return send(target.server_pid(self.node), self.signal_number)


@dataclass
class KillAgent(Fault):
    """The node's agent is killed; PostgreSQL runs on, with nobody who keeps it, until the agent is started again. A container ends with its agent."""

    def __str__(self) -> str:
        return f"kill -9 of the agent of {self.node}"

    def do(self, target: Target, freezer: Freezer) -> bool:
        return send(target.agent_pid(self.node), signal.SIGKILL)

    def heal(self, target: Target, freezer: Freezer) -> None:
        target.start(self.node)


@dataclass
class KillProcess(Fault):
    """One end of a link is ended: SIGTERM ends the process alone, SIGKILL makes PostgreSQL begin anew with all of its processes."""

    kind: str
    link: Link
    signal_number: int

    def __str__(self) -> str:
        verb = "kill -9 of" if self.signal_number == signal.SIGKILL else "end"
        return f"{verb} the {self.kind} of {self.link[0]} to {self.link[1]}"

    def do(self, target: Target, freezer: Freezer) -> bool:
        return send({"walsender": walsender, "apply worker": apply_worker}[self.kind](target, *self.link), self.signal_number)


@dataclass
class Freeze(Fault):
    """PostgreSQL of the node stands still: it accepts nothing, answers nothing and closes nothing."""

    pids: list[int] = field(default_factory=list, compare=False, repr=False)

    def __str__(self) -> str:
        return f"freeze PostgreSQL of {self.node}"

    def do(self, target: Target, freezer: Freezer) -> bool:
        pid = target.server_pid(self.node)
        # the postmaster first: then nobody is born
        self.pids = freezer.freeze([pid]) if pid else []
        self.pids += freezer.freeze(children(pid)) if self.pids else []
        return bool(self.pids)

    def heal(self, target: Target, freezer: Freezer) -> None:
        freezer.thaw(self.pids)


@dataclass
class Stop(Fault):
    """The node is stopped, agent and PostgreSQL, and started again."""

    def __str__(self) -> str:
        return f"stop {self.node}"

    def do(self, target: Target, freezer: Freezer) -> bool:
        pid = target.server_pid(self.node)
        freezer.thaw(children(pid) if pid else [])
        target.stop(self.node)
        return True

    def heal(self, target: Target, freezer: Freezer) -> None:
        target.start(self.node)


@dataclass
class Jump(Fault):
    """The clock that stamps the node's versions jumps to a wrong time; it stays wrong."""

    where: str
    offset: timedelta

    def __str__(self) -> str:
        return f"clock of {self.where} off by {self.offset.total_seconds():+.1f} s"

    def do(self, target: Target, freezer: Freezer) -> bool:
        clock.turn(target, self.where, self.offset)
        return True


@dataclass
class FullDisk(Fault):
    """The file system with the node's directory has no byte left."""

    def __str__(self) -> str:
        return f"fill the disk of {self.node}"

    def do(self, target: Target, freezer: Freezer) -> bool:
        disk.fill(target.folder(self.node))
        return True

    def heal(self, target: Target, freezer: Freezer) -> None:
        disk.free(target.folder(self.node))


def _reachable(find: Callable[[], int | None]) -> int | None:
    """Find a process of a node that may be down: then it has none."""
    try:
        return find()
    except psycopg2.OperationalError:
        return None


def walsender(target: Target, source: str, to: str) -> int | None:
    """Find the process that sends a link's changes."""
    return _pid(target, source, "SELECT pid FROM pg_stat_replication WHERE application_name = %s", target.link(source, to))


def apply_worker(target: Target, source: str, to: str) -> int | None:
    """Find the process that applies a link's changes."""
    return _pid(target, to, "SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL AND subname = %s", target.link(source, to))


def _pid(target: Target, node: str, query: str, name: str) -> int | None:
    connection = target.superuser(node)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query, [name])
            found = cursor.fetchone()
            return target.process(node, found[0]) if found else None
    finally:
        connection.close()
