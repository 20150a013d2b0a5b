"""pgunison/pool/policy.py: shares are what the policy says, and only a lost node's keys move."""

import random
from collections import Counter
from itertools import islice, pairwise

import pytest

from pgunison.pool.node import Limits
from pgunison.pool.policy import homes, least_busy, local_first, rotated, round_of
from pgunison.pool.router import Choice, Rule

EVEN = {"node1": 1.0, "node2": 1.0, "node3": 1.0}
LIMITS = Limits(5, 0.25)


def test_a_round_has_each_node_once():
    assert sorted(round_of(EVEN)) == ["node1", "node2", "node3"]
    assert round_of({}) == ()
    assert round_of({"node1": 0.2}) == ("node1",)


@pytest.mark.parametrize("seed", range(20))
def test_a_round_has_each_node_as_often_as_its_weight_says(seed):
    choice = random.Random(seed)
    weights = {f"node{k}": choice.choice([0.2, 0.5, 1.0]) for k in range(choice.randrange(2, 9))}
    counts = Counter(round_of(weights))
    for name, weight in weights.items():
        assert counts[name] / len(round_of(weights)) == pytest.approx(weight / sum(weights.values()), abs=0.01)


def test_a_round_is_well_mixed():
    turns = round_of({"node1": 1.0, "node2": 0.2})
    assert not any(one == other == "node2" for one, other in pairwise(turns + turns))


def test_only_a_lost_nodes_keys_move():
    keys = [f"key {number}" for number in range(3000)]
    before = {key: homes(key, EVEN)[0] for key in keys}
    assert all(800 < count < 1200 for count in Counter(before.values()).values())
    after = {key: homes(key, {"node1": 1.0, "node3": 1.0})[0] for key in keys}
    assert {before[key] for key in keys if before[key] != after[key]} == {"node2"}
    more = {key: homes(key, EVEN | {"node4": 1.0})[0] for key in keys}
    assert {more[key] for key in keys if before[key] != more[key]} == {"node4"}


def test_a_node_that_comes_back_gets_some_of_its_keys_and_no_other_moves():
    keys = [f"key {number}" for number in range(3000)]
    own, gone = ({key for key in keys if homes(key, weights)[0] == "node2"} for weights in (EVEN, EVEN | {"node2": 0.2}))
    assert gone < own and 0.15 < len(gone) / len(own) < 0.25
    # what it has it keeps
    later = {key for key in keys if homes(key, EVEN | {"node2": 0.6})[0] == "node2"}
    assert gone < later < own


def test_the_least_busy_node_is_first_and_equals_take_turns():
    busy = {"node1": 3, "node2": 0, "node3": 1}
    assert least_busy(EVEN, busy.__getitem__, 0) == ["node2", "node3", "node1"]
    assert {least_busy(EVEN, lambda _: 0, turn)[0] for turn in range(3)} == set(EVEN)
    # one that has just come back takes less
    assert least_busy({"node1": 1.0, "node2": 0.2}, {"node1": 1, "node2": 0}.__getitem__, 0)[0] == "node1"
    assert least_busy({}, lambda _: 0, 0) == []


def test_the_local_node_is_first_and_behind_it_the_nearest():
    latencies = {"node1": 0.001, "node2": 0.02, "node3": 0.005}
    assert local_first(EVEN, "node3", latencies) == ["node3", "node1", "node2"]
    assert local_first(EVEN, None, latencies) == ["node1", "node3", "node2"]
    # it is out: the nearest of the others
    assert local_first({"node1": 1.0, "node2": 1.0}, "node3", latencies) == ["node1", "node2"]


def test_a_ring_begins_where_it_is_told():
    assert rotated(EVEN, "node2") == ["node2", "node3", "node1"]


@pytest.mark.parametrize("name", ["round-robin", "least-busy", "local-first", "by-key"])
def test_a_key_has_one_home_whatever_the_policy(name):
    choice = Choice(Rule(name, LIMITS), EVEN, {})
    assert choice.order("a key", lambda _: 0) == choice.order("a key", lambda _: 9) == homes("a key", EVEN)[:1]
    assert Choice(Rule(name, LIMITS), {}, {}).order("a key", lambda _: 0) == []


@pytest.mark.parametrize("name", ["round-robin", "by-key"])
def test_without_a_key_nodes_take_turns(name):
    choice = Choice(Rule(name, LIMITS), EVEN, {})
    assert choice.take is not None
    assert Counter(choice.take() for _ in range(300)) == Counter(dict.fromkeys(EVEN, 100))
    assert Counter(choice.order(None, lambda _: 0)[0] for _ in range(300)) == Counter(dict.fromkeys(EVEN, 100))
    assert choice.order(None, lambda _: 0, "node2")[0] == "node2"
    assert choice.order(None, lambda _: 0, "node9")[0] in EVEN


def test_nobody_to_choose_from():
    choice = Choice(Rule("round-robin", LIMITS), {}, {})
    assert choice.take is None and choice.order(None, lambda _: 0, "node1") == []
    assert list(islice(iter(round_of({})), 1)) == []
