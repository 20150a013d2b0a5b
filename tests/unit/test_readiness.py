"""container/readiness.py: what is asked of the database, and how often."""

import threading
import time

import pytest

from container.readiness import LOOK_AHEAD_S, READY_FOR_S, Answer, Readiness

DEADLINE_S = 10


class Node:
    def __init__(self):
        self.now, self.looks = 100.0, 0
        self.ailment: str | None = None
        self.fault: str | None = None
        self.readiness = Readiness(lambda: self.ailment, self._look, lambda: self.now)

    def _look(self) -> str | None:
        self.looks += 1
        return self.fault


def test_a_node_that_is_ready_is_not_looked_at_again_for_a_moment():
    node = Node()
    assert [node.readiness.reason() for _ in range(10)] == [None] * 10
    assert node.looks == 1
    node.now += READY_FOR_S
    node.fault = "a part of the merge is off"
    assert node.readiness.reason() == node.fault


def test_who_asks_regularly_does_not_wait_for_a_look():
    """The look stands still, and the answers go on until the verdict is too old; a fault that it finds is told at the next question."""
    node, go = Node(), threading.Event()
    assert node.readiness.reason() is None
    look = node.readiness._look

    def slow() -> str | None:
        assert go.wait(DEADLINE_S)
        return look()

    node.readiness._look = slow
    node.now += LOOK_AHEAD_S + 0.5
    node.fault = "a part of the merge is off"
    assert [node.readiness.reason() for _ in range(5)] == [None] * 5
    go.set()
    until = time.monotonic() + DEADLINE_S
    while node.readiness.reason() is None:
        assert time.monotonic() < until
    assert node.readiness.reason() == node.fault


def test_the_end_of_a_fault_is_told_at_once():
    node = Node()
    node.fault = "a part of the merge is off"
    assert [node.readiness.reason() for _ in range(3)] == [node.fault] * 3
    node.fault = None
    assert node.readiness.reason() is None


def test_what_the_keeper_knows_is_told_at_once():
    node = Node()
    assert node.readiness.reason() is None
    node.ailment = "PostgreSQL ended"
    assert node.readiness.reason() == node.ailment and node.looks == 1
    node.ailment = None
    # it may be another one after that
    assert node.readiness.reason() is None and node.looks == 2


FACTS = {"name": "node1", "position": "0/10", "lag": [{"origin": "node2", "seconds": 0.0}, {"origin": "node3", "seconds": 7.25}]}


DRAINED = FACTS | {"drained": {"by": "ops@host1", "since": "2026-11-26 23:00:00 UTC"}}


@pytest.mark.parametrize(("reason", "facts", "said"), [
    (None, DRAINED, "drained by ops@host1 since 2026-11-26 23:00:00 UTC"), ("a table is broken", DRAINED, "a table is broken"),
    (None, FACTS | {"drained": None}, None)])
def test_a_node_that_is_drained_is_not_ready_at_that_moment(reason, facts, said):
    answer = Answer(lambda: reason, lambda: (None, facts)).of()
    assert (answer["ready"], answer["reason"]) == (said is None, said)
    assert answer.get("drained", False) is (facts["drained"] is not None)


@pytest.mark.parametrize(("silent", "reason", "facts", "max_lag_s", "said"), [
    (None, None, FACTS, None, None),
    (None, None, FACTS, 8, None),
    (None, None, FACTS, 5, "it is more than 5 s behind: node3 by 7.2 s"),
    (None, "a table is broken", FACTS, 5, "a table is broken"),
    ("PostgreSQL has not answered for 0.4 s", None, {}, None, "PostgreSQL has not answered for 0.4 s"),
    (None, None, {}, None, None),
    (None, None, {}, 5, "how far it is behind is not known")])
def test_a_node_is_ready_for_whoever_takes_rows_of_that_age(silent, reason, facts, max_lag_s, said):
    answer = Answer(lambda: reason, lambda: (silent, facts)).of(max_lag_s)
    assert (answer["ready"], answer["reason"]) == (said is None, said)
    assert answer.get("node") == facts.get("name") and answer.get("lag") == facts.get("lag")


def test_a_server_that_stands_still_is_asked_nothing_more():
    asked = []
    Answer(lambda: asked.append(1), lambda: ("PostgreSQL has not answered for 0.4 s", {})).of()
    assert not asked


def test_a_machine_without_a_thread_left_is_looked_at_when_the_verdict_is_too_old(monkeypatch):
    node = Node()
    assert node.readiness.reason() is None
    node.now += LOOK_AHEAD_S + 0.1

    def no_thread(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert [node.readiness.reason() for _ in range(2)] == [None] * 2
    assert node.looks == 1
    node.now += READY_FOR_S
    node.fault = "a part of the merge is off"
    # else it would wait here for ever
    assert node.readiness._looking.acquire(timeout=0)
    node.readiness._looking.release()
    assert node.readiness.reason() == node.fault
