"""pgunison/pool/stock.py without nodes: who gets which connection, in which order, and what stays when something fails."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pgunison.configuration.sysconfig import load
from pgunison.contract.waiting import wait_until
from pgunison.endpoints import FILE, Endpoint, Endpoints
from pgunison.errors import UsageError
from pgunison.pool import Pool, Unavailable, stock, tokens
from pgunison.pool.borrowed import Borrowed
from pgunison.pool.node import Lag
from pgunison.pool.policy import homes
from pgunison.pool.router import Router
from pgunison.pool.session import Session
from pgunison.pool.stock import Stock

DEADLINE_S = 20
SYSCONFIG = Path(__file__).resolve().parents[2] / "sysconfig.json"


class Connection:
    """A session that leads nowhere."""

    def __init__(self, lane):
        self.lane, self.node, self.cut_because, self.settled, self.since = lane, lane.endpoint.name, None, True, 0.0
        self.connection, self.handler = SimpleNamespace(closed=False), None

    def alive(self) -> bool:
        return True

    def release(self) -> None:
        """It has no descriptor."""


class World:
    """Two nodes, both ready, one connection each; ``opened`` counts attempts by node, those of a node in ``held`` stand still, ``broken`` ones fail."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch):
        Endpoints("c", "d", tuple(Endpoint(f"node{number}", number, "127.0.0.1", 1, 1) for number in (1, 2))).write(directory)
        configuration = load(SYSCONFIG)
        policies = {"reader1": "local-first"}
        groups = tuple(replace(group, connections_per_node=1, policy=policies.get(group.name, "round-robin")) for group in configuration.groups)
        self.opened: list[str] = []
        self.held: dict[str, threading.Event] = {}
        self.broken: dict[str, BaseException] = {}
        monkeypatch.setattr(Router, "start", lambda _: None)
        monkeypatch.setattr(Stock, "_connect", lambda _, __, lane: self._connect(lane))
        passwords = {role.name: "" for role in configuration.roles}
        self.stock = Stock(replace(configuration, groups=groups), directory / FILE, passwords, "node1")
        monkeypatch.setattr(self.stock, "_slots", SimpleNamespace(close=lambda _: None))
        self.group = self.stock.groups["reader1"]
        for name in ("node1", "node2"):
            self.set(name, state="ready", reason=None)

    def _connect(self, lane) -> Connection:
        name = lane.endpoint.name
        self.opened.append(name)
        if name in self.held:
            assert self.held[name].wait(DEADLINE_S)
        if name in self.broken:
            raise self.broken[name]
        return Connection(lane)

    def set(self, name: str, **what: object) -> None:
        self.stock.router._replace(name, lambda state: replace(state, **what))

    def borrow(self, key: str | None = None, timeout_s: float = DEADLINE_S) -> Session:
        return Borrowed(self.stock, self.group, key, None, timeout_s)._lend()

    def await_waiting(self, count: int) -> None:
        """Wait until so many wait, and each has looked."""
        wait_until(lambda: None if sum(bool(waiter.accepts) for waiter in list(self.group.waiting)) == count else "not yet", f"{count} wait", DEADLINE_S)


@pytest.fixture
def world(tmp_path, monkeypatch) -> Iterator[World]:
    world = World(tmp_path, monkeypatch)
    yield world
    for event in world.held.values():
        event.set()
    world.stock.close()


@pytest.fixture
def callers() -> Iterator[Callable]:
    with ThreadPoolExecutor(16) as pool:
        yield pool.submit


def test_who_came_first_is_served_first(world, callers):
    lent, order = [world.borrow(), world.borrow()], []

    def call(number: int) -> None:
        session = world.borrow()
        order.append(number)
        world.stock.put(session)

    tasks = []
    for number in range(8):
        tasks.append(callers(call, number))
        world.await_waiting(number + 1)
    # one connection, so that they follow each other
    world.stock.put(lent.pop())
    for task in tasks:
        task.result(DEADLINE_S)
    assert order == list(range(8))
    world.stock.put(lent.pop())


@pytest.mark.parametrize("group", ["reader1", "reader2"])
def test_who_comes_later_takes_nothing_from_those_who_wait(world, callers, group):
    world.group = world.stock.groups[group]
    lent = [world.borrow(), world.borrow()]
    first = callers(world.borrow)
    world.await_waiting(1)
    # it lies there for a moment before it is dealt out
    lent[1].lane.idle.append(lent[1])
    for _ in range(2):
        # each node's turn
        with pytest.raises(Unavailable):
            world.borrow(timeout_s=0)
    assert first.result(DEADLINE_S) is lent[1]


