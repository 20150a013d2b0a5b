"""What the checker says: how often, the first, the worst, and how to repeat it."""

from collections import Counter

from chaos.checker import different
from chaos.history import Effect
from chaos.options import Options
from chaos.report import Report
from chaos.workload import Finding, Marks, finding
from chaos.workloads import WORKLOADS
from chaos.workloads.append import Append
from chaos.workloads.bank import ACCOUNTS, Bank, Transfer
from chaos.workloads.batch import Batch
from chaos.workloads.hot import Hot
from chaos.workloads.large import Large

VERSIONS = ("modified_ts", "modified_node")


def row(key: str, value: str, moment: int, node: int) -> dict:
    return {"id": key, "value": value, "modified_ts": moment, "modified_node": node}


def test_rows_that_are_the_same_are_no_finding():
    held = {"k": row("k", "a", 1, 1)}
    assert list(different("hot", {"node1": held, "node2": dict(held)}, Hot(VERSIONS))) == []


def test_differences_are_counted_and_the_first_and_the_worst_shown():
    hot = Hot(VERSIONS)
    hot.history.add("node2", [Effect("c", (3, 2), "z")])
    rows = {"node1": {"a": row("a", "x", 1, 1), "b": row("b", "x", 1, 1), "c": row("c", "x", 1, 1)},
            "node2": {"a": row("a", "x", 1, 1), "b": row("b", "y", 2, 2), "c": row("c", "z", 3, 2)},
            "node3": {"a": row("a", "x", 1, 1), "b": row("b", "y", 2, 2)}}
    found, = different("hot", rows, hot)
    assert found.count == 2
    assert found.first.splitlines()[0] == "b" and "node1: value x, modified_ts 1, modified_node 1" in found.first
    assert found.worst.splitlines()[0] == "c" and "node3: no row" in found.worst and "node2 wrote 'z' as 3 2" in found.worst
    assert str(found).startswith("keys of hot of which the nodes hold different rows: 2\n    first: b")


def test_a_version_alone_is_a_difference():
    assert list(different("hot", {"node1": {"k": row("k", "a", 1, 1)}, "node2": {"k": row("k", "a", 1, 2)}}, Hot(VERSIONS)))


def test_an_acknowledged_change_that_lost_against_an_older_one():
    hot = Hot(VERSIONS)
    hot.history.add("node1", [Effect("k", (2, 1), "new")])
    rows = {"hot": {node: {"k": row("k", "old", 1, 2)} for node in ("node1", "node2")}}
    found, = hot.findings(rows)
    assert found.count == 2 and "lost 'new' of 2 1, acknowledged by node1" in found.first


def test_marks():
    marks = Marks()
    marks.add(["a", "b"], "ok")
    marks.add(["c"], "unknown")
    marks.add(["d"], "failed")

    def held(*names: str) -> dict:
        return {str(number): {"mark": name} for number, name in enumerate(names)}

    assert list(marks.findings("append", {"node1": held("a", "b"), "node2": held("a", "b", "c")})) == []
    lost, = marks.findings("append", {"node1": held("a", "b"), "node2": held("a", "c")})
    assert (lost.what, lost.count, lost.first) == ("append: acknowledged rows that are lost, of 2", 1, "b on node2")
    surplus, = marks.findings("append", {"node1": held("a", "b", "d")})
    assert surplus.what == "append: rows that nobody inserted" and surplus.first == "d on node1"
    twice, = marks.findings("append", {"node1": held("a", "b", "a")})
    assert twice.what == "append: rows that are there twice"


def test_what_was_acknowledged_is_asked_of_each_workload():
    empty = {table["name"]: {"node1": {}} for each in WORKLOADS for table in each.tables}
    append, bank = Append(VERSIONS), Bank(VERSIONS)
    append.ended("node1", type("Insert", (), {"marks": ("m",)})(), "ok")
    assert [found.what for found in append.findings(empty)] == ["append: acknowledged rows that are lost, of 1"]
    bank.ended("node1", Transfer("m", 1, 2, 3, "READ COMMITTED", [10, 11]), "failed")
    assert [found.what for found in bank.findings(empty)] == ["bank: seen while writers wrote", "bank: accounts that are gone"]
    assert next(bank.findings(empty)).first == "transfer m on node1 (READ COMMITTED): 10 before, 11 after"
    assert f"{ACCOUNTS} on node1" in list(bank.findings(empty))[1].first


def test_half_a_transaction():
    rows = {"batch": {"node1": {"1": {"mark": "m", "owner": "o", "size": 2}}}}
    assert "1 of 2 rows of o" in str(list(Batch(VERSIONS).findings(rows)))


def test_a_row_put_together_from_two():
    rows = {"large": {"node1": {"1": {"body": "x", "digest": "y"}, "2": {"body": "x", "digest": "x"}}}}
    found, = Large(VERSIONS).findings(rows)
    assert found.count == 1 and found.first == "1 on node1"


def test_operations_are_counted_by_their_ending():
    append = Append(VERSIONS)
    insert = type("Insert", (), {"marks": ("m",)})()
    for node, ending in (("node1", "ok"), ("node2", "ok"), ("node1", "failed"), ("node1", "unknown")):
        append.ended(node, insert, ending)
    assert append.counts() == Counter(ok=2, failed=1, unknown=1)


def test_the_report():
    report = Report(Options(seed=4, seconds=9), {"bank": Counter(ok=12, unknown=1)}, {"hot": 3}, ["1.0 s stop node1"], ["pause node1 to node2: no answer"])
    assert report.converged
    assert report.counts().splitlines() == ["bank               12 ok      0 failed    1 unknown", "1 faults, 1 more struck nothing", "rows: hot 3"]
    report.findings += finding("links that are stuck", ["one"])
    assert not report.converged
    assert report.found().splitlines() == ["links that are stuck: 1", "    first: one", "faults: 1.0 s stop node1",
                                           "again: python3 orchestrator.py chaos --seed 4 --seconds 9 --nodes 3 --faults all"]


def test_nothing_found_is_no_finding():
    assert list(finding("anything", [])) == []
    assert str(Finding("x", 1, "first", "first")) == "x: 1\n    first: first"
