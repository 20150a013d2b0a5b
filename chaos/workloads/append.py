"""Append only, with the node's own keys: every acknowledged row is everywhere, and nothing else is."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.session import Session
from chaos.workload import Finding, Marks, Operation, Rows, Workload, uuid_text

LINE = {"name": "line", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "mark", "type": "uuid"}]}


@dataclass(frozen=True)
class Insert(Operation):
    marks: tuple[str, ...]

    def run(self, session: Session) -> None:
        session.execute("INSERT INTO line (mark) SELECT unnest(%s::uuid[])", [list(self.marks)])


class Append(Workload):
    """One to five rows in a statement; ``marks`` are those of all rows so far."""

    name = "append"
    tables = (LINE,)

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self.marks = Marks()

    def operation(self, node: str, choice: random.Random) -> Operation:
        return Insert(tuple(uuid_text(choice) for _ in range(choice.randint(1, 5))))

    def remember(self, node: str, operation: Insert, ending: str) -> None:
        with self.lock:
            self.marks.add(operation.marks, ending)

    def findings(self, rows: dict[str, Rows]) -> Iterator[Finding]:
        yield from super().findings(rows)
        yield from self.marks.findings(self.name, rows["line"])
