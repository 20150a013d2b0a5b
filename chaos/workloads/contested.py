"""What workloads on contested keys share: statements whose effects are remembered, alone or some in a transaction."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from chaos.history import Effect, History
from chaos.session import Session
from chaos.workload import Finding, Operation, Rows, Workload, finding

LEVELS = ("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


@dataclass(frozen=True)
class Statement:
    """``deletes`` are the keys of which it may delete rows. ``returns`` says what a RETURNING clause tells: rows that are left, or that are deleted; nothing
    where there cannot be one. ``table`` is named where the workload has several."""

    text: str
    deletes: tuple[str, ...] = ()
    returns: str = "rows"
    table: str = ""


@dataclass
class Work(Operation):
    """One statement, or a transaction of some; a part of it may be rolled back to a savepoint.

    ``versions`` are the columns that RETURNING shall tell, if there are any.
    """

    statements: list[Statement]
    versions: tuple[str, ...]
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
            self.each(session)

    def each(self, session: Session) -> None:
        """Execute the statements within a transaction."""
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
        told = statement.returns and self.versions
        target = statement.table
        columns = ", ".join((f"{target}.id::text", f"{target}.value", *(f"{target}.{column}" for column in self.versions)))
        rows = session.execute(statement.text + (f" RETURNING {columns}" if told else ""))
        return [Effect(key, tuple(version), value, statement.returns == "deleted", self.how, target) for key, value, *version in rows] if told else []


class Contested(Workload):
    """Rows with a key ``id`` and a ``value``, in ``table``, or in those that are ``judged``; of those that are ``cascaded`` a row may go with another one."""

    table = ""
    judged: tuple[str, ...] = ()
    cascaded: tuple[str, ...] = ()

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self.histories = {table: History() for table in self.judged or (self.table,)}

    @property
    def history(self) -> History:
        """What was acknowledged for the keys of the only table."""
        return self.histories[self.table]

    def history_of(self, table: str) -> History | None:
        return self.histories.get(table)

    def statement(self, choice: random.Random) -> Statement:
        """Draw a statement."""
        raise NotImplementedError

    def operation(self, node: str, choice: random.Random) -> Operation:
        if choice.random() < 0.7:
            return Work([self._drawn(choice)], self.versions)
        statements = [self._drawn(choice) for _ in range(choice.randint(1, 4))]
        return Work(statements, self.versions, choice.choice(LEVELS), choice.random() < 0.8, choice.choice((None, None, None, 0, 1)),
                    choice.choice((0.0,) * 9 + (0.05,)))

    def _drawn(self, choice: random.Random) -> Statement:
        statement = self.statement(choice)
        return replace(statement, table=statement.table or self.table)

    def remember(self, node: str, operation: Work, ending: str) -> None:
        if ending == "failed" or not operation.commit:
            return
        for statement in operation.statements:
            told = ending == "ok" and statement.returns and self.versions
            history = self.histories.get(statement.table)
            if history:
                history.may_delete(statement.deletes, "" if told else f"{node}, {ending}: {statement.text}{operation.how}")
        if ending == "ok":
            for table, history in self.histories.items():
                history.add(node, [effect for effect in operation.effects if effect.table == table])

    def findings(self, rows: dict[str, Rows]) -> Iterator[Finding]:
        yield from super().findings(rows)
        yield from finding(f"{self.name}: rows that are not what was acknowledged last",
                           [text for table in self.histories for text in self._offenders(table, rows[table])])

    def _offenders(self, table: str, rows: Rows) -> Iterator[str]:
        history = self.histories[table]
        for node, held in rows.items():
            for key in sorted(history.lives.keys() | held.keys()):
                row = held.get(key)
                if row is None and table in self.cascaded:
                    continue
                version = tuple(row[column] for column in self.versions) if row else None
                fault = history.fault(key, version, row["value"] if row else None)
                if fault:
                    yield f"{key} on {node} {fault}; it holds {row}; history: {history.told(key)}"
