"""container/heart.py: nobody waits long for a server that stands still, and one question is open at a time."""

import threading
import time

import pytest

from container.heart import Heart
from services.errors import ServiceError

DEADLINE_S = 10


def test_answers_what_postgresql_says():
    assert Heart(lambda: {"name": "node1"}).beat() == (None, {"name": "node1"})


def test_a_server_that_stands_still_is_told_in_time_and_asked_once():
    asked, thawed = [], threading.Event()

    def ask():
        asked.append(1)
        assert thawed.wait(DEADLINE_S)
        return {"name": "node1"}

    heart = Heart(ask, patience_s=0.05)
    silent, facts = heart.beat()
    assert silent and silent.startswith("PostgreSQL has not answered for 0.") and facts == {}
    began = time.monotonic()
    for _ in range(20):
        assert heart.beat()[0]
    # nobody else waits for it: all of them together no longer than one would
    assert time.monotonic() - began < 20 * 0.05
    assert asked == [1]
    thawed.set()
    until = time.monotonic() + DEADLINE_S
    while heart.beat()[0]:
        assert time.monotonic() < until
    assert heart.beat() == (None, {"name": "node1"})


def test_many_at_once_get_one_answer():
    asked, go = [], threading.Event()

    def ask():
        asked.append(1)
        assert go.wait(DEADLINE_S)
        return {}

    heart = Heart(ask, patience_s=DEADLINE_S)
    answers: list = []
    callers = [threading.Thread(target=lambda: answers.append(heart.beat())) for _ in range(8)]
    for caller in callers:
        caller.start()
    go.set()
    for caller in callers:
        caller.join(DEADLINE_S)
    assert answers == [(None, {})] * 8
    assert len(asked) < 8


@pytest.mark.parametrize("error", [ServiceError("PostgreSQL does not say how the node does", "no table unison.node", ""), RuntimeError("a slip")])
def test_a_question_that_fails_is_no_silence_and_is_asked_again(error, caplog):
    """Why the database is of no use is told by who looks into it; here it is logged, once."""
    now = [100.0]
    failing = [error]

    def ask():
        if failing:
            raise failing[0]
        return {"name": "node1"}

    heart = Heart(ask, clock=lambda: now[0])
    for _ in range(3):
        now[0] += 1
        assert heart.beat() == (None, {})
    assert len(caplog.records) == 1
    failing.clear()
    now[0] += 1
    assert heart.beat() == (None, {"name": "node1"})


def test_a_machine_without_a_thread_left_is_no_silence_and_is_asked_again(monkeypatch, caplog):
    heart = Heart(lambda: {"name": "node1"})
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(2):
            assert heart.beat() == (None, {})
    assert [record.getMessage() for record in caplog.records] == ["PostgreSQL cannot be asked: can't start new thread"]
    assert heart.beat() == (None, {"name": "node1"})


def no_thread(_):
    raise RuntimeError("can't start new thread")
