"""pgunison/cluster/diagnosis.py: what makes a cluster unhealthy, each thing by itself, with the next step."""

from dataclasses import replace

import pytest

from pgunison.cluster.diagnosis import Fault, faults, sentence
from pgunison.cluster.state import Link, LinkState, TableState
from tests.unit.world import table, wanted

WANTED = wanted(3, table("table1"))
UPKEEP = {"silent": ["node3"], "confirmed_s_ago": 7200, "tombstone_bytes": 8192}


def changed(name: str = "node2", **changes):
    return WANTED.with_node(replace(WANTED.node(name), **changes))


def test_a_cluster_as_it_is_wanted_is_healthy():
    assert faults(WANTED, WANTED) == ()
    assert sentence(WANTED, WANTED) == "healthy: 3 of 3 nodes ready, 6 of 6 links streaming"


@pytest.mark.parametrize(("cluster", "what", "following"), [
    (changed(process="absent", tables=()), "never made", "up"),
    (changed(process="stopped", tables=()), "does not run", "up"),
    (changed(process="stopped", problem="its agent does not run; PostgreSQL serves", postgresql=True), "PostgreSQL serves", "up"),
    (changed(problem="timed out"), "timed out", "logs node2"),
    (changed(problem="its agent does not answer", postgresql=True), "agent does not answer", "logs node2"),
    (changed(fault="its database is of another version"), "another version", "up"),
    (changed(serving=False), "has not joined", "up"),
    (changed(drained={"by": "ops@host1", "since": "2026-11-26 23:00:00 UTC"}), "drained by ops@host1 since 2026-11-26 23:00:00 UTC", "resume node2"),
    (changed(warnings=("maintenance fails: a lock",)), "maintenance fails: a lock", "logs node2"),
    (changed(upkeep=UPKEEP), "keeps 8192 bytes of tombstones, because nothing is heard of node3", "up"),
    (changed(tables=(replace(table("table1"), fault="triggers are off"),)), "public.table1: triggers are off", "up"),
    (changed(tables=(replace(table("table1"), open=False),)), "public.table1: it is not open", "up"),
    (changed(tables=(replace(table("table1"), published=False),)), "public.table1: it is not published", "up"),
    (changed(tables=()), "public.table1: the configuration has it", "up")])
def test_what_is_wrong_with_a_node(cluster, what, following):
    fault, = faults(WANTED, cluster)
    assert fault.where == "node2" and what in fault.what and following in fault.next
    assert sentence(WANTED, cluster).startswith("not healthy: ")


@pytest.mark.parametrize(("link", "following"), [
    (LinkState("node1", "node2", Link.SLOT_LOST, reason="it was dropped"), "up"), (LinkState("node1", "node2", Link.DISABLED), "up"),
    (LinkState("node1", "node2", Link.WORKER_DOWN, reason="null value in column a"), "logs node2"),
    (LinkState("node1", "node2", Link.STREAMING, reason="it fails again and again"), "logs node2"),
    (LinkState("node1", "node2", Link.CATCHING_UP), "logs node2")])
def test_what_is_wrong_with_a_link(link, following):
    fault, = faults(WANTED, WANTED.with_link(link))
    assert fault == Fault("node1 to node2", f"{link.state}: {link.reason}" if link.reason else link.state, f"python3 orchestrator.py {following}")


def test_a_node_that_is_down_is_said_once_and_not_of_each_of_its_links():
    cluster = changed(process="stopped", tables=())
    cluster = cluster.with_link(LinkState("node1", "node2", Link.TARGET_DOWN)).with_link(LinkState("node2", "node1", Link.SOURCE_DOWN))
    assert [fault.where for fault in faults(WANTED, cluster)] == ["node2"]


def test_a_node_that_is_not_maintained_does_not_count_as_ready():
    said = "the maintenance of every table fails for 6 min"
    assert sentence(WANTED, changed(warnings=(said,), unkept=said)) == (
        f"not healthy: 2 of 3 nodes ready, 6 of 6 links streaming; node2: {said}")


def test_a_node_that_is_missing_and_one_too_many():
    fewer = replace(WANTED, nodes=WANTED.nodes[:2], links=frozenset())
    assert [(fault.where, fault.what) for fault in faults(WANTED, fewer)] == [("node3", "it is not there")]
    assert faults(fewer, WANTED) == ()
    more = faults(fewer, WANTED.with_node(replace(WANTED.node("node3"), tables=(TableState("public", "other", (), fault="is broken"),))))
    assert [fault.where for fault in more] == ["node3"]
