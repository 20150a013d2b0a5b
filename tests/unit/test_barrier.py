"""pgunison/cluster/barrier.py: what a barrier waits for, and what it says while it does."""

from types import SimpleNamespace

import pytest

from pgunison.cluster.barrier import Barrier, lsn
from pgunison.errors import OrchestratorError


class Site:
    """Two or three nodes with positions and what their peers confirmed, which a test moves on."""

    def __init__(self, *names: str):
        self.configuration = SimpleNamespace(nodes=[SimpleNamespace(name=name) for name in names])
        self.position = dict.fromkeys(names, "0/1000")
        self.confirmed = {name: {peer: "0/1000" for peer in names if peer != name} for name in names}

    def call(self, name, service_id):
        assert service_id == "node.position"
        return {"position": self.position[name], "confirmed": dict(self.confirmed[name])}


@pytest.mark.parametrize(("text", "number"), [("0/0", 0), ("0/1000", 4096), ("1/0", 2**32), ("16/B374D848", 97500059720), ("FFFFFFFF/FFFFFFFF", 2**64 - 1)])
def test_a_wal_position_is_a_number(text, number):
    assert lsn(text) == number


def test_a_barrier_that_all_have_passed():
    assert Barrier(Site("node1", "node2", "node3")).pending() is None
    assert Barrier(Site("node1")).pending() is None


def test_who_is_behind_whom():
    site = Site("node1", "node2", "node3")
    site.confirmed["node2"]["node3"] = "0/F00"
    made = Barrier(site)
    assert made.pending() == "node3 is 256 bytes behind node2"
    site.confirmed["node2"]["node3"] = "0/FFF"
    assert made.pending() == "node3 is 1 bytes behind node2"
    site.confirmed["node2"]["node3"] = "0/1000"
    assert made.pending() is None


def test_it_stands_where_it_was_set():
    site = Site("node1", "node2")
    made = Barrier(site)
    site.position["node1"] = "0/2000"
    assert made.pending() is None
    assert Barrier(site).pending() == "node2 is 4096 bytes behind node1"


def test_beyond_4_gib_the_higher_half_counts():
    site = Site("node1", "node2")
    site.position["node1"], site.confirmed["node1"]["node2"] = "2/0", "1/FFFFFFFF"
    assert Barrier(site).pending() == "node2 is 1 bytes behind node1"


def test_a_peer_without_a_slot():
    site = Site("node1", "node2")
    del site.confirmed["node1"]["node2"]
    assert Barrier(site).pending() == "node1 has no replication slot for node2"


def test_a_link_that_is_left_out_is_not_waited_for():
    site = Site("node1", "node2")
    site.confirmed["node1"]["node2"] = "0/0"
    assert Barrier(site, frozenset({("node1", "node2")})).pending() is None
    assert Barrier(site, frozenset({("node2", "node1")})).pending() == "node2 is 4096 bytes behind node1"


def test_waiting_ends_when_the_last_has_confirmed(monkeypatch):
    site = Site("node1", "node2")
    site.confirmed["node1"]["node2"] = "0/0"
    made, slept = Barrier(site), []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            site.confirmed["node1"]["node2"] = "0/1000"

    monkeypatch.setattr("pgunison.contract.waiting.time.sleep", sleep)
    made.wait()
    assert len(slept) == 3


def test_waiting_has_a_deadline_that_says_why():
    site = Site("node1", "node2")
    site.confirmed["node1"]["node2"] = "0/0"
    with pytest.raises(OrchestratorError) as late:
        Barrier(site).wait(timeout_s=0)
    assert late.value.message == "the nodes have not caught up after 0 s"
    assert late.value.detail == "node2 is 4096 bytes behind node1"
    assert "status" in late.value.hint
