"""bench/rivals.py and bench/rival.py: what is counted and written; the runs themselves need servers."""

import os
import subprocess

from bench import rivals
from bench.mesh import TABLE1, create
from bench.rival import runs

ROWS = {
    "node1": {"1": {"id": 1, "mark": "a", "modified_ts": 1}, "2": {"id": 2, "mark": "b", "modified_ts": 1}},
    "node2": {"1": {"id": 1, "mark": "a", "modified_ts": 2}, "2": {"id": 2, "mark": "c", "modified_ts": 1}, "3": {"id": 3, "mark": "d", "modified_ts": 1}},
}


def test_rows_differ_by_what_users_wrote_and_by_being_there():
    assert rivals.count_differing(ROWS) == (2, 3)


def test_a_row_is_missing_that_one_node_lacks():
    assert rivals.count_missing({"a", "b", "d"}, ROWS) == 2


def test_a_design_has_a_row_and_what_else_was_seen_stands_below():
    outcomes = [rivals.Outcome("mesh", 1200, {"hot": 4, "line": 1}, 2000, (("node1", "node2"),), (("node2", "node1"),), 3, 40, ("writers that hang: 1",)),
                rivals.Outcome("ours", 1300, {}, 2100, (), (), 0, 41)]
    assert rivals.table(outcomes).splitlines()[2:] == [
        "| mesh | 1,200 | 5 of 2,000 (hot 4, line 1) | 1 of 6, 1 more behind | 3 of 40 |",
        "| ours | 1,300 | 0 of 2,100 | 0 of 6 | 0 of 41 |",
        "", "mesh: writers that hang: 1"]


class Links:
    """Answers as two nodes of which the second does not hear of the first."""

    def __init__(self):
        self.held = {}

    def names(self):
        return ["node1", "node2"]

    def query(self, node, statement, parameters=None):
        if statement.startswith("INSERT"):
            self.held.setdefault(node, []).append((parameters[0],))
            if node == "node2":
                self.held.setdefault("node1", []).append((parameters[0],))
            return []
        return self.held[node]


def test_a_link_that_carries_nothing_is_behind_at_the_deadline():
    assert rivals.catch_up(Links(), 0.0) == [("node1", "node2")]


def test_a_process_that_has_ended_does_not_run():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    # a zombie
    assert not runs(child.pid)
    child.wait()
    assert not runs(child.pid) and runs(os.getpid())


def test_a_table_of_the_mesh_is_the_description():
    names = [part.strings[0] for part in _identifiers(create(TABLE1))]
    assert names == ["table1", *(column["name"] for column in TABLE1["columns"])]


def _identifiers(composed):
    for part in composed.seq:
        if hasattr(part, "seq"):
            yield from _identifiers(part)
        elif hasattr(part, "strings"):
            yield part
