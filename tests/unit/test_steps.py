"""pgunison/cluster/steps.py: what each step asks of a node is what the definition of the service takes. The host itself checks no call: the node does."""

from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import pytest

from esb_config.definition import services
from esb_config.document import check
from pgunison.agents import AgentUnreachable
from pgunison.cluster import steps
from pgunison.cluster.desired import desired
from pgunison.cluster.site import Site
from pgunison.cluster.steps import AdmitNode, AwaitNode, OpenTable, PrepareNode, Publish, SetUpTable, Subscribe
from pgunison.configuration.sysconfig import load
from pgunison.errors import OrchestratorError

CONFIGURATION = load(Path(__file__).parents[2] / "sysconfig.json")


@pytest.fixture
def asked(tmp_path, monkeypatch) -> list[dict]:
    """Do every step that calls a service, on each node, against agents that take anything; gives the calls."""
    monkeypatch.setenv("PGUNISON_STATE", str(tmp_path))
    calls = []
    with Site.of(CONFIGURATION, "process", make=True) as site:
        monkeypatch.setattr(site.agents, "_post", lambda node, body, timeout_s: calls.append(body["params"]) or {"result": {}})
        nodes = desired(CONFIGURATION).nodes
        for node in nodes:
            PrepareNode(node.name, node.roles).run(site)
            Publish(node.name).run(site)
            AdmitNode(node.name).run(site)
            for table in node.tables:
                SetUpTable(node.name, table).run(site)
                OpenTable(node.name, table).run(site)
        for source, target in permutations(nodes, 2):
            Subscribe(target.name, source.name).run(site)
    return calls


def test_a_step_asks_what_its_service_takes(asked):
    for call in asked:
        check(call)
    assert {call["SYSServiceID"] for call in asked} == {"node.prepare", "publication.setup", "node.admit", "table.setup", "table.open", "subscription.setup"}
    assert {call["SYSServiceID"] for call in asked} <= {name for name, service in services().items() if service.changes}


class Slow:
    """A node whose agent is slow to answer so many questions; ``said`` is what it says of its process."""

    def __init__(self, late: int, said: OrchestratorError | None = None):
        self.late, self.said, self.asked = late, said, 0
        self.runtime = SimpleNamespace(certificates=None, require_running=self.require_running)
        self.agents = SimpleNamespace(await_postgresql=lambda node, alive: None)

    def spec(self, name: str) -> str:
        return name

    def require_running(self, node: str) -> None:
        if self.said:
            raise self.said

    def call(self, node: str, service_id: str, timeout_s: float) -> dict:
        self.asked += 1
        if self.asked <= self.late:
            raise AgentUnreachable("no agent answers for node1", "timed out", "up")
        return {}


def test_a_node_that_is_slow_to_answer_is_asked_again():
    slow = Slow(late=3)
    AwaitNode("node1").run(slow)
    assert slow.asked == 4


def test_a_node_that_never_answers_is_given_up_in_the_end(monkeypatch):
    monkeypatch.setattr(steps, "DESCRIBE_TIMEOUT_S", 0.0)
    with pytest.raises(AgentUnreachable, match="no agent answers"):
        AwaitNode("node1").run(Slow(late=10**9))


def test_a_node_whose_agent_has_ended_is_not_asked_again():
    slow = Slow(late=10**9, said=OrchestratorError("the agent of node1 ended", "", ""))
    with pytest.raises(OrchestratorError, match="ended"):
        AwaitNode("node1").run(slow)
    assert slow.asked == 1