def test_who_waits_for_one_node_does_not_stop_who_takes_any(world, callers):
    lent = {session.node: session for session in (world.borrow(), world.borrow())}
    assert set(lent) == {"node1", "node2"}
    key = next(key for key in map(str, range(1000)) if homes(key, {"node1": 1.0, "node2": 1.0})[0] == "node1")
    one = callers(world.borrow, key)
    world.await_waiting(1)
    other = callers(world.borrow)
    world.await_waiting(2)
    world.stock.put(lent["node2"])
    assert other.result(DEADLINE_S) is lent["node2"]
    assert not one.done()
    world.stock.put(lent["node1"])
    assert one.result(DEADLINE_S) is lent["node1"]


def test_nobody_waits_for_a_node_that_is_tried(world, monkeypatch):
    monkeypatch.setattr(stock, "CONNECT_PATIENCE_S", 2 * DEADLINE_S)
    world.held["node1"] = threading.Event()
    world.set("node1", trial=True)
    other = world.borrow()
    assert other.node == "node2" and world.opened.count("node1") == 1
    world.stock.put(other)
    # one attempt is enough
    assert world.borrow() is other and world.opened.count("node1") == 1
    world.held["node1"].set()
    wait_until(lambda: None if world.group.lanes["node1"].idle else "not yet", "it is connected", DEADLINE_S)
    assert world.borrow().node == "node1" and not world.stock.router.states["node1"].trial


@pytest.mark.parametrize("error", [OSError("no"), SystemExit("no")])
def test_an_attempt_that_fails_leaves_its_place(world, error):
    world.broken["node1"] = error
    assert world.borrow().node == "node2"
    lane = world.group.lanes["node1"]
    wait_until(lambda: None if lane.made == 0 and not lane.opening else f"{lane.made} {lane.opening}", "it is given up", DEADLINE_S)
    assert lane.failure == "no"


def test_a_thread_that_cannot_be_started_leaves_its_place(world, monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(world.stock._opener, "submit", refuse)
    with pytest.raises(Unavailable, match="within 0 s") as caught:
        world.borrow(timeout_s=0)
    assert "can't start new thread" in caught.value.detail
    assert all(lane.made == 0 and not lane.opening for lane in world.group.lanes.values())
    monkeypatch.undo()


def test_who_is_interrupted_gives_back_what_was_meant_for_it(world, callers, monkeypatch):
    lent = [world.borrow(), world.borrow()]
    wait = threading.Condition.wait

    def interrupted(self, timeout=None):
        wait(self, timeout)
        if any(waiter.session is not None for waiter in world.group.waiting):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Condition, "wait", interrupted)
        caller = threading.Thread(target=lambda: pytest.raises(KeyboardInterrupt, world.borrow))
        caller.start()
        world.await_waiting(1)
        world.stock.put(lent[0])
        caller.join(DEADLINE_S)
    assert list(lent[0].lane.idle) == [lent[0]] and not world.group.waiting


def test_a_node_that_goes_while_it_is_counted_is_no_error(world):
    class Vanishing(dict):
        def __contains__(self, name):
            found = super().__contains__(name)
            self.pop(name, None)
            return found

    world.group.lanes = Vanishing(world.group.lanes)
    assert world.stock.busy("node1") == 0


def test_who_gets_nothing_is_told_of_each_node(world, monkeypatch):
    lent = [world.borrow(), world.borrow()]
    with pytest.raises(Unavailable) as caught:
        world.borrow(timeout_s=0)
    assert caught.value.detail == "node1: its 1 connections are in use; node2: its 1 connections are in use"
    world.set("node2", lag={"node1": Lag(11.0, 5)})
    with pytest.raises(Unavailable) as caught:
        world.borrow(timeout_s=0)
    assert caught.value.detail == "node1: its 1 connections are in use; node2: it is more than 10 s behind: node1 by 11.0 s"
    world.set("node2", lag={}, state="not ready", reason="it is drained")
    with pytest.raises(Unavailable) as caught:
        world.borrow(timeout_s=0)
    assert caught.value.detail == "node1: its 1 connections are in use; node2: it is drained"
    monkeypatch.setattr(tokens, "_behind", lambda *_: "what node9 has written")
    world.stock.put(lent[0])
    with pytest.raises(Unavailable) as caught:
        Borrowed(world.stock, world.group, None, "1.node9-00-1", 0)._lend()
    assert caught.value.detail == "node1: it lacks what node9 has written; node2: it is drained"


def test_a_group_that_is_not_there_is_told(world):
    pool = object.__new__(Pool)
    pool._stock = world.stock
    assert pool.ready("reader1") == {"node1": 1.0, "node2": 1.0}
    for ask in (pool.ready, pool.connection):
        with pytest.raises(UsageError, match="there is no group reader9"):
            ask("reader9")
