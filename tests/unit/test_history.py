"""pgunison/cluster/history.py: what is told to whom, what is known of a command that was killed, and that nothing of it stops a command."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pgunison.cluster import history
from pgunison.cluster.history import Entry, closed, collect, lacking, merge, recorded
from pgunison.commands.history import row
from pgunison.errors import OrchestratorError


def entry(number: int, outcome: str = "done", detail: str | None = None) -> Entry:
    ended = f"2026-11-26T23:{number:02}:02.500000+00:00" if outcome in ("done", "failed", "interrupted") else None
    began = f"2026-11-26T23:{number:02}:00.000000+00:00"
    return Entry(f"{number:08}-0000-4000-8000-000000000000", f"up node{number}", "ops@host1", began, ended, outcome, detail)


def test_each_entry_is_told_once_the_newest_first_and_an_outcome_wins():
    assert merge([entry(1), entry(3, "running")], [entry(2), entry(3), entry(1)], []) == [entry(3), entry(2), entry(1)]
    assert merge([entry(3)], [entry(3, "running")]) == [entry(3)]
    for told in ([entry(1, "lost"), entry(1, "running"), entry(1)], [entry(1), entry(1, "lost")]):
        assert merge(*([one] for one in told)) == [entry(1)]


def test_what_runs_was_lost_for_whoever_knows_that_nothing_runs():
    assert closed([entry(1), entry(2, "running")]) == [entry(1), entry(2, "lost")]


def test_a_node_lacks_what_it_does_not_hold_and_the_outcome_of_what_it_saw_begin():
    held = [entry(1), entry(2, "running"), entry(4, "running"), entry(5, "lost"), entry(6)]
    assert lacking(held, [entry(6, "lost"), entry(5), entry(4, "running"), entry(3), entry(2), entry(1, "failed")]) == [entry(5), entry(3), entry(2)]


@pytest.mark.parametrize(("found", "shown"), [
    (entry(1), ("2026-11-26 23:01:00", "2.5 s", "ops@host1", "up node1", "done")),
    (entry(1, "failed", "no agent\nanswers"), ("2026-11-26 23:01:00", "2.5 s", "ops@host1", "up node1", "failed: no agent answers")),
    (entry(1, "running"), ("2026-11-26 23:01:00", "", "ops@host1", "up node1", "running")),
    (entry(1, "lost"), ("2026-11-26 23:01:00", "unknown", "ops@host1", "up node1", "did not end: killed, or its machine went down"))])
def test_an_entry_is_a_line(found, shown):
    assert row(found) == shown


class Site:
    """Three nodes: one runs and answers, one runs and does not answer, one is stopped."""

    def __init__(self, directory: Path):
        self.directory, self.rows = directory, {"node1": {}, "node2": {}, "node3": {}}
        self.configuration = SimpleNamespace(nodes=[SimpleNamespace(name=name) for name in self.rows])
        self.runtime = SimpleNamespace(state=lambda name: "stopped" if name == "node3" else "running")

    def spec(self, name: str) -> str:
        return name

    def call(self, name: str, service: str, timeout_s: float, limit: int = 0, Entry: list[dict] = ()) -> dict:
        if name == "node2":
            raise OrchestratorError("no agent answers for node2", "refused", "up")
        for one in Entry:
            self.rows[name].setdefault(one["id"], one)
        return {"entries": sorted(self.rows[name].values(), key=lambda one: one["began"], reverse=True)[:limit]}


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


def known(site: Site) -> list[tuple[str, str, str | None]]:
    return [(one.command, one.outcome, one.detail) for one in collect(site, 100)[0]]


def test_a_command_is_known_while_it_runs_and_when_it_has_ended_also_to_the_nodes(site):
    with recorded(site, "up"):
        assert known(site) == [("up", "running", None)]
    assert known(site) == [("up", "done", None)]
    assert [one["outcome"] for one in site.rows["node1"].values()] == ["done"]
    entries, missing = collect(site, 100)
    assert entries[0].seconds >= 0 and "@" in entries[0].who
    assert missing == {"node2": "no agent answers for node2: refused", "node3": "it does not run"}


@pytest.mark.parametrize(("raised", "outcome", "detail"), [
    (OrchestratorError("node1 cannot be drained", "it is stopped", "up"), "failed", "node1 cannot be drained"),
    (OrchestratorError("nul \0, escape \x1b[31m and\ntwo lines, \ud800" + "x" * 600, "", ""), "failed",
     ("nul , escape [31m and two lines, " + "x" * 600)[:500]),
    (KeyboardInterrupt(), "interrupted", None), (ZeroDivisionError("x"), "failed", "ZeroDivisionError: x")])
def test_how_a_command_ended_is_known(site, raised, outcome, detail):
    with pytest.raises(type(raised)), recorded(site, "drain node1"):
        raise raised
    assert known(site) == [("drain node1", outcome, detail)]


def test_a_command_that_was_killed_is_told_by_the_next_one(site):
    killed = entry(1, "running")
    (site.directory / history.FILE).write_text(json.dumps([asdict(killed)]))
    site.rows["node1"]["x"] = asdict(replace(entry(2, "running"), id="x"))
    with recorded(site, "up"):
        pass
    assert known(site) == [("up", "done", None), ("up node2", "lost", None), ("up node1", "lost", None)]


def test_this_machine_learns_from_the_nodes_and_a_broken_file_stops_nobody(site):
    site.rows["node1"]["x"] = asdict(replace(entry(2), id="x"))
    (site.directory / history.FILE).write_text("{")
    with recorded(site, "up"):
        pass
    assert known(site) == [("up", "done", None), ("up node2", "done", None)]
    site.rows["node1"].clear()
    assert len(known(site)) == 2


def test_a_directory_that_takes_no_file_stops_nobody_and_the_nodes_are_told(site, capsys):
    (site.directory / history.FILE).mkdir()
    with recorded(site, "down"):
        pass
    assert "warning: the history is not written" in capsys.readouterr().err
    assert known(site) == [("down", "done", None)]


def test_what_a_node_knows_to_be_done_was_not_lost(site):
    """The file did not take how it ended."""
    site.rows["node1"]["x"] = asdict(replace(entry(1), id="x"))
    (site.directory / history.FILE).write_text(json.dumps([asdict(replace(entry(1, "running"), id="x"))]))
    with recorded(site, "up"):
        pass
    assert known(site)[1:] == [("up node1", "done", None)]
    assert [one["outcome"] for one in json.loads((site.directory / history.FILE).read_text())] == ["done", "done"]


def test_the_nodes_are_told_though_their_clocks_are_ahead(site, monkeypatch):
    monkeypatch.setattr(history, "EXCHANGED", 2)
    for number in range(2):
        site.rows["node1"][str(number)] = asdict(replace(entry(1), id=str(number), began=f"2999-01-01T00:00:0{number}.000000+00:00"))
    with recorded(site, "resume node1"):
        pass
    assert "resume node1" in {one["command"] for one in site.rows["node1"].values()}


@pytest.mark.parametrize("entries", [[{"id": "x"}], [asdict(entry(1)) | {"new": 1}], ["x"]])
def test_a_node_that_tells_in_another_way_stops_nobody(site, monkeypatch, entries):
    def call(name: str, service: str, timeout_s: float, **children) -> dict:
        return {"entries": entries} if name == "node1" else {}

    monkeypatch.setattr(site, "call", call)
    with recorded(site, "up"):
        pass
    found, missing = collect(site, 10)
    assert [one.command for one in found] == ["up"] and all("another version" in missing[name] for name in ("node1", "node2"))


def test_the_file_is_bounded(site, monkeypatch):
    monkeypatch.setattr(history, "KEPT", 3)
    for number in range(6):
        with recorded(site, f"up node{number}"):
            pass
    assert [one["command"] for one in json.loads((site.directory / history.FILE).read_text())] == ["up node5", "up node4", "up node3"]
