"""pgunison/cluster/state.py: equality means converged, and the invariants name what is wrong."""

from dataclasses import replace

import pytest

from pgunison.cluster.state import ClusterState, Link, LinkState, NodeState, TableState

TABLE = TableState("public", "table1", (("id",),))
OTHER = TableState("public", "table2", (("id",),))
NODE1 = NodeState("node1", 1, tables=(TABLE,))
NODE2 = NodeState("node2", 2, tables=(TABLE,))
CLUSTER = ClusterState("test", (NODE1, NODE2), frozenset({LinkState("node1", "node2"), LinkState("node2", "node1")}))


DRAINED = {"by": "ops@host1", "since": "2026-11-26 23:00:00 UTC"}


def broken(cluster: ClusterState) -> str:
    with pytest.raises(AssertionError) as found:
        cluster.check_invariants()
    return str(found.value)


@pytest.mark.parametrize(("node", "word"), [
    (NODE1, "ready"), (replace(NODE1, process="stopped"), "stopped"), (replace(NODE1, process="absent", serving=False), "absent"),
    (replace(NODE1, problem="PostgreSQL starts"), "unavailable"), (replace(NODE1, serving=False), "joining"),
    (replace(NODE1, serving=False, stale="node2 has more of it"), "stale"),
    (replace(NODE1, drained=DRAINED), "drained"), (replace(NODE1, drained=DRAINED, problem="PostgreSQL starts"), "unavailable"),
    (replace(NODE1, tables=(replace(TABLE, fault="triggers are missing"),)), "faulty")])
def test_a_node_in_a_word(node, word):
    assert node.state == word


def test_what_only_tells_how_it_goes_is_not_compared():
    assert CLUSTER.with_node(replace(NODE1, version="18.1")) == CLUSTER
    assert CLUSTER.with_link(LinkState("node1", "node2", lag_bytes=1000, errors=3)) == CLUSTER


@pytest.mark.parametrize("changed", [
    CLUSTER.with_link(LinkState("node1", "node2", Link.CATCHING_UP)), CLUSTER.with_node(replace(NODE1, serving=False)),
    CLUSTER.with_node(replace(NODE1, tables=())), CLUSTER.with_node(replace(NODE1, roles=("writer1",))),
    CLUSTER.with_node(replace(NODE1, tables=(replace(TABLE, open=False),)))])
def test_what_matters_is_compared(changed):
    assert changed != CLUSTER


def test_nodes_stand_in_the_order_of_their_index():
    node9 = NodeState("a", 9)
    assert [node.name for node in CLUSTER.with_node(node9).with_node(replace(NODE1, serving=False)).nodes] == ["node1", "node2", "a"]


def test_one_link_between_two_nodes():
    changed = CLUSTER.with_link(LinkState("node1", "node2", Link.DISABLED))
    assert len(changed.links) == 2
    assert changed.link("node1", "node2").state == "disabled"
    assert changed.link("node2", "node1").state == "streaming"
    assert changed.link("node1", "node7") == LinkState("node1", "node7", Link.MISSING)


def test_look_up():
    assert CLUSTER.node("node2") is NODE2 and CLUSTER.find("node3") is None
    with pytest.raises(LookupError, match="no node node3 in cluster test: it has node1, node2"):
        CLUSTER.node("node3")
    assert NODE1.table("public", "table1") is TABLE and NODE1.table("other", "table1") is None


def test_a_healthy_cluster_and_an_empty_one_hold_the_invariants():
    CLUSTER.check_invariants()
    ClusterState("test", (), frozenset()).check_invariants()
    ClusterState("test", (NODE1,), frozenset()).check_invariants()


@pytest.mark.parametrize("change", [{"fault": "triggers are missing"}, {"published": False}])
def test_no_table_is_open_without_its_merge(change):
    assert broken(CLUSTER.with_node(replace(NODE2, tables=(replace(TABLE, **change),)))) == "public.table1 is open on node2 without its merge"
    CLUSTER.with_node(replace(NODE2, tables=(replace(TABLE, open=False, **change),))).check_invariants()


def test_nodes_that_serve_are_linked():
    unlinked = CLUSTER.with_link(LinkState("node2", "node1", Link.MISSING))
    assert broken(unlinked) == "node2 and node1 serve, their link is missing"
    unlinked.with_node(replace(NODE1, serving=False)).check_invariants()


def test_a_link_may_lack_a_table_that_is_closed_everywhere():
    # so it is while a running cluster gets a new table
    closed = replace(OTHER, open=False)
    cluster = CLUSTER.with_node(replace(NODE1, tables=(TABLE, closed))).with_node(replace(NODE2, tables=(TABLE, closed)))
    cluster.with_link(LinkState("node1", "node2", Link.INCOMPLETE)).check_invariants()


@pytest.mark.parametrize("state", ["streaming", "disabled", "unseeded", "incomplete", "catching up", "source down", "target down"])
def test_a_link_that_is_only_late_loses_nothing(state):
    CLUSTER.with_link(LinkState("node1", "node2", Link(state))).check_invariants()
