"""Two-phase transactions: on hot keys, prepared, and committed or rolled back after a while, by who prepared them or by
another session; some stay prepared while their server is killed, or stopped for long.

What COMMIT PREPARED acknowledged counts, whenever that was. Where its answer is lost, the transaction that is prepared
no more was committed, because nobody else ends it.
"""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.session import Session
from chaos.target import Target
from chaos.workload import Operation, Window, uuid_text
from chaos.workloads.contested import Contested, Statement, Work

PLEDGE = {"name": "pledge", "columns": [{"name": "id", "type": "bigint", "primary_key": True},
                                        {"name": "value", "type": "text"}]}
KEYS, STEP_EVERY, STEP = 10, 40, 100
# a writer must not hang on a prepared transaction when nobody is left who ends it
PATIENCE = "SET LOCAL lock_timeout = '5s'"
LEFT = "SELECT gid FROM pg_prepared_xact() WHERE gid LIKE 'chaos %'"


@dataclass
class TwoPhase(Work):
    """A transaction that is prepared, and ended ``pause_s`` later, ``here`` or by others.

    What is ``left`` is for others to end, also where it is not known whether it was prepared.
    """

    gid: str = ""
    pause_s: float = 0.0
    here: bool = True
    ends_at: float = 0.0
    prepared: bool = False
    left: bool = False
    # sent, whatever the answer; and answered
    committing: bool = False
    ended: bool = False

    @property
    def how(self) -> str:
        return f" (prepared, {len(self.statements)} statements)"

    def run(self, session: Session) -> None:
        self.ends_at = time.monotonic() + self.pause_s
        try:
            with session.transaction(self.level or "READ COMMITTED", prepare=self.gid):
                session.execute(PATIENCE)
                self.each(session)
            self.prepared = True
            if self.here:
                time.sleep(self.pause_s)
                self.end(session)
        finally:
            self.left = not self.ended

    def end(self, session: Session) -> None:
        """Commit the prepared transaction, or roll it back."""
        self.committing = self.commit
        session.execute(f"{'COMMIT' if self.commit else 'ROLLBACK'} PREPARED '{self.gid}'")
        self.ended = True


@dataclass
class Patient(Work):
    """Work that does not wait for ever for a prepared transaction."""

    def each(self, session: Session) -> None:
        session.execute(PATIENCE)
        super().each(session)


class Prepared(Contested):
    """``open`` are what may be prepared, by node and name. The observer of a node ends those that are left."""

    name = "prepared"
    table = "pledge"
    tables = (PLEDGE,)
    settings = {"max_prepared_transactions": 20}
    # the session that prepared a transaction has not let go of it yet
    expected = ("55000",)
    pause_s = 0.1
    writers = 2

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self._rounds = Window(1, STEP_EVERY)
        self.open: dict[str, dict[str, TwoPhase]] = {}
        self._guard = threading.Lock()

    def _key(self, choice: random.Random, number: int) -> int:
        """Return a key of the keys that are written now."""
        return self._rounds.draw(choice, self._rounds.next()) * STEP + number

    def statement(self, choice: random.Random) -> Statement:
        first, (one, two) = self._key(choice, 0), choice.sample(range(KEYS), 2)
        key, other = first + one, first + two
        value, pair, into = f"{choice.getrandbits(40):x}", (str(key), str(other)), "INSERT INTO pledge (id, value)"
        return choice.choice([
            Statement(f"{into} VALUES ({key}, '{value}') ON CONFLICT (id) DO UPDATE SET value = excluded.value"),
            Statement(f"{into} VALUES ({key}, '{value}') ON CONFLICT DO NOTHING"),
            Statement(f"{into} VALUES ({key}, '{value}'), ({other}, '{value}') ON CONFLICT DO NOTHING"),
            Statement(f"UPDATE pledge SET value = '{value}' WHERE id IN ({key}, {other})"),
            Statement(f"DELETE FROM pledge WHERE id = {key}", pair[:1], "deleted"),
            Statement(f"DELETE FROM pledge WHERE id IN ({key}, {other})", pair, "deleted"),
            Statement(f"UPDATE pledge SET id = {other}, value = '{value}' WHERE id = {key}", pair, ""),
            Statement(f"WITH gone AS (DELETE FROM pledge WHERE id = {key} RETURNING id)"
                      f" {into} SELECT id, '{value}' FROM gone"),
        ])

    def operation(self, node: str, choice: random.Random) -> Operation:
        drawn = super().operation(node, choice)
        if choice.random() < 0.6:
            level = drawn.level or "READ COMMITTED"
            return Patient(drawn.statements[:2], drawn.versions, level, drawn.commit, drawn.undone)
        statements = drawn.statements[:2]
        if choice.random() < 0.4:
            # a key that is deleted and inserted anew
            key, value = self._key(choice, choice.randrange(KEYS)), f"{choice.getrandbits(40):x}"
            insertion = f"INSERT INTO pledge (id, value) VALUES ({key}, '{value}')"
            statements = [Statement(f"DELETE FROM pledge WHERE id = {key}", (str(key),), "deleted", self.table),
                          Statement(insertion, (), "rows", self.table)]
        here = choice.random() < 0.5
        pause_s = choice.uniform(0, 0.5) if here else choice.choice((0.5, 1.0, 3.0, 8.0))
        work = TwoPhase(statements, drawn.versions, drawn.level, choice.random() < 0.75,
                        gid=f"chaos {uuid_text(choice)}", pause_s=pause_s, here=here)
        with self._guard:
            self.open.setdefault(node, {})[work.gid] = work
        return work

    def remember(self, node: str, operation: Work, ending: str) -> None:
        if not isinstance(operation, TwoPhase):
            super().remember(node, operation, ending)
        elif operation.here and ending == "ok" or not operation.prepared and ending == "failed":
            self._ended(node, operation, ending)

    def _ended(self, node: str, operation: TwoPhase, ending: str) -> None:
        with self._guard:
            self.open[node].pop(operation.gid)
        super().remember(node, operation, ending)

    def look(self, node: str, session: Session) -> Iterator[str]:
        """End what is due, as another session than the one that prepared it."""
        yield from ()
        self._end_left(node, session, time.monotonic())

    def _end_left(self, node: str, session: Session, now: float) -> None:
        for gid, in session.execute(LEFT):
            with self._guard:
                operation = self.open.get(node, {}).get(gid)
            if operation and operation.left and operation.ends_at <= now:
                # it stands in pg_prepared_xact(), whether or not its session was told
                operation.prepared = True
                operation.end(session)
                self._ended(node, operation, "ok")

    def conclude(self, target: Target) -> None:
        """End all that is left, and judge those of which the end was not told."""
        for node in target.names():
            with target.connect(node, "writer") as connection:
                session = Session(connection)
                self._end_left(node, session, float("inf"))
                self.broken += [f"{gid} is prepared on {node} after all was healed" for gid, in session.execute(LEFT)]
            for operation in list(self.open.get(node, {}).values()):
                if operation.prepared and operation.commit and not operation.committing:
                    self.broken.append(f"{operation.gid} was prepared on {node}, is no more, and nobody ended it")
                # of what was sent to commit only the answer is missing; what was not, or never prepared, left nothing
                self._ended(node, operation, "ok" if operation.committing else "failed")
