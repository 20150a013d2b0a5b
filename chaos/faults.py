"""The faults, each a class: ``do`` it, ``heal`` it, and its sentence as ``str()``. Those of containers are in chaos/container_faults.py.

Which of them strike whom and when is decided in chaos/schedule.py. ``heal`` undoes what does not pass by itself.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import psycopg2

from chaos import clock, disk
from chaos.comparison import disable, resume
from chaos.processes import Freezer, children, send
from chaos.target import Link, Target
from pgunison.contract.waiting import wait_until

# for how long, and how often, an agent is looked at until it does something; it does every two seconds
INTERRUPT_LOOKS, INTERRUPT_LOOK_S = 1500, 0.002


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


@dataclass
class Setting(Fault):
    """The node's database gets a setting that is meant for clients; those that are connected, links included, must connect again, so it reaches them."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"set {self.name} to {self.value} in the database of {self.node}"

    def do(self, target: Target, freezer: Freezer) -> bool:
        return self._alter(target, f"SET {self.name} = '{self.value}'")

    def heal(self, target: Target, freezer: Freezer) -> None:
        def pending() -> str | None:
            try:
                self._alter(target, f"RESET {self.name}")
            except psycopg2.OperationalError as error:
                return str(error)
            return None

        # nobody else undoes it, and a link that is killed takes the whole server along for a moment
        wait_until(pending, f"{self.name} of {self.node} is reset")

    def _alter(self, target: Target, change: str) -> bool:
        """Change the database's settings; False when this PostgreSQL is too old for it."""
        connection = target.superuser(self.node)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0; SET transaction_read_only = off; SET default_transaction_read_only = off")
                cursor.execute("SELECT current_setting(%s, true)", [self.name])
                if cursor.fetchone()[0] is None:
                    return False
                cursor.execute(f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {change.replace(chr(39), chr(39) * 2)}', current_database()); END $$")
                cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                               " AND backend_type IN ('client backend', 'walsender', 'logical replication apply worker')")
            return True
        finally:
            connection.close()


@dataclass
class Interrupt(Fault):
    """What the node's agent does in PostgreSQL just now is cancelled, or its connection ended."""

    function: str

    def __str__(self) -> str:
        return f"{self.function} of what the agent of {self.node} does"

    def do(self, target: Target, freezer: Freezer) -> bool:
        connection = target.superuser(self.node)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for _ in range(INTERRUPT_LOOKS):
                    cursor.execute(f"SELECT {self.function}(pid) FROM pg_stat_activity WHERE application_name = 'pgunison agent' AND state <> 'idle'")
                    if cursor.fetchall():
                        return True
                    time.sleep(INTERRUPT_LOOK_S)
            return False
        finally:
            connection.close()


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
