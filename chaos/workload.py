"""A workload: tables, operations on them, and what must hold of them at any time and in the end."""

import collections
import random
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from chaos.history import History
from chaos.session import Session
from chaos.target import Target

Rows = dict[str, dict[str, dict[str, Any]]]
"""What the nodes hold of a table in the end: ``{node: {key as text: {column: value}}}``."""


@dataclass(frozen=True)
class Finding:
    """Something that must not be: how often, and of those the first and the worst, in words."""

    what: str
    count: int
    first: str
    worst: str = ""

    def __str__(self) -> str:
        worst = f"\n    worst: {self.worst}" if self.worst and self.worst != self.first else ""
        return f"{self.what}: {self.count}\n    first: {self.first}{worst}"


def finding(what: str, offenders: Iterable[str]) -> Iterator[Finding]:
    """Make a finding of offenders, of which the longest text is the worst, if there are any."""
    found = list(offenders)
    if found:
        yield Finding(what, len(found), found[0], max(found, key=len))


class Operation:
    """One thing that a writer does: a statement or a transaction."""

    def run(self, session: Session) -> None:
        raise NotImplementedError


class Workload:
    """``name`` is shown; ``tables`` are described as sysconfig.json does. ``definitions`` are what the owner executes on every
    node once they are there: foreign keys, triggers. ``settings`` are PostgreSQL's, for every node.
    """

    name = ""
    tables: tuple[dict, ...] = ()
    definitions: tuple[str, ...] = ()
    settings: dict[str, str | int] = {}
    # as a role of which kind its writers write, and which SQLSTATE they may meet beside those of chaos/session.py
    role = "writer"
    expected: tuple[str, ...] = ()
    # how many writers a node has, and how long each thinks between two operations, at the most
    writers = 1
    pause_s = 0.01

    def __init__(self, versions: tuple[str, ...]):
        self.versions = versions
        self.broken: list[str] = []
        self.lock = threading.Lock()
        self.endings: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)

    def prepare(self, target: Target) -> None:
        """Write the first rows."""

    def conclude(self, target: Target) -> None:
        """End what was begun and left; nobody writes any more, and nothing is broken."""

    def operation(self, node: str, choice: random.Random) -> Operation:
        """Draw what a writer on a node does next."""
        raise NotImplementedError

    def ended(self, node: str, operation: Operation, ending: str) -> None:
        """Count the operation and remember what it did; ``ending`` is ok, failed or unknown."""
        with self.lock:
            self.endings[node][ending] += 1
        self.remember(node, operation, ending)

    def remember(self, node: str, operation: Operation, ending: str) -> None:
        """Remember what has to be there in the end."""

    def look(self, node: str, session: Session) -> Iterator[str]:
        """Look at a node while all goes on; yields what must not be at any time."""
        yield from ()

    def findings(self, rows: dict[str, Rows]) -> Iterator[Finding]:
        """Compare what the nodes hold in the end, by table, with what was acknowledged."""
        yield from finding(f"{self.name}: seen while writers wrote", self.broken)

    def history_of(self, table: str) -> History | None:
        """Return what was acknowledged for the keys of a table, where it is remembered by key."""
        return None

    def counts(self) -> collections.Counter:
        """Count the operations by how they ended, on all nodes."""
        return sum(self.endings.values(), collections.Counter())


class Window:
    """The keys that are written now, 0 and up: a few at a time, the same on all nodes. It moves on, so that what went wrong with a key is not written over."""

    def __init__(self, keys: int, step_every: int):
        self._keys = keys
        self._step_every = step_every
        self._operations = 0

    def next(self) -> int:
        """Count an operation; returns where the window begins."""
        self._operations += 1
        return self._operations // self._step_every

    def draw(self, choice: random.Random, begin: int) -> int:
        """Draw a key, now and then one of long ago."""
        return choice.randrange(begin, begin + self._keys) if choice.random() < 0.97 else choice.randrange(begin + self._keys)


class Marks:
    """Rows that nobody changes, each known by its mark: what was acknowledged is everywhere, what failed is nowhere, what is unknown may be."""

    def __init__(self):
        self.ok: set[str] = set()
        self.unknown: set[str] = set()

    def add(self, marks: Iterable[str], ending: str) -> None:
        if ending == "ok":
            self.ok.update(marks)
        elif ending == "unknown":
            self.unknown.update(marks)

    def findings(self, name: str, rows: Rows) -> Iterator[Finding]:
        lost, surplus, twice = [], [], []
        for node, held in rows.items():
            marks = collections.Counter(row["mark"] for row in held.values())
            lost += [f"{mark} on {node}" for mark in sorted(self.ok - marks.keys())]
            surplus += [f"{mark} on {node}" for mark in sorted(marks.keys() - self.ok - self.unknown)]
            twice += [f"{mark} on {node}" for mark, count in marks.items() if count > 1]
        yield from finding(f"{name}: acknowledged rows that are lost, of {len(self.ok)}", lost)
        yield from finding(f"{name}: rows that nobody inserted", surplus)
        yield from finding(f"{name}: rows that are there twice", twice)


def uuid_text(choice: random.Random) -> str:
    """Draw a uuid as PostgreSQL writes it."""
    digits = f"{choice.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
