"""bench/: what is computed from measurements; the measurements themselves need a cluster."""

import ipaddress
import json
import os
import subprocess

import pytest

from bench import figure, ratios, results
from bench.client import percentile, read
from bench.cluster import REST, Cluster, cpu_s
from bench.instructions import TABLES, cases, committed, worse
from bench.mesh import FUNCTIONS, TRIGGERS
from bench.pgunison import configuration
from pgunison.configuration.sysconfig import load
from pgunison.contract.waiting import wait_until


def test_a_table_has_a_row_a_figure_with_medians_and_their_ratio():
    ours, native = [{"rows, s": 3.0}, {"rows, s": 1.0}, {"rows, s": 2.0}], [{"rows, s": 1.0}] * 3
    assert ratios.table(ours, native).splitlines()[2:] == ["| rows, s | 2.00 (1.00 to 3.00) | 1.00 (1.00 to 1.00) | 2.00 |"]


def test_what_was_not_reached_says_so_and_has_no_ratio():
    assert ratios.table([{"rows, s": float("inf")}], [{"rows, s": 1.0}], 90.0).splitlines()[2:] == ["| rows, s | over 90 s | 1.00 |  |"]


def test_one_round_that_was_not_reached_does_not_hide_the_others():
    assert ratios.spread([1.0, float("inf"), 2.0], 90.0) == "2.00 (1.00 to never)"


def test_a_ratio_is_of_what_was_measured_one_behind_the_other():
    # the machine was three times as slow in the second round
    assert ratios.ratio([1.2, 3.6, 1.1], [1.0, 3.0, 1.0]) == "1.20"
    assert ratios.ratio([1.0, float("inf"), 2.0], [1.0, 1.0, 1.0]) == "2.00"


def test_the_rival_has_none_of_it():
    assert ratios.ratio([5.0], [0.0]) == ""


@pytest.mark.parametrize(("value", "text"), [(0.0, "0.00"), (9.994, "9.99"), (10.0, "10.0"), (99.94, "99.9"), (1234.5, "1234")])
def test_three_digits_count(value, text):
    assert ratios.shown(value) == text


def test_pgbench_writes_latency_and_end_of_each_transaction():
    transactions, seconds, latencies = read(["0 1 2000 0 100 500000", "1 1 1000 0 101 0 "])
    assert (transactions, latencies) == (2, [1.0, 2.0])
    assert seconds == pytest.approx(101 - 100.498)


@pytest.mark.parametrize(("percent", "value"), [(0, 1.0), (50, 3.0), (99, 4.0), (100, 4.0)])
def test_a_percentile_is_a_value_that_was_measured(percent, value):
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == value


@pytest.mark.parametrize(("title", "kind"), [
    ("postgres: x: walsender replicator 127.0.0.1(40000) START_REPLICATION", "walsenders"),
    ("postgres: x: logical replication apply worker for subscription 16400", "apply workers"),
    ("postgres: x: writer1 lb-test 127.0.0.1(40000) idle", REST)])
def test_processor_time_is_that_of_the_servers_processes_by_kind(tmp_path, title, kind):
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
    before = cpu_s(str(tmp_path))
    with subprocess.Popen([title, "-c", "while :; do :; done"], executable="/bin/bash") as process:
        try:
            wait_until(lambda: None if (cpu_s(str(tmp_path)) - before)[kind] > 0.05 else "it takes none", f"{kind} take processor time", 30.0)
        finally:
            process.kill()


def test_the_configuration_is_the_default_one_with_an_id_a_subnet_and_nodes(tmp_path):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(configuration("bench-x", 8)))
    found = load(path)
    assert (found.id, len(found.nodes)) == ("bench-x", 8)
    assert [table.name for table in found.tables] == ["table1"]
    assert all(ipaddress.ip_address(node.loopback).is_loopback for node in found.nodes)


class Cursor:
    """Answers one look at the replication slots."""

    def __init__(self, rows):
        self._rows = rows

    def execute(self, statement, parameters):
        assert "pg_replication_slots" in statement

    def fetchall(self):
        return self._rows


@pytest.mark.parametrize(("slots", "reason"), [
    ([("a", 0), ("b", -8)], None), ([("a", 0)], "1 replication slots"), ([("a", 0), ("b", 7)], "b is 7 bytes behind"),
    ([("a", None), ("b", 0)], "a is None bytes behind")])
def test_a_barrier_waits_for_every_peer(slots, reason):
    cluster = Cluster()
    cluster.names = ["node1", "node2", "node3"]
    assert cluster._pending(Cursor(slots), "0/1000") == reason


@pytest.mark.parametrize("pattern", TRIGGERS)
def test_the_usual_triggers_are_complete_statements(pattern):
    statements, older = TRIGGERS[pattern]
    assert "{" not in statements.format(table="table1") + FUNCTIONS.format(node=1, older=older)


def test_the_tables_have_a_ratio_for_each_case():
    known = committed(TABLES.read_text(encoding="utf-8"))
    assert sorted(known) == sorted(case.name for case in cases("", ""))
    assert all(ratio > 1 for ratio in known.values())


def test_what_is_a_tenth_worse_is_said():
    before = {"one": 2.0, "other": 2.0}
    assert worse({"one": 2.19, "other": 2.21}, before) == ["other: 2.21 times native, 2.00 before"]
    assert worse({"third": 1.0}, before) == ["third: bench/tables.md has it not"]


def test_the_figure_and_the_ten_lines_are_those_of_the_results():
    found = results.load()
    assert figure.FIGURE.read_text(encoding="utf-8") == figure.figure(found), "run: python3 -m bench.figure"
    text = figure.README.read_text(encoding="utf-8")
    assert figure.with_table(text, figure.table(found)) == text, "run: python3 -m bench.figure"


def test_results_are_kept_by_rival_and_part(tmp_path):
    path = tmp_path / "results.json"
    name, past = "INSERT, transactions a second", "inserted, until visible everywhere, s"
    results.save(path, "native", "single", "on a quiet day", [{name: 50.0}, {name: 80.0}], [{name: 100.0}, {name: 100.0}])
    results.save(path, "native", "many", "on another day", [{past: 2.0}], [{past: 1.0}])
    results.save(path, "native", "many", "on a third day", [{past: 3.0}], [{past: 1.0}])
    found = results.load(path)
    assert found["native"].medians(name) == (65.0, 100.0) and found["native"].ratio(past) == 3.0
    assert found["native"].ratio("lag p50, ms") is None
    assert found["native"].conditions() == ["on a quiet day", "on a third day"]
    # a bar is as long as pgunison is fast: a time of three is a third of the speed
    drawn = figure.figure(found)
    assert ">0.65</text>" in drawn and ">0.33</text>" in drawn and drawn.count('height="14"') == 2
    assert "| INSERT of 200,000 rows, until visible everywhere, s | 3.00 | 1.00 | 3.00 |" in figure.table(found)
