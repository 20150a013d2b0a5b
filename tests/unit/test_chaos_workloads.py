"""What the workloads that need more than tables judge: several histories, rows that triggers wrote, prepared transactions, attempts at DDL."""

import contextlib
import random
from collections import Counter
from collections.abc import Iterator

import psycopg2
import psycopg2.errors
import pytest

from chaos.history import Effect
from chaos.session import Session
from chaos.workloads.administrator import CONCURRENTLY, DANGEROUS, HARMLESS, LEFT, Administrator, Attempt, Write
from chaos.workloads.cascades import Cascades
from chaos.workloads.contested import Statement, Work
from chaos.workloads.prepared import Prepared, TwoPhase
from chaos.workloads.triggers import Marked, MarkedWork, Triggers

VERSIONS = ("modified_ts", "modified_node")


class Answers:
    """A session on which some statements fail, alive or lost, and some have rows."""

    def __init__(self, **by_word: object):
        self.by_word = by_word
        self.closed = 0
        self.said: list[str] = []
        self.description: object = None
        self.rows: list[tuple] = []

    def cursor(self) -> "Answers":
        return self

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def execute(self, statement: str, parameters: object = None) -> None:
        self.said.append(statement)
        answer = next((answer for word, answer in self.by_word.items() if statement.startswith(word)), None)
        if isinstance(answer, Exception):
            self.closed = int(isinstance(answer, psycopg2.OperationalError) and not answer.pgcode)
            raise answer
        self.description, self.rows = (answer is not None), list(answer or ())

    def fetchall(self) -> list[tuple]:
        return self.rows

    def close(self) -> None:
        self.closed = 1


LOST = psycopg2.OperationalError("server closed the connection unexpectedly")


class Coded(psycopg2.DatabaseError):
    """An error with a code, which psycopg2 sets only itself."""

    def __init__(self, code: str):
        super().__init__("refused")
        self.code = code

    @property
    def pgcode(self) -> str:
        return self.code


def row(value: str, moment: int, node: int = 1) -> dict:
    return {"value": value, "modified_ts": moment, "modified_node": node}


def empty(workload: type) -> dict:
    return {table["name"]: {"node1": {}, "node2": {}} for table in workload.tables}


@pytest.mark.parametrize("kind", [Cascades, Triggers, Prepared])
def test_every_statement_names_a_table_that_is_judged(kind):
    workload, choice = kind(VERSIONS), random.Random(5)
    workload._nodes = ["node1", "node2"]
    for _ in range(300):
        operation = workload.operation("node1", choice)
        assert {statement.table for statement in operation.statements} <= set(workload.histories)


def test_each_table_has_a_history_of_its_own():
    cascades = Cascades(VERSIONS)
    work = Work([Statement("", (), "rows", "tree"), Statement("", (), "rows", "item")], VERSIONS, "SERIALIZABLE",
                effects=[Effect("1", (5, 1), "a", table="tree"), Effect("1", (7, 1), "b", table="item")])
    cascades.ended("node1", work, "ok")
    rows = empty(Cascades)
    rows["tree"]["node1"] = {"1": row("a", 5)}
    rows["item"]["node1"] = {"1": row("x", 6)}
    found, = cascades.findings(rows)
    assert found.count == 1 and "lost 'b' of 7 1" in found.first
    assert "wrote 'a'" in cascades.history_of("tree").told("1") and cascades.history_of("other") is None


def test_what_a_cascade_may_take_is_not_missed_and_what_none_takes_is():
    cascades = Cascades(VERSIONS)
    effects = [Effect("1", (5, 1), "a", table=table) for table in cascades.judged]
    cascades.ended("node1", Work([], VERSIONS, effects=effects), "ok")
    found, = cascades.findings(empty(Cascades))
    assert found.count == 2 and "1 on node1 is gone, and nobody deleted it" in found.first
    assert "nothing was acknowledged" not in cascades.history_of("depot").told("1")


def written(audit: int, former: int) -> dict[str, int]:
    return {"audit": audit, "former": former}


