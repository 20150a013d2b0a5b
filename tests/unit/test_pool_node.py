"""pgunison/pool/node.py: what follows for new work from what was heard of a node."""

import pytest

from pgunison.pool.node import RAMP_FROM, RAMP_S, Heard, Lag, Limits, NodeState, Positions, answered, eligible, lsn, missed, proved, suspected

LIMITS = Limits(max_lag_s=5, max_latency_s=0.25)
WELL = Heard(True, None, life="aa", position=100, started=1.0)


def ready(name: str, **other) -> NodeState:
    return NodeState(name, **{"state": "ready", "reason": None, "started": 1.0} | other)


def behind(seconds: float) -> dict[str, Lag]:
    return {"node9": Lag(seconds, 1000)}


def test_a_node_is_ready_at_its_first_answer_and_gets_its_whole_share():
    state = answered(NodeState("node1"), WELL, {}, 10, 0.01)
    assert state.takes_work and not state.trial and state.weight(10) == 1


def test_a_node_that_comes_back_is_tried_and_gets_its_share_by_and_by():
    down = missed(ready("node1"), "no agent", refused=True)
    assert down.state == "refused" and not down.takes_work
    back = answered(down, WELL, {}, 100, 0.01)
    assert back.takes_work and back.trial and not proved(back).trial
    weights = [back.weight(100 + RAMP_S * part) for part in (0, 0.25, 0.5, 1, 9)]
    assert weights == sorted(weights) and weights[0] == RAMP_FROM and weights[3:] == [1, 1]


def test_a_server_that_was_started_again_between_two_answers_has_been_away():
    back = answered(suspected(ready("node1")), Heard(True, None, started=2.0), {}, 100, 0.01)
    assert back.trial and back.weight(100) == RAMP_FROM


def test_an_answer_that_leaves_out_when_the_server_was_started_tells_of_no_start():
    again = answered(ready("node1"), Heard(True, None), {}, 100, 0.01)
    assert not again.trial and again.weight(100) == 1
    assert answered(again, Heard(True, None, started=2.0), {}, 101, 0.01).trial


def test_a_lost_connection_alone_costs_a_node_no_share():
    suspect = suspected(ready("node1"))
    assert not suspect.takes_work
    again = answered(suspect, WELL, {}, 100, 0.01)
    assert again.takes_work and not again.trial and again.weight(100) == 1


def test_one_probe_without_an_answer_is_an_accident_and_two_are_silence():
    once = missed(ready("node1"), "it does not answer", refused=False)
    assert (once.state, once.suspect, once.takes_work) == ("ready", True, False)
    assert missed(once, "it does not answer", refused=False).state == "silent"
    assert answered(once, WELL, {}, 100, 0.01).weight(100) == 1


def test_a_frozen_postgresql_is_silence_too():
    state = answered(ready("node1"), Heard(False, "PostgreSQL has not answered for 0.4 s", silent=True), {}, 1, 0.01)
    assert (state.state, state.reason) == ("silent", "PostgreSQL has not answered for 0.4 s")


def test_nobody_who_is_not_ready_is_suspected():
    for state in (NodeState("node1"), ready("node1", state="not ready"), ready("node1", state="silent")):
        assert suspected(state) == state


@pytest.mark.parametrize(("states", "expected"), [
    ([ready("a"), ready("b")], {"a", "b"}),
    ([ready("a"), ready("b", state="not ready")], {"a"}),
    ([ready("a"), ready("b", state="silent")], {"a"}),
    ([ready("a"), ready("b", suspect=True)], {"a"}),
    ([ready("a"), NodeState("b")], {"a"}),
    # too far behind, too slow
    ([ready("a"), ready("b", lag=behind(5.1))], {"a"}),
    ([ready("a"), ready("b", lag=behind(4.9))], {"a", "b"}),
    ([ready("a"), ready("b", latency_s=0.3)], {"a"}),
    # when all are out for lag or slowness, all are in
    ([ready("a", lag=behind(9)), ready("b", lag=behind(99))], {"a", "b"}),
    ([ready("a", latency_s=1), ready("b", lag=behind(99))], {"a", "b"}),
    # never one that is out for a reason of data, or is suspect
    ([ready("a", state="not ready"), ready("b", lag=behind(99)), ready("c", suspect=True)], {"b"}),
    ([ready("a", state="not ready"), ready("b", state="silent")], set()),
    ([], set()),
])
def test_who_gets_new_work(states, expected):
    assert set(eligible(states, LIMITS, 100)) == expected


def test_latency_follows_what_is_measured():
    state = answered(NodeState("node1"), WELL, {}, 1, 0.1)
    assert state.latency_s == 0.1
    for moment in range(2, 30):
        state = answered(state, WELL, {}, moment, 0.5)
    assert 0.49 < state.latency_s <= 0.5


def heard(applied: int, origin: str = "node1", seconds: float = 0.0) -> Heard:
    return Heard(True, None, applied={origin: applied}, seconds={origin: seconds})


def test_lag_is_since_when_a_node_lacks_something():
    positions = Positions()
    for moment, position in ((10, 100), (11, 200), (12, 300), (13, 300)):
        positions.note("node1", Heard(True, None, life="aa", position=position), moment)
    assert positions.lag(heard(300), ["node1"], 14) == {"node1": Lag(0.0, 0)}
    assert positions.lag(heard(299), ["node1"], 14) == {"node1": Lag(2.0, 1)}
    assert positions.lag(heard(100), ["node1"], 14) == {"node1": Lag(3.0, 200)}
    assert positions.lag(heard(50), ["node1"], 14) == {"node1": Lag(4.0, 250)}


def test_where_the_origin_is_silent_a_node_speaks_for_itself():
    assert Positions().lag(heard(50, seconds=7.5), ["node1", "node2"], 14) == {"node1": Lag(7.5, None)}


def test_another_life_begins_anew():
    positions = Positions()
    positions.note("node1", Heard(True, None, life="aa", position=1000), 10)
    positions.note("node1", Heard(True, None, life="bb", position=10), 20)
    assert positions.lag(heard(10), ["node1"], 30) == {"node1": Lag(0.0, 0)}
    positions.forget(["node1"])
    assert positions.lag(heard(5), ["node1"], 30) == {"node1": Lag(0.0, None)}


def test_reads_what_an_agent_says():
    answer = {"ready": True, "reason": None, "node": "node2", "life": "0b7e4d55", "position": "1/10", "started": 5.5,
              "lag": [{"origin": "node1", "life": "3fa29c01", "applied": "0/20", "seconds": 0.25},
                      {"origin": "node3", "life": None, "applied": None, "seconds": 3}]}
    found = Heard.of(answer)
    assert found == Heard(True, None, False, "0b7e4d55", 2**32 + 16, 5.5, {"node1": 32}, {"node1": 0.25, "node3": 3.0})
    # an older one
    assert Heard.of({"ready": False, "reason": "joining"}) == Heard(False, "joining")


def test_positions_are_numbers():
    assert lsn("16/B374D848") == 0x16B374D848
