"""pgunison/agents.py: whatever stands at an agent's address, the orchestrator says what it is."""

from pathlib import Path

import httpx
import pytest

from pgunison import agents as module
from pgunison.agents import Agents, AgentUnreachable
from pgunison.configuration.sysconfig import load
from pgunison.errors import OrchestratorError

CONFIGURATION = load(Path(__file__).parents[2] / "sysconfig.json")
NODE = CONFIGURATION.node("node1")
TOKEN = "the-token"
HEALTH = {"cluster": CONFIGURATION.id, "node": "node1", "problem": None, "failures": 0}


class Answers:
    """Agents with a server of our own behind them: ``answer`` makes a response of a request, ``seen`` are the requests."""

    def __init__(self):
        self.seen: list[httpx.Request] = []
        self.answer = lambda request: httpx.Response(200, json=HEALTH)
        self.agents = Agents(CONFIGURATION, TOKEN, lambda node: node.loopback)
        headers = self.agents._client.headers
        self.agents.close()
        self.agents._client = httpx.Client(transport=httpx.MockTransport(self._handle), headers=headers)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return self.answer(request)

    def says(self, status: int = 200, **content) -> None:
        self.answer = lambda request: httpx.Response(status, **content)

    def refuses(self) -> None:
        def answer(request):
            raise httpx.ConnectError("connection refused", request=request)
        self.answer = answer


@pytest.fixture
def server():
    made = Answers()
    yield made
    made.agents.close()


def test_a_call_goes_to_the_node_with_the_token_and_comes_back(server):
    server.says(json={"jsonrpc": "2.0", "id": 1, "result": {"changed": False, "done": []}})
    assert server.agents.call(NODE, "table.open", Table={"name": "t"}) == {"changed": False, "done": []}
    request, = server.seen
    assert str(request.url) == f"http://{NODE.loopback}:64000/"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert b'"Table":{"name":"t"}' in request.content.replace(b" ", b"")


@pytest.mark.parametrize(("data", "detail", "hint"), [
    ({"detail": "seen", "hint": "do"}, "seen", "do"), (None, "", ""), ("only a text", "only a text", ""), ({}, "", "")])
def test_an_error_of_the_service_is_the_orchestrators(server, data, detail, hint):
    server.says(json={"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "it refuses", "data": data}})
    with pytest.raises(OrchestratorError) as refused:
        server.agents.call(NODE, "node.describe")
    assert (refused.value.message, refused.value.detail, refused.value.hint) == ("node1: it refuses", detail, hint)


@pytest.mark.parametrize("ask", [lambda agents: agents.call(NODE, "node.describe"), lambda agents: agents.problem(NODE)])
def test_nobody_answers(server, ask):
    server.refuses()
    with pytest.raises(AgentUnreachable) as unreachable:
        ask(server.agents)
    assert NODE.loopback in unreachable.value.detail and "refused" in unreachable.value.detail


def test_a_token_that_is_refused(server):
    server.says(401, json={"error": "credentials"})
    with pytest.raises(OrchestratorError, match="token") as refused:
        server.agents.call(NODE, "node.describe")
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("status", [204, 404, 413, 500, 503])
def test_another_http_status(server, status):
    server.says(status, text="x" * 10000)
    with pytest.raises(OrchestratorError, match=str(status)) as refused:
        server.agents.call(NODE, "node.describe")
    assert len(refused.value.detail) <= 200


@pytest.mark.parametrize("content", [{"text": "<html>hello</html>"}, {"json": []}, {"json": {"hello": "world"}}, {"json": None}])
def test_a_foreign_program_answers_the_call(server, content):
    server.says(**content)
    with pytest.raises(OrchestratorError):
        server.agents.call(NODE, "node.describe")


@pytest.mark.parametrize("content", [
    {"text": "<html>hello</html>"}, {"json": []}, {"json": {"hello": "world"}}, {"json": "text"}, {"json": None}, {"content": b"\xff"},
    {"json": {"cluster": CONFIGURATION.id, "node": "node1"}}])
def test_a_foreign_program_at_the_agents_port(server, content):
    server.says(**content)
    with pytest.raises(OrchestratorError, match="foreign program") as foreign:
        server.agents.problem(NODE)
    assert str(CONFIGURATION.agent_port) in foreign.value.message


@pytest.mark.parametrize("who", [{"node": "node2"}, {"cluster": "other"}])
def test_the_agent_of_another_node(server, who):
    server.says(json=HEALTH | who)
    with pytest.raises(OrchestratorError, match="is not that of node1") as other:
        server.agents.problem(NODE)
    assert (who.get("node") or who.get("cluster")) in other.value.detail


def test_problem_is_what_health_says(server):
    assert server.agents.problem(NODE) is None
    server.says(json=HEALTH | {"problem": "PostgreSQL starts"})
    assert server.agents.problem(NODE) == "PostgreSQL starts"


def test_a_kept_connection_that_the_agent_closed_just_then_is_no_dead_agent(server):
    closed = httpx.RemoteProtocolError("Server disconnected without sending a response.")
    in_turn(server, closed, {})
    assert server.agents.problem(NODE) is None and len(server.seen) == 2
    in_turn(server, closed, closed)
    with pytest.raises(AgentUnreachable, match="no agent answers"):
        server.agents.problem(NODE)


# --- waiting ---


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)


def alive(node):
    """The agent's process runs."""


def in_turn(server, *answers) -> None:
    """Answer these one after another: an exception is raised, anything else is put into the health."""
    left = iter(answers)

    def answer(request):
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return httpx.Response(200, json=HEALTH | found)

    server.answer = answer


def failed(failures: int) -> dict:
    return {"problem": "port 5432 is not free", "failures": failures}


def test_waiting_ends_when_postgresql_accepts_connections(server):
    in_turn(server, httpx.ConnectError("not yet"), {"problem": "PostgreSQL is being started"}, failed(1), {})
    server.agents.await_postgresql(NODE, alive)
    assert len(server.seen) == 4


def test_waiting_ends_when_it_failed_to_start_several_times(server):
    in_turn(server, {"problem": "PostgreSQL is being started"}, *[failed(number) for number in range(1, module.FAILED_STARTS + 1)])
    with pytest.raises(OrchestratorError) as refused:
        server.agents.await_postgresql(NODE, alive)
    assert refused.value.detail == "port 5432 is not free"


def test_what_failed_before_may_have_been_mended_since(server):
    in_turn(server, failed(7), failed(7), {})
    server.agents.await_postgresql(NODE, alive)
    in_turn(server, failed(7), failed(7), failed(8))
    with pytest.raises(OrchestratorError, match="does not start"):
        server.agents.await_postgresql(NODE, alive)


def test_waiting_ends_when_the_agent_is_dead(server):
    server.refuses()

    def dead(node):
        raise OrchestratorError("the agent of node1 ended", "port 64000 is not free")

    with pytest.raises(OrchestratorError, match="the agent of node1 ended"):
        server.agents.await_postgresql(NODE, dead)


@pytest.mark.parametrize("last", ["PostgreSQL is being started", None])
def test_waiting_has_a_deadline_that_says_what_was_seen(server, last):
    if last:
        server.says(json=HEALTH | {"problem": last})
    else:
        server.refuses()
    with pytest.raises(OrchestratorError, match="does not start") as late:
        server.agents.await_postgresql(NODE, alive, timeout_s=0)
    assert (last or "refused") in late.value.detail
