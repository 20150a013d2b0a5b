"""pgunison/pool/router.py and probe.py against agents that are not: what they answer, and when they do not."""

import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pgunison.certificates import Certificates
from pgunison.configuration.sysconfig import NodeSpec
from pgunison.contract.waiting import wait_until
from pgunison.endpoints import FILE, Endpoint, Endpoints
from pgunison.pool.node import Limits, Positions
from pgunison.pool.router import Router, Rule

DEADLINE_S = 20


class Agent:
    """An agent on a loopback address: ``answer`` is what it says (None: it lets its caller wait), ``asked`` counts."""

    def __init__(self, number: int, tls: ssl.SSLContext | None = None, port: int = 0):
        self.name, self.asked, self.connections = f"node{number}", 0, 0
        self.answer: dict | bytes | None = {"ready": True, "reason": None, "life": "aa", "position": "0/10", "started": 1.0, "lag": []}
        self._ended = threading.Event()
        agent = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                agent.connections += 1
                super().setup()

            def do_GET(self):
                if agent._ended.is_set():
                    # a process that has ended answers nobody
                    self.close_connection = True
                    return
                agent.asked += 1
                while agent.answer is None and not agent._ended.is_set():
                    time.sleep(0.01)
                said = {} if agent.answer is None else agent.answer
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(200 if isinstance(said, bytes) or said.get("ready") else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address, block_on_close = True, True, False

            def handle_error(self, request, client_address):
                """Its caller has gone."""

        self._server = Server(("127.0.0.1", port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.endpoint = Endpoint(self.name, number, "127.0.0.1", 1, self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class World:
    """Two agents and a router that follows them."""

    def __init__(self, directory):
        self.directory, self.changes, self.ticks = directory, [], 0
        self.agents = [Agent(1), Agent(2)]
        self.write(self.agents)
        self.router = Router(directory / FILE, {"g": Rule("round-robin", Limits(5, 0.5))}, self._tick, self.changes.append)
        self.router.start()

    def _tick(self):
        self.ticks += 1

    def write(self, agents):
        Endpoints("c", "d", tuple(agent.endpoint for agent in agents)).write(self.directory)

    def taking(self) -> set[str]:
        return set(self.router.choices["g"].weights)

    def await_taking(self, *names: str) -> None:
        wait_until(lambda: None if self.taking() == set(names) else f"{self.taking()}: {self.router.states}", f"{names} take work", DEADLINE_S)

    def state(self, name: str) -> str:
        return self.router.states[name].state


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    world = World(tmp_path)
    world.router.await_first_answers(DEADLINE_S)
    world.await_taking("node1", "node2")
    yield world
    world.router.close()
    for agent in world.agents:
        agent.end()


def test_asks_again_and_again_on_one_connection(world):
    asked = world.agents[0].asked
    wait_until(lambda: None if world.agents[0].asked >= asked + 2 else "not yet", "it is asked again", DEADLINE_S)
    assert world.agents[0].connections == 1


def test_a_node_that_is_not_ready_is_out_and_says_why(world):
    world.agents[1].answer = {"ready": False, "reason": "it is drained"}
    world.await_taking("node1")
    assert world.router.why("node2") == "it is drained" and world.state("node2") == "not ready"
    assert "node2" in world.changes


def test_an_agent_that_is_gone_is_told_at_once_and_taken_in_when_it_is_back(world):
    world.agents[1].end()
    world.router.suspect("node2")
    world.await_taking("node1")
    wait_until(lambda: None if world.state("node2") == "refused" else world.state("node2"), "it is refused", DEADLINE_S)
    assert "no agent answers" in world.router.why("node2")
    world.agents.append(Agent(2, port=world.agents[1].endpoint.agent_port))
    world.await_taking("node1", "node2")
    assert world.router.states["node2"].missed == 0


def test_an_error_that_nobody_expected_is_told_and_the_node_is_asked_again(world, monkeypatch, caplog):
    faults: list[str] = []

    def slip(_: Positions, name: str, *__: object) -> None:
        faults.append(name)
        raise AttributeError("a slip")

    with monkeypatch.context() as patch:
        patch.setattr(Positions, "note", slip)
        wait_until(lambda: None if "node2" in faults else "not yet", "it fails", DEADLINE_S)
    world.agents[1].answer = {"ready": False, "reason": "it is drained"}
    world.await_taking("node1")
    assert "is asked again" in caplog.text and "a slip" in caplog.text


def test_an_agent_that_stands_still_is_silent_and_comes_back_by_a_trial(world):
    answer, world.agents[1].answer = world.agents[1].answer, None
    # a call takes long
    wait_until(lambda: world.router.ask("node2") or (None if world.state("node2") == "silent" else world.state("node2")), "it is silent", DEADLINE_S)
    assert world.taking() == {"node1"}
    world.agents[1].answer = answer
    world.await_taking("node1", "node2")
    assert world.router.states["node2"].trial and world.router.choices["g"].weights["node2"] < 1
    world.router.proved("node2")
    assert not world.router.states["node2"].trial
    wait_until(lambda: None if world.router.choices["g"].weights["node2"] == 1 else "not yet", "it has its whole share", DEADLINE_S)


def test_a_suspicion_ends_with_the_next_answer_and_costs_no_share(world):
    asked = world.agents[1].asked
    world.router.suspect("node2")
    world.await_taking("node1", "node2")
    assert world.agents[1].asked > asked
    assert world.router.choices["g"].weights == {"node1": 1.0, "node2": 1.0}


@pytest.mark.parametrize("nonsense", [b"", b"[]", b"{}", b'{"ready": true}', b"\xff", b'{"ready": true, "reason": null, "position": "x"}'])
def test_what_is_no_agent_takes_no_work(world, nonsense):
    world.agents[1].answer = nonsense
    world.router.suspect("node2")
    world.await_taking("node1")
    wait_until(lambda: None if "is no agent of this version" in world.router.why("node2") else world.router.why("node2"), "it says so", DEADLINE_S)


def test_nodes_come_and_go_with_the_file(world, monkeypatch, caplog):
    third = Agent(3)
    world.agents.append(third)
    world.write(world.agents)
    world.await_taking("node1", "node2", "node3")
    world.write(world.agents[1:])
    world.await_taking("node2", "node3")
    assert None in world.changes and world.router.why("node1") == "it is no node any more"
    # half a file, and none: what is known stays
    with monkeypatch.context() as patch:
        looks, look = [], Router._stamp_of_file
        patch.setattr(Router, "_stamp_of_file", lambda router: (looks.append(1), look(router))[1])
        for spoil in (lambda file: file.write_text('{"version"'), Path.unlink):
            spoil(world.directory / FILE)
            looks.clear()
            # the first one may have begun before
            wait_until(lambda: None if len(looks) >= 2 else "not yet", "it has looked", DEADLINE_S)
            wait_until(lambda ticks=world.ticks: None if world.ticks > ticks else "not yet", "it has done with it", DEADLINE_S)
            assert world.taking() == {"node2", "node3"}
    assert "the router goes on" not in caplog.text


def test_a_node_that_moves_is_asked_at_its_new_place(world):
    moved = Agent(2)
    world.agents.append(moved)
    world.write([world.agents[0], moved])
    wait_until(lambda: None if moved.asked else "not yet", "it is asked", DEADLINE_S)
    world.await_taking("node1", "node2")


def test_a_fault_of_whoever_watches_ends_nothing(tmp_path, caplog):
    agent = Agent(1)
    Endpoints("c", "d", (agent.endpoint,)).write(tmp_path)

    def watch() -> None:
        raise RuntimeError("a slip")

    router = Router(tmp_path / FILE, {"g": Rule("round-robin", Limits(5, 0.5))}, watch, lambda _: None)
    router.start()
    try:
        wait_until(lambda: None if router.choices["g"].weights else "not yet", "it takes work", DEADLINE_S)
    finally:
        router.close()
        agent.end()
    assert "the router goes on" in caplog.text


@pytest.mark.parametrize("trusted", [True, False])
def test_an_agent_is_asked_by_tls_where_the_endpoints_say_so(tmp_path, trusted):
    """Only one whose certificate comes from the cluster's authority, for the address that was asked."""
    authority, other = Certificates("c", tmp_path / "own"), Certificates("c", tmp_path / "other")
    authority.ensure()
    other.ensure()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain((authority if trusted else other).node(NodeSpec("node1", 1, "127.0.0.1", "127.0.0.1")))
    agent = Agent(1, context)
    Endpoints("c", "d", (agent.endpoint,), str(authority.authorities)).write(tmp_path)
    router = Router(tmp_path / FILE, {"g": Rule("round-robin", Limits(5, 5))}, lambda: None, lambda _: None)
    router.start()
    try:
        router.await_first_answers(DEADLINE_S)
        wait_until(lambda: None if router.states["node1"].state != "unknown" else "not yet", "it was asked", DEADLINE_S)
        assert set(router.choices["g"].weights) == ({"node1"} if trusted else set())
        assert trusted or "certificate verify failed" in router.why("node1")
    finally:
        router.close()
        agent.end()


def test_authorities_that_are_others_now_are_read_again(tmp_path):
    old, new = Certificates("c", tmp_path / "old"), Certificates("c", tmp_path / "new")
    old.ensure()
    new.ensure()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(new.node(NodeSpec("node1", 1, "127.0.0.1", "127.0.0.1")))
    agent = Agent(1, context)
    Endpoints("c", "d", (agent.endpoint,), str(old.authorities)).write(tmp_path)
    router = Router(tmp_path / FILE, {"g": Rule("round-robin", Limits(5, 5))}, lambda: None, lambda _: None)
    router.start()
    try:
        wait_until(lambda: None if "certificate verify failed" in router.why("node1") else router.why("node1"), "it is not trusted", DEADLINE_S)
        # nothing that can be read, for a moment, is no fault
        old.authorities.write_text("")
        old.authorities.write_bytes(new.authorities.read_bytes())
        wait_until(lambda: None if router.choices["g"].weights else router.why("node1"), "it is trusted", DEADLINE_S)
    finally:
        router.close()
        agent.end()
