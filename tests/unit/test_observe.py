"""pgunison/cluster/observe.py: what the two ends of a link say, in one word."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from pgunison.agents import AgentUnreachable
from pgunison.certificates import Shown
from pgunison.cluster.observe import observe
from pgunison.cluster.state import Link
from pgunison.configuration.sysconfig import load
from pgunison.errors import OrchestratorError

CONFIGURATION = load(Path(__file__).parents[2] / "sysconfig.json")
GOOD = {"seeded": True, "complete": True, "enabled": True, "worker": True, "errors": 0}
SENDER = {"state": "streaming", "lag_bytes": 8, "wal_status": "reserved"}


class Fakes:
    """A runtime and its agents: three nodes, of which each answers what is in ``answers``."""

    def __init__(self):
        self.states = {f"node{k}": "running" for k in (1, 2, 3)}
        self.problems = dict.fromkeys(self.states)
        self.answers = {name: self.answer(name) for name in self.states}
        self.runtime = SimpleNamespace(nodes=lambda: list(self.states), state=lambda spec: self.states[spec.name],
                                       outdated=lambda spec: spec.name in self.old, has_server=lambda spec: spec.name in self.servers,
                                       address=lambda spec: spec.loopback)
        self.old: set[str] = set()
        self.servers = set(self.states)
        self.warnings: list[str] = []
        self.unkept: str | None = None
        self.ends = datetime(2027, 11, 22, tzinfo=UTC)

    def answer(self, name: str) -> dict:
        peers = [peer for peer in self.states if peer != name]
        return {"prepared": True, "serving": True, "roles": ["writer1", "stranger"], "tables": [], "server_version": "18.1", "upkeep": None,
                "subscriptions": [GOOD | {"source": peer} for peer in peers], "senders": [SENDER | {"target": peer} for peer in peers]}

    def health(self, spec, timeout_s):
        if isinstance(self.problems[spec.name], Exception):
            raise self.problems[spec.name]
        return {"problem": self.problems[spec.name], "failures": 0, "warnings": self.warnings, "unkept": self.unkept}

    def probe(self, address, port, timeout_s):
        return address in {spec.loopback for spec in CONFIGURATION.nodes if spec.name in self.servers}

    def call(self, spec, service_id, timeout_s):
        assert service_id == "node.describe"
        return self.answers[spec.name]

    def certificate(self, spec):
        return Shown(31, self.ends)

    def look(self):
        return observe(CONFIGURATION, self.runtime, self, 10.0)

    def link(self) -> str:
        return self.look().link("node1", "node2").state

    def end(self, **changes) -> str:
        """Change what node2 says of its subscription to node1; returns the link's state."""
        self.answers["node2"]["subscriptions"][0] |= changes
        return self.link()

    def start(self, **changes) -> str:
        """Change what node1 says of its slot for node2; returns the link's state."""
        self.answers["node1"]["senders"][0] |= changes
        return self.link()


@pytest.fixture
def fakes(monkeypatch):
    made = Fakes()
    monkeypatch.setattr("pgunison.cluster.observe.postgresql_answers", made.probe)
    return made


def test_all_is_well(fakes):
    look = fakes.look()
    assert {node.state for node in look.nodes} == {"ready"}
    assert {link.state for link in look.links} == {"streaming"} and len(look.links) == 6
    assert look.link("node1", "node2").lag_bytes == 8
    assert look.nodes[0].roles == ("writer1",)


def test_a_node_that_is_not_maintained_is_not_ready(fakes):
    fakes.warnings = ["the maintenance of public.table1 fails for 2 min"]
    assert {node.state for node in fakes.look().nodes} == {"ready"}
    fakes.unkept = "the maintenance of public.table1 fails for 6 min"
    assert {node.state for node in fakes.look().nodes} == {"faulty"}


@pytest.mark.parametrize(("change", "state"), [
    ({"seeded": False, "enabled": False}, "unseeded"), ({"complete": False}, "incomplete"), ({"enabled": False}, "disabled"),
    ({"worker": False}, "worker down")])
def test_what_the_subscription_says(fakes, change, state):
    assert fakes.end(**change) == state


@pytest.mark.parametrize(("change", "state"), [
    ({"state": "catchup"}, "catching up"), ({"state": "not connected"}, "connecting"), ({"state": "startup"}, "connecting"),
    ({"wal_status": "lost"}, "slot lost")])
def test_what_the_slot_says(fakes, change, state):
    assert fakes.start(**change) == state