@pytest.mark.parametrize(("marked", "held", "what"), [
    ({"ok": written(2, 0)}, ["m", "m"], None),
    ({"ok": written(2, 0)}, ["m"], "1 instead of 2 of m on node1"),
    ({"ok": written(0, 2)}, ["m"], "1 instead of 0 of m on node1"),
    ({"unknown": written(2, 0)}, [], None),
    ({"unknown": written(2, 0)}, ["m", "m"], None),
    ({"unknown": written(2, 0)}, ["m"], "1 of the 2 rows of m, whose outcome is unknown, on node1"),
    ({"failed": written(2, 0)}, [], None),
    ({"failed": written(2, 0)}, ["m", "m"], "2 of m on node1"),
    # it was lost before it could have been committed
    ({"unknown": None}, ["m"], "1 of m on node1"),
    ({}, ["nobody"], None)])
def test_what_triggers_wrote(marked, held, what):
    kept = Marked()
    for ending, counts in marked.items():
        kept.add("m", counts, ending)
    found = list(kept.findings("triggers", "audit", {"node1": {str(number): {"mark": mark} for number, mark in enumerate(held)}}))
    assert [each.first for each in found] == ([what] if what else [])


def test_what_triggers_wrote_is_counted_in_the_transaction():
    triggers = Triggers(VERSIONS)
    work = MarkedWork([Statement("UPDATE", (), "rows", "article")], VERSIONS, "SERIALIZABLE", mark="m")
    session = Answers(**{"SELECT current_setting": [(3, 1)], "UPDATE": [("1", "a", 5, 1)]})
    work.run(Session(session))
    assert work.written == written(3, 1)
    assert [said.split()[0] for said in session.said] == ["BEGIN", "SELECT", "UPDATE", "SELECT", "COMMIT"]
    triggers.ended("node1", work, "ok")
    rows = empty(Triggers)
    for node in rows["audit"]:
        rows["article"][node] = {"1": row("a", 5)}
        rows["audit"][node] = {str(number): {"mark": "m"} for number in range(3)}
    assert [found.what for found in triggers.findings(rows)] == ["triggers: transactions of which former does not hold what their triggers wrote, of 1"]


@pytest.mark.parametrize(("endings", "stands"), [
    ((("insert", "ok"),), True), ((("insert", "ok"), ("insert", "failed")), True), ((("insert", "ok"), ("delete", "failed")), True),
    ((("insert", "ok"), ("delete", "ok"), ("insert", "ok")), True), ((("insert", "ok"), ("delete", "unknown")), False),
    ((("insert", "unknown"),), False), ((("insert", "ok"), ("delete", "ok")), False)])
def test_a_row_that_only_its_node_deletes_is_there_when_it_was_inserted_last(endings, stands):
    triggers = Triggers(VERSIONS)
    for what, ending in endings:
        triggers.ended("node1", MarkedWork([], VERSIONS, mark=f"{what} {ending}", own="7", inserts=what == "insert"), ending)
    found = list(triggers.findings(empty(Triggers)))
    assert [each.what for each in found] == (["triggers: rows that are gone, though they were inserted and not deleted since"] if stands else [])
    assert not found or found[0].count == 2 and found[0].first.startswith("7 on node1")


def two_phase(prepared: Prepared, *, commit: bool = True, here: bool = True) -> TwoPhase:
    work = TwoPhase([Statement("UPDATE", (), "rows", "pledge")], VERSIONS, commit=commit, gid="chaos 1", here=here)
    prepared.open["node1"] = {work.gid: work}
    return work


def run(prepared: Prepared, work: TwoPhase, connection: Answers) -> str:
    """Do what a writer does."""
    session, ending = Session(connection), "ok"
    try:
        work.run(session)
    except psycopg2.Error as error:
        ending = session.ending(error, prepared.expected)
    prepared.ended("node1", work, ending)
    return ending


class Nodes:
    """A target of one node, whose connection answers so."""

    def __init__(self, connection: Answers):
        self.connection = connection

    def names(self) -> list[str]:
        return ["node1"]

    @contextlib.contextmanager
    def connect(self, node: str, role: str) -> Iterator[Answers]:
        yield self.connection

    def query(self, node: str, statement: str) -> list[tuple]:
        return []


WROTE = {"UPDATE": [("1", "a", 5, 1)]}
STANDS = {"SELECT gid": [("chaos 1",)]}


