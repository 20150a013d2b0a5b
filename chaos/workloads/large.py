"""Large values, stored out of line: a row is never put together from two others. Each says in ``digest`` what its ``body`` is."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.session import Session
from chaos.target import Target
from chaos.workload import Finding, Operation, Rows, Window, Workload, finding

LARGE = {"name": "large", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "note", "type": "text"},
                                      {"name": "digest", "type": "text"}, {"name": "body", "type": "text"}]}
KEYS, STEP_EVERY = 10, 20
BODY = "WITH fresh AS MATERIALIZED (SELECT string_agg(md5(random()::text), '') AS body FROM generate_series(1, {parts})) "


@dataclass(frozen=True)
class Write(Operation):
    statement: str

    def run(self, session: Session) -> None:
        session.execute(self.statement)


class Large(Workload):
    """Bodies of some kilobytes, now and then of some hundred."""

    name = "large values"
    tables = (LARGE,)
    pause_s = 0.05

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self._window = Window(KEYS, STEP_EVERY)

    def prepare(self, target: Target) -> None:
        body = BODY.format(parts=150)
        target.query(target.names()[0], f"{body}INSERT INTO large (id, note, digest, body) SELECT n, 'first', md5(body), body"
                                        f" FROM fresh, generate_series(0, {KEYS - 1}) n")

    def operation(self, node: str, choice: random.Random) -> Operation:
        begin, note = self._window.next(), f"{choice.getrandbits(40):x}"
        key, other = self._window.draw(choice, begin), self._window.draw(choice, begin)
        body = BODY.format(parts=choice.choice((100, 150, 150, 300, 6000)))
        return Write(choice.choice([
            # body and digest are not touched, and do not travel by themselves
            f"UPDATE large SET note = '{note}' WHERE id = {key}",
            f"UPDATE large SET note = '{note}' WHERE id IN ({key}, {other})",
            f"{body}UPDATE large SET body = fresh.body, digest = md5(fresh.body) FROM fresh WHERE id = {key}",
            f"{body}INSERT INTO large (id, note, digest, body) SELECT {key}, '{note}', md5(body), body FROM fresh"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body, digest = excluded.digest",
            f"DELETE FROM large WHERE id = {key} AND random() < 0.3",
        ]))

    def look(self, node: str, session: Session) -> Iterator[str]:
        for key, in session.execute("SELECT id FROM large WHERE md5(body) <> digest LIMIT 3"):
            yield f"{node} showed row {key} with the body of another state"

    def findings(self, rows: dict[str, Rows]) -> Iterator[Finding]:
        yield from super().findings(rows)
        # the whole body is not fetched: md5 stands in its place
        yield from finding(f"{self.name}: rows put together from two states", (
            f"{key} on {node}" for node, held in rows["large"].items() for key, row in held.items() if row["body"] != row["digest"]))