def test_no_subscription_and_no_slot(fakes):
    fakes.answers["node1"]["senders"].clear()
    assert fakes.link() == "slot lost"
    fakes.answers["node2"]["subscriptions"].clear()
    assert fakes.link() == "missing"


def test_a_source_that_is_down(fakes):
    fakes.problems["node1"] = "PostgreSQL starts"
    assert fakes.link() == "source down"
    fakes.states["node1"] = "stopped"
    fakes.servers.remove("node1")
    assert fakes.link() == "source down"


def test_a_source_that_is_absent_has_no_slot(fakes):
    # its data was removed: to wait for it is in vain, only a new subscription mends the link
    fakes.states["node1"] = "absent"
    assert Link(fakes.link()).mended_by_subscribing


def test_a_target_that_is_down_or_absent(fakes):
    fakes.states["node2"] = "stopped"
    fakes.servers.clear()
    assert fakes.link() == "target down"
    fakes.states["node2"] = "absent"
    assert fakes.link() == "missing"


@pytest.mark.parametrize(("error", "problem"), [
    (AgentUnreachable("no agent answers", "refused"), "neither its agent nor its PostgreSQL answers (refused)"),
    (OrchestratorError("a foreign program answers", "it is no agent"), "a foreign program answers: it is no agent")])
def test_an_agent_that_does_not_answer_is_a_problem_of_its_node_only(fakes, error, problem):
    fakes.problems["node1"] = error
    fakes.servers.remove("node1")
    look = fakes.look()
    assert look.node("node1").problem == problem and look.node("node1").state == "unavailable"
    assert look.node("node2").state == "ready"


def test_a_node_that_is_not_configured_is_seen(fakes):
    fakes.states["node7"] = "stopped"
    assert [(node.name, node.index) for node in fakes.look().nodes] == [("node1", 1), ("node2", 2), ("node3", 3), ("node7", 7)]


@pytest.mark.parametrize(("state", "problem"), [("stopped", None), ("running", AgentUnreachable("no agent answers", "timed out"))])
def test_rows_travel_on_where_only_the_agent_is_gone(fakes, state, problem):
    fakes.states["node2"], fakes.problems["node2"] = state, problem
    look = fakes.look()
    assert look.node("node2").state == "agent down"
    assert "does not " in look.node("node2").problem and "PostgreSQL serves" in look.node("node2").problem
    # each link is told by the end that can be asked
    assert look.link("node1", "node2").state == look.link("node2", "node1").state == "streaming"
    fakes.answers["node1"]["senders"][0]["state"] = "catchup"
    fakes.answers["node1"]["subscriptions"][0]["worker"] = False
    look = fakes.look()
    assert look.link("node1", "node2").state == "catching up" and look.link("node2", "node1").state == "worker down"


def test_a_server_that_shows_no_life_is_not_asked(fakes):
    fakes.servers.remove("node2")
    fakes.call = lambda spec, *_: pytest.fail("it would wait") if spec.name == "node2" else fakes.answers[spec.name]
    look = fakes.look()
    assert look.node("node2").state == "unavailable" and "frozen" in look.node("node2").problem
    assert look.node("node1").state == "ready"


def test_a_reason_comes_from_the_node_and_else_from_what_is_seen(fakes):
    assert {link.reason for link in fakes.look().links} == {None}
    fakes.answers["node2"]["subscriptions"][0] |= {"worker": False, "errors": 3}
    assert fakes.look().link("node1", "node2").reason == "node2 runs no apply worker for it; it failed 3 times"
    fakes.answers["node1"]["senders"][0]["reason"] = "the walsender says this"
    assert fakes.look().link("node1", "node2").reason == "the walsender says this"
    fakes.answers["node2"]["subscriptions"][0]["reason"] = "the apply worker says this"
    assert fakes.look().link("node1", "node2").reason == "the apply worker says this"


@pytest.mark.parametrize("change", [
    {"seeded": False}, {"complete": False}, {"enabled": False}, {"worker": False}, {"state": "catchup"}, {"state": "startup"}, {"wal_status": "lost"}])
def test_no_link_is_left_without_a_reason(fakes, change):
    fakes.answers["node2"]["subscriptions"][0] |= change
    fakes.answers["node1"]["senders"][0] |= change
    link = fakes.look().link("node1", "node2")
    assert link.state != "streaming" and link.reason


def test_what_the_agent_warns_of(fakes):
    fakes.warnings = ["maintenance fails"]
    assert fakes.look().node("node1").warnings == ("maintenance fails",)