@pytest.mark.parametrize(("commit", "here", "answers", "ending", "open_after", "later", "counts"), [
    (True, True, {}, "ok", False, {}, True),
    (False, True, {}, "ok", False, {}, False),
    (True, True, {"PREPARE": Coded("53400")}, "failed", False, {}, False),
    # left for another session
    (True, False, {}, "ok", True, STANDS, True),
    (False, False, {}, "ok", True, STANDS, False),
    # the answer was lost: it stands, or does not
    (True, True, {"PREPARE": LOST}, "unknown", True, STANDS, True),
    (True, True, {"PREPARE": LOST}, "unknown", True, {}, False),
    (True, True, {"COMMIT PREPARED": LOST}, "unknown", True, STANDS, True),
    (True, True, {"COMMIT PREPARED": LOST}, "unknown", True, {}, True),
    (False, True, {"ROLLBACK PREPARED": LOST}, "unknown", True, {}, False)])
def test_a_prepared_transaction_counts_when_it_is_committed(commit, here, answers, ending, open_after, later, counts):
    prepared = Prepared(VERSIONS)
    work = two_phase(prepared, commit=commit, here=here)
    assert run(prepared, work, Answers(**WROTE, **answers)) == ending
    assert bool(prepared.open["node1"]) == open_after
    rest = Answers(**later)
    prepared._end_left("node1", Session(rest), float("inf"))
    prepared.conclude(Nodes(Answers()))
    assert not prepared.open["node1"] and prepared.broken == []
    assert (prepared.history.count == 1) == counts
    if later:
        assert rest.said[-1] == f"{'COMMIT' if commit else 'ROLLBACK'} PREPARED 'chaos 1'"


def test_what_is_not_due_or_not_left_stays_prepared():
    prepared = Prepared(VERSIONS)
    work = two_phase(prepared)
    for work.left, work.ends_at in ((False, 0.0), (True, 2.0)):
        session = Answers(**STANDS)
        prepared._end_left("node1", Session(session), 1.0)
        assert len(session.said) == 1


def test_a_prepared_transaction_that_is_lost_and_one_that_is_left_are_found():
    prepared = Prepared(VERSIONS)
    run(prepared, two_phase(prepared, here=False), Answers(**WROTE))
    prepared.conclude(Nodes(Answers()))
    assert prepared.broken == ["chaos 1 was prepared on node1, is no more, and nobody ended it"]
    prepared = Prepared(VERSIONS)
    prepared.conclude(Nodes(Answers(**STANDS)))
    assert prepared.broken == ["chaos 1 is prepared on node1 after all was healed"]


class Removing(Administrator):
    def remove_index(self, node: str, left: list[tuple]) -> None:
        self.left = left


@pytest.mark.parametrize(("statement", "answer", "found"), [
    (HARMLESS[0], None, None),
    (HARMLESS[0], Coded("0A000"), "harmless DDL that was refused"),
    (DANGEROUS[0], None, "dangerous DDL that was not refused"),
    (DANGEROUS[0], Coded("0A000"), None),
    (DANGEROUS[0], Coded("42501"), None)])
def test_attempts(statement, answer, found):
    administrator = Administrator(VERSIONS)
    session = Answers(**{statement: answer})
    Attempt(administrator, "node1", statement).run(Session(session))
    assert [each.what.partition(": ")[2] for each in administrator.findings(empty(Administrator))] == ([found] if found else [])
    assert session.said[-1] == ("ROLLBACK" if statement in DANGEROUS else statement)


@pytest.mark.parametrize("code", ["55P03", "40P01"])
def test_an_attempt_that_waits_in_vain_is_no_finding(code):
    administrator = Administrator(VERSIONS)
    session = Session(Answers(**{HARMLESS[0]: Coded(code)}))
    with pytest.raises(psycopg2.Error) as met:
        Attempt(administrator, "node1", HARMLESS[0]).run(session)
    assert session.ending(met.value) == "failed"
    assert not list(administrator.findings(empty(Administrator)))


def test_an_index_that_an_error_leaves_behind_is_looked_for():
    administrator = Removing(VERSIONS)
    session = Answers(**{CONCURRENTLY: Coded("0A000"), LEFT: [("single",)]})
    Attempt(administrator, "node1", CONCURRENTLY).run(Session(session))
    assert administrator.left == [("single",)]


def test_the_administrators_rows_are_everywhere():
    administrator = Administrator(VERSIONS)
    administrator.ended("node1", Write("m", "v", 1), "ok")
    assert [found.what for found in administrator.findings(empty(Administrator))] == ["administrator: acknowledged rows that are lost, of 1"]
    assert administrator.counts() == Counter(ok=1)
