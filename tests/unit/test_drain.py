"""pgunison/cluster/drain.py: who may leave service, and how the clients are asked to go."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pgunison.cluster.drain import GONE_S, LAST_S, let_go, refusal
from pgunison.commands import drain as command
from pgunison.contract import waiting
from tests.unit.world import table, wanted

WANTED = wanted(3, table("table1"))
DRAINED = {"by": "ops@host1", "since": "2026-11-26 23:00:00 UTC"}


def cluster(**states):
    """The three nodes, each with some changes."""
    made = WANTED
    for name, changes in states.items():
        made = made.with_node(replace(WANTED.node(name), **changes))
    return made


STOPPED = {"process": "stopped", "serving": False}


@pytest.mark.parametrize(("found", "message", "hint"), [
    (cluster(), None, None),
    (cluster(node2=STOPPED), None, None),
    (cluster(node2=STOPPED, node3={"drained": DRAINED}), "node1 is the last node that is ready", "drain node1 --force"),
    (cluster(node1={"drained": DRAINED}, node2=STOPPED, node3=STOPPED), None, None),
    (cluster(node1=STOPPED), "node1 cannot be drained: it is stopped", "up node1"),
    (cluster(node1={"serving": False}), "node1 cannot be drained: it is joining", "up node1"),
    (cluster(node1={"stale": "an old copy", "serving": False}), "node1 cannot be drained: it is stale", "up node1"),
    (cluster(node1={"unkept": "the maintenance fails"}), None, None)])
def test_who_may_leave_service(found, message, hint):
    refused = refusal(found, "node1", force=False)
    assert (refused.message if refused else None) == message
    assert refused is None or hint in refused.hint


def test_the_last_one_may_by_force_and_one_that_does_not_answer_may_not():
    assert refusal(cluster(node2=STOPPED, node3=STOPPED), "node1", force=True) is None
    assert refusal(cluster(node1=STOPPED), "node1", force=True) is not None


class Clients:
    """Clients that leave at some second of their own, or stay; ``running`` are in a transaction until some second. It is the clock, too."""

    def __init__(self, idle: list[float], running: list[float] = (), coming_back: int = 0):
        self.now, self.asked, self.looks = 0.0, [], 0
        self._idle, self._running, self._coming_back = list(idle), list(running), coming_back

    def ask(self, end: str) -> tuple[int, int]:
        self._idle = [leaves for leaves in self._idle if leaves > self.now]
        self._running = [leaves for leaves in self._running if leaves > self.now]
        found = len(self._idle), len(self._running)
        self.looks += 1
        if end != "none":
            self.asked.append((end, round(self.now)))
            self._idle = [1e9] * self._coming_back
        if end == "all":
            self._running = []
        return found

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def let_go(self, grace_s: float) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(waiting, "time", self)
            return let_go(self.ask, grace_s)


@pytest.mark.parametrize(("clients", "asked"), [
    (Clients([]), []),
    (Clients([3.0], [9.0]), []),
    (Clients([1e9], [9.0]), [("idle", 10)]),
    (Clients([], [12.0]), [("idle", 10)]),
    (Clients([1e9], [1e9]), [("idle", 10), ("all", 10 + LAST_S)])])
def test_clients_have_the_grace_then_idle_ones_are_ended_then_all(clients, asked):
    assert clients.let_go(10) == 0
    assert clients.asked == asked


def test_without_grace_idle_connections_end_at_once():
    clients = Clients([1e9])
    assert clients.let_go(0) == 0 and clients.asked == [("idle", 0)]


def test_those_that_come_back_are_counted():
    clients = Clients([1e9], [], coming_back=2)
    assert clients.let_go(1) == 2
    assert clients.now == pytest.approx(1 + LAST_S + GONE_S, abs=0.5)


def test_a_long_grace_asks_seldom_and_notices_soon_that_they_are_gone():
    clients = Clients([600.0])
    assert clients.let_go(86400) == 0
    assert clients.looks < 620
    assert clients.now == pytest.approx(600, abs=1.1)


def test_the_way_back_is_told_by_the_name_that_the_program_was_called_by(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["/usr/local/bin/pgunison", "drain", "node1"])
    for name in ("only_orchestrator", "recorded"):
        monkeypatch.setattr(command, name, lambda *words: nullcontext())
    site = SimpleNamespace(spec=str, observe=lambda patience_s: cluster(), configuration=SimpleNamespace(min_nodes=1),
                           call=lambda node, service, **words: {"idle": 0, "running": 0})
    command.drain(SimpleNamespace(site=lambda: site, directory=str), "node1", 0, False)
    assert "node1 is drained, its links go on; pgunison resume node1 puts it into service again" in capsys.readouterr().err
