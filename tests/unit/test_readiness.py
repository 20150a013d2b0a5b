"""container/readiness.py: what is asked of the database, and how often."""

from container.readiness import READY_FOR_S, Readiness


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
