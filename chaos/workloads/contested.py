"""What workloads on contested keys share: statements whose effects are remembered, alone or some in a transaction."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos.history import Effect, History
from chaos.session import Session
from chaos.workload import Finding, Operation, Rows, Workload, finding

LEVELS = ("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


@dataclass(frozen=True)
class Statement:
    """``deletes`` are the keys of which it may delete rows. ``returns`` says what a RETURNING clause tells: rows that are left, or that are deleted; nothing
    where there cannot be one."""

    text: str
    deletes: tuple[str, ...] = ()
    returns: str = "rows"


@dataclass
class Work(Operation):
    """One statement, or a transaction of some; a part of it may be rolled back to a savepoint."""

    statements: list[Statement]
    returning: str
    level: str | None = None
    commit: bool = True
    undone: int | None = None
    linger_s: float = 0.0
    effects: list[Effect] = field(default_factory=list)

    @property
    def how(self) -> str:
        """Tell of a transaction that it was one."""
        return f" ({self.level.lower()}, {len(self.statements)} statements)" if self.level else ""

    def run(self, session: Session) -> None:
        if self.level is None:
            self.effects += self._one(session, self.statements[0])
            return
        with session.transaction(self.level, commit=self.commit):
            for number, statement in enumerate(self.statements):
                if number == self.undone:
                    session.execute("SAVEPOINT here")
                    self._one(session, statement)
                    session.execute("ROLLBACK TO here")
                else:
                    self.effects += self._one(session, statement)
                if self.linger_s:
                    session.execute("SELECT pg_sleep(%s)", [self.linger_s])

    def _one(self, session: Session, statement: Statement) -> list[Effect]:
        told = statement.returns and self.returning
        rows = session.execute(statement.text + (f" RETURNING {self.returning}" if told else ""))
        return [Effect(key, tuple(version), value, statement.returns == "deleted", self.how) for key, value, *version in rows] if told else []


class Contested(Workload):
    """Rows with a key ``id`` and a ``value``, in the table ``table``."""

    table = ""

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self.history = History()

    def statement(self, choice: random.Random) -> Statement:
        """Draw a statement."""
        raise NotImplementedError

    def operation(self, node: str, choice: random.Random) -> Operation:
        returning = ", ".join((f"{self.table}.id::text", f"{self.table}.value", *(f"{self.table}.{column}" for column in self.versions)))
        returning = returning if self.versions else ""
        if choice.random() < 0.7:
            return Work([self.statement(choice)], returning)
        statements = [self.statement(choice) for _ in range(choice.randint(1, 4))]
        return Work(statements, returning, choice.choice(LEVELS), choice.random() < 0.8, choice.choice((None, None, None, 0, 1)),
                    choice.choice((0.0,) * 9 + (0.05,)))

    def remember(self, node: str, operation: Work, ending: str) -> None:
        if ending != "failed" and operation.commit:
            for statement in operation.statements:
                told = ending == "ok" and statement.returns and self.versions
                self.history.may_delete(statement.deletes, "" if told else f"{node}, {ending}: {statement.text}{operation.how}")
        if ending == "ok" and operation.commit:
            self.history.add(node, operation.effects)

    def findings(self, rows: dict[str, Rows]) -> Iterator[Finding]:
        yield from super().findings(rows)
        offenders = []
        for node, held in rows[self.table].items():
            for key in sorted(self.history.lives.keys() | held.keys()):
                row = held.get(key)
                version = tuple(row[column] for column in self.versions) if row else None
                fault = self.history.fault(key, version, row["value"] if row else None)
                if fault:
                    offenders.append(f"{key} on {node} {fault}; it holds {row}; history: {self.history.told(key)}")
        yield from finding(f"{self.name}: rows that are not what was acknowledged last", offenders)
