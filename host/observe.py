"""The actual state: every node is asked, side by side; nothing is remembered."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from host.agents import Agents, AgentUnreachable
from host.config import Configuration, NodeSpec
from host.desired import comparable
from host.errors import OrchestratorError
from host.state import ClusterState, LinkState, NodeState, TableState


@dataclass(frozen=True)
class Look:
    """What one node showed: its state, and its ends of the links by the peer's name."""

    node: NodeState
    subscriptions: dict[str, dict[str, Any]]
    senders: dict[str, dict[str, Any]]


def observe(configuration: Configuration, runtime, agents: Agents) -> ClusterState:
    """Look at every node that is configured or was ever made."""
    configured = [node.name for node in configuration.nodes]
    specs = [any_spec(configuration, name) for name in configured + [name for name in runtime.nodes() if name not in configured]]
    with ThreadPoolExecutor(max_workers=max(1, len(specs))) as pool:
        looks = {look.node.name: look for look in pool.map(lambda spec: _look(configuration, runtime, agents, spec), specs)}
    links = frozenset(_link(looks[source], looks[target]) for source, target in permutations(looks, 2))
    nodes = sorted((look.node for look in looks.values()), key=lambda node: node.index)
    return ClusterState(configuration.id, tuple(nodes), links)


def _look(configuration: Configuration, runtime, agents: Agents, spec: NodeSpec) -> Look:
    process = runtime.state(spec)
    unknown = NodeState(spec.name, spec.index, process=process, prepared=False, serving=False)
    if process != "running":
        return Look(unknown, {}, {})
    try:
        problem = agents.problem(spec)
        found = agents.call(spec, "node.describe") if problem is None else {}
        certificate = agents.certificate(spec)
    except AgentUnreachable as error:
        problem, found = error.detail, {}
    except OrchestratorError as error:
        problem, found = f"{error.message}: {error.detail}", {}
    if problem is not None:
        return Look(NodeState(spec.name, spec.index, problem=problem, prepared=False, serving=False), {}, {})
    ends = certificate.ends if certificate else None
    ours = {role.name for role in configuration.roles}
    tables = tuple(TableState(table["schema"], table["name"], comparable(table["columns"]), table["published"], table["open"], table["fault"])
                   for table in found["tables"])
    node = NodeState(spec.name, spec.index, prepared=found["prepared"], serving=found["serving"],
                     roles=tuple(role for role in found["roles"] if role in ours), tables=tables, version=found["server_version"],
                     current=not runtime.outdated(spec), fault=found.get("fault"), upkeep=found.get("upkeep"), certificate_ends=ends)
    return Look(node, {one["source"]: one for one in found["subscriptions"]}, {one["target"]: one for one in found["senders"]})


def _link(source: Look, target: Look) -> LinkState:
    subscription, sender = target.subscriptions.get(source.node.name), source.senders.get(target.node.name)
    lag = sender["lag_bytes"] if sender else None
    errors = subscription["errors"] if subscription else 0
    return LinkState(source.node.name, target.node.name, _link_state(source, target, subscription, sender), lag, errors)


def _link_state(source: Look, target: Look, subscription: dict[str, Any] | None, sender: dict[str, Any] | None) -> str:
    if target.node.process != "running" or target.node.problem:
        return "target down" if target.node.process != "absent" else "missing"
    if subscription is None:
        return "missing"
    if source.node.process == "absent":
        # its data was removed, and the slot with it
        return "slot lost"
    if not subscription["seeded"]:
        return "unseeded"
    if not subscription["complete"]:
        return "incomplete"
    if not subscription["enabled"]:
        return "disabled"
    if source.node.process != "running" or source.node.problem:
        return "source down"
    if sender is None or sender["wal_status"] == "lost":
        return "slot lost"
    if not subscription["worker"]:
        return "worker down"
    return {"streaming": "streaming", "catchup": "catching up"}.get(sender["state"], "connecting")


def any_spec(configuration: Configuration, name: str) -> NodeSpec:
    """Place a node that is configured, or one that was once made and is not: names that we give end with the index."""
    if any(node.name == name for node in configuration.nodes):
        return configuration.node(name)
    index = int("".join(character for character in name if character.isdigit()) or 250)
    return configuration.node_spec(name, min(max(index, 1), 250))
