"""Transactions of several rows and statements: whole or not at all, on every node, at any time."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.session import Session
from chaos.workload import Finding, Marks, Operation, Rows, Workload, finding, uuid_text

BATCH = {"name": "batch", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "mark", "type": "uuid"},
                                      {"name": "owner", "type": "uuid"}, {"name": "size", "type": "integer"}]}


@dataclass(frozen=True)
class Insert(Operation):
    """``parts`` are the marks of the rows of each statement."""

    owner: str
    parts: tuple[tuple[str, ...], ...]
    commit: bool

    @property
    def marks(self) -> list[str]:
        return [mark for part in self.parts for mark in part]

    def run(self, session: Session) -> None:
        with session.transaction(commit=self.commit):
            for part in self.parts:
                session.execute("INSERT INTO batch (mark, owner, size) SELECT unnest(%s::uuid[]), %s, %s", [list(part), self.owner, len(self.marks)])


class Batch(Workload):
    """Two to four statements of one to ten rows; some are rolled back."""

    name = "batch"
    tables = (BATCH,)
    pause_s = 0.04

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self._marks = Marks()

    def operation(self, node: str, choice: random.Random) -> Operation:
        parts = tuple(tuple(uuid_text(choice) for _ in range(choice.randint(1, 10))) for _ in range(choice.randint(2, 4)))
        return Insert(uuid_text(choice), parts, choice.random() < 0.9)

    def remember(self, node: str, operation: Insert, ending: str) -> None:
        if operation.commit:
            with self.lock:
                self._marks.add(operation.marks, ending)

    def look(self, node: str, session: Session) -> Iterator[str]:
        for owner, count, size in session.execute("SELECT owner::text, count(*), max(size) FROM batch GROUP BY owner HAVING count(*) <> max(size) LIMIT 3"):
            yield f"{node} showed {count} of the {size} rows of transaction {owner}"

    def findings(self, rows: dict[str, Rows]) -> Iterator[Finding]:
        yield from super().findings(rows)
        yield from self._marks.findings(self.name, rows["batch"])
        for node, held in rows["batch"].items():
            sizes, found = {}, {}
            for row in held.values():
                sizes[row["owner"]] = row["size"]
                found[row["owner"]] = found.get(row["owner"], 0) + 1
            yield from finding(f"{self.name}: transactions of which {node} holds a part", (
                f"{found[owner]} of {size} rows of {owner}" for owner, size in sizes.items() if found[owner] != size))
