"""The actual state: every node is asked, side by side; nothing is remembered."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

from pgunison.agents import QUESTION_TIMEOUT_S, Agents, AgentUnreachable
from pgunison.cluster.desired import comparable
from pgunison.cluster.probe import postgresql_answers
from pgunison.cluster.state import ClusterState, Link, LinkState, NodeState, TableState
from pgunison.configuration.sysconfig import Configuration, NodeSpec
from pgunison.errors import OrchestratorError
from pgunison.runtime.runtime import Process, Runtime

# How long a node has to show that it lives, where somebody asks how the cluster is, who wants to know now, also of the nodes that are well. Who brings it
# up has time (Site.observe).
IMPATIENCE_S = 1.0


@dataclass(frozen=True)
class Look:
    """What one node showed: its state, and its ends of the links by the peer's name."""

    node: NodeState
    subscriptions: dict[str, dict[str, Any]]
    senders: dict[str, dict[str, Any]]


def observe(configuration: Configuration, runtime: Runtime, agents: Agents,
            patience_s: float) -> ClusterState:
    """Look at every node that is configured or was ever made; one that shows no life within ``patience_s`` is told as one that does not answer."""
    configured = [node.name for node in configuration.nodes]
    specs = [configuration.any_spec(name) for name in configured + [name for name in runtime.nodes() if name not in configured]]
    # two threads a node: whether its PostgreSQL answers is asked while its agent is
    with ThreadPoolExecutor(max_workers=2 * max(1, len(specs))) as pool:
        looks = {look.node.name: look for look in pool.map(lambda spec: _look(configuration, runtime, agents, spec, patience_s, pool), specs)}
    links = frozenset(_link(looks[source], looks[target]) for source, target in permutations(looks, 2))
    nodes = sorted((look.node for look in looks.values()), key=lambda node: node.index)
    return ClusterState(configuration.id, tuple(nodes), links)


def _look(configuration: Configuration, runtime: Runtime, agents: Agents, spec: NodeSpec, patience_s: float,
          pool: ThreadPoolExecutor) -> Look:
    process = runtime.state(spec)
    unknown = NodeState(spec.name, spec.index, process=process, prepared=False, serving=False)
    if process == Process.ABSENT or process != Process.RUNNING and not runtime.has_server(spec):
        return Look(unknown, {}, {})
    postgresql = pool.submit(postgresql_answers, runtime.address(spec), configuration.postgresql_port, 0.7 * patience_s).result
    if process != Process.RUNNING:
        serves = postgresql()
        return Look(replace(unknown, problem="its agent does not run; PostgreSQL serves", postgresql=True) if serves else unknown, {}, {})
    found: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    unkept: str | None = None
    serves, health = False, None
    try:
        health = agents.health(spec, patience_s)
        problem, warnings = health["problem"], tuple(health.get("warnings", ()))
        unkept = health.get("unkept")
        if problem is None and not postgresql():
            problem = f"PostgreSQL does not answer at {runtime.address(spec)}:{configuration.postgresql_port}, though its process is there: is it frozen?"
        found = agents.call(spec, "node.describe", QUESTION_TIMEOUT_S) if problem is None else {}
        certificate = agents.certificate(spec)
    except AgentUnreachable as error:
        serves = postgresql()
        seen = "its agent does not answer; PostgreSQL serves" if serves else "neither its agent nor its PostgreSQL answers"
        problem = f"{seen} ({error.detail})"
    except OrchestratorError as error:
        problem = f"{error.message}: {error.detail}"
    if problem is not None:
        # what keeps an agent that answers from its PostgreSQL may be what it was told when it started
        told = health is None or not runtime.outdated(spec)
        return Look(replace(unknown, problem=problem, warnings=warnings, postgresql=serves, current=told), {}, {})
    ends = certificate.ends if certificate else None
    ours = {role.name for role in configuration.roles}
    tables = tuple(TableState(table["schema"], table["name"], comparable(table["columns"]), table["published"], table["open"], table["fault"])
                   for table in found["tables"])
    node = NodeState(spec.name, spec.index, prepared=found["prepared"], serving=found["serving"],
                     roles=tuple(role for role in found["roles"] if role in ours), tables=tables, version=found["server_version"],
                     current=not runtime.outdated(spec), fault=found.get("fault"), upkeep=found.get("upkeep"), certificate_ends=ends, warnings=warnings,
                     unkept=unkept, stale=found.get("stale"), drained=found.get("drained"))
    return Look(node, {one["source"]: one for one in found["subscriptions"]}, {one["target"]: one for one in found["senders"]})


