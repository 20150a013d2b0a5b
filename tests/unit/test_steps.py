"""pgunison/cluster/steps.py: what each step asks of a node is what the definition of the service takes. The host itself checks no call: the node does."""

from itertools import permutations
from pathlib import Path

import pytest

from esb_config.definition import services
from esb_config.document import check
from pgunison.cluster.desired import desired
from pgunison.cluster.site import Site
from pgunison.cluster.steps import AdmitNode, OpenTable, PrepareNode, Publish, SetUpTable, Subscribe
from pgunison.configuration.sysconfig import load

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