def _link(source: Look, target: Look) -> LinkState:
    subscription, sender = target.subscriptions.get(source.node.name), source.senders.get(target.node.name)
    lag = sender["lag_bytes"] if sender else None
    errors = subscription["errors"] if subscription else 0
    link = LinkState(source.node.name, target.node.name, _link_state(source, target, subscription, sender), lag, errors)
    given = next((end["reason"] for end in (subscription, sender) if end and end.get("reason")), None)
    return replace(link, reason=given or _reason(link, sender))


def _reason(link: LinkState, sender: dict[str, Any] | None) -> str | None:
    """Say why a link does not stream, where neither end gives a reason."""
    source, target = link.source, link.target
    removed = sender is not None and sender["wal_status"] == "lost"
    return {
        Link.STREAMING: None,
        Link.MISSING: f"{target} has no subscription to {source}",
        Link.UNSEEDED: f"{target} has not merged yet what {source} held before",
        Link.INCOMPLETE: f"the subscription of {target} lacks a table",
        Link.DISABLED: f"the subscription of {target} is disabled",
        Link.SLOT_LOST: f"{source} removed changes that {target} had not taken" if removed else f"{source} has no replication slot for {target}",
        Link.SOURCE_DOWN: f"{source} does not answer",
        Link.TARGET_DOWN: f"{target} does not answer",
        Link.WORKER_DOWN: f"{target} runs no apply worker for it; it failed {'once' if link.errors == 1 else f'{link.errors} times'}",
        Link.CATCHING_UP: f"{target} is {link.lag_bytes} bytes behind",
        Link.CONNECTING: f"{target} is not connected to {source}",
    }[link.state]


def _link_state(source: Look, target: Look, subscription: dict[str, Any] | None, sender: dict[str, Any] | None) -> Link:
    if target.node.postgresql and sender is not None:
        # its agent cannot be asked, and its PostgreSQL goes on: what the other end sees is what is
        return _sender_state(sender)
    if not target.node.answers:
        return Link.TARGET_DOWN if target.node.process != Process.ABSENT else Link.MISSING
    if subscription is None:
        return Link.MISSING
    if source.node.process == Process.ABSENT:
        # its data was removed, and the slot with it
        return Link.SLOT_LOST
    if not subscription["seeded"]:
        return Link.UNSEEDED
    if not subscription["complete"]:
        return Link.INCOMPLETE
    if not subscription["enabled"]:
        return Link.DISABLED
    if source.node.postgresql:
        return Link.STREAMING if subscription["worker"] else Link.WORKER_DOWN
    if not source.node.answers:
        return Link.SOURCE_DOWN
    if sender is None or sender["wal_status"] == "lost":
        return Link.SLOT_LOST
    if not subscription["worker"]:
        return Link.WORKER_DOWN
    return _sender_state(sender)


def _sender_state(sender: dict[str, Any]) -> Link:
    if sender["wal_status"] == "lost":
        return Link.SLOT_LOST
    # the peer's first word is up to where it has this node: whoever relies on the link may rely on that, too
    if not sender.get("told", True):
        return Link.CONNECTING
    return {"streaming": Link.STREAMING, "catchup": Link.CATCHING_UP}.get(sender["state"], Link.CONNECTING)
