"""Is the cluster healthy, and if not: what is wrong where, and what is the next step? No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass

from pgunison.cluster.state import ClusterState, Condition, Link, LinkState, NodeState
from pgunison.contract.phase import in_words
from pgunison.runtime.runtime import Process

UP = "python3 orchestrator.py up"
# deletions are collected about a minute after everybody has them; a node that is away for longer than this is worth a line
QUIET_S = 600


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be: ``where`` (a node, or ``node1 to node2``), ``what`` was seen, the ``next`` step."""

    where: str
    what: str
    next: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; next: {self.next}"


def faults(wanted: ClusterState, actual: ClusterState) -> tuple[Fault, ...]:
    """Return what is not healthy, the nodes first; none when the cluster is healthy.

    It is when every node of ``wanted`` or ``actual`` is ready (it runs, its agent and its PostgreSQL answer, it has joined, nobody has drained it, no table has
    a fault), has no warning, holds back no deletions for one that is silent, has every table that is wanted, open and published; and when every link between
    two nodes streams, and nobody gives a reason why it should not.
    """
    nodes = [fault for node in actual.nodes for fault in _node_faults(node, wanted.find(node.name))]
    nodes += [Fault(node.name, "it is not there", UP) for node in wanted.nodes if actual.find(node.name) is None]
    links = sorted((link for link in actual.links if link.state != Link.STREAMING or link.reason), key=lambda link: (link.source, link.target))
    down = {node.name for node in actual.nodes if not node.answers and not node.postgresql}
    # what is said of the node is not said again of each of its links
    return (*nodes, *(_link_fault(link) for link in links if link.source not in down and link.target not in down))


def sentence(wanted: ClusterState, actual: ClusterState) -> str:
    """Sum the cluster up: ``healthy: 3 of 3 nodes ready, 6 of 6 links streaming``, or how many faults and the first of them."""
    ready = sum(node.state == Condition.READY for node in actual.nodes)
    streaming = sum(link.state == Link.STREAMING for link in actual.links)
    counted = f"{ready} of {len(actual.nodes)} nodes ready, {streaming} of {len(actual.links)} links streaming"
    found = faults(wanted, actual)
    if not found:
        return f"healthy: {counted}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"not healthy: {counted}; {found[0].where}: {found[0].what}{more}"


def _node_faults(node: NodeState, wanted: NodeState | None) -> Iterator[Fault]:
    if node.postgresql and not node.answers:
        # one that ended is started again; one that stands still holds its place
        following = UP if node.process != Process.RUNNING else f"python3 orchestrator.py logs {node.name}; end the agent if it stands still, then up"
        yield Fault(node.name, node.problem or "its agent does not answer; PostgreSQL serves", following)
    elif node.process == Process.ABSENT:
        yield Fault(node.name, "it was never made, or its data was removed", UP)
    elif node.process != Process.RUNNING:
        yield Fault(node.name, node.problem or "it does not run", UP)
    elif node.problem:
        yield Fault(node.name, node.problem, f"python3 orchestrator.py logs {node.name}")
    elif node.stale:
        yield Fault(node.name, node.stale, f"{UP} says how it is made anew")
    elif not node.serving:
        yield Fault(node.name, "it has not joined the cluster yet", UP)
    elif node.fault:
        yield Fault(node.name, node.fault, UP)
    else:
        yield from _table_faults(node, wanted)
    if node.drained:
        yield Fault(node.name, in_words(node.drained), f"python3 orchestrator.py resume {node.name}")
    for warning in node.warnings:
        yield Fault(node.name, warning, f"python3 orchestrator.py logs {node.name}")
    if node.upkeep and node.upkeep.get("silent") and (node.upkeep.get("confirmed_s_ago") or 0) >= QUIET_S:
        yield Fault(node.name, f"keeps {node.upkeep['tombstone_bytes']} bytes of tombstones, because nothing is heard of {', '.join(node.upkeep['silent'])}",
                    f"bring {', '.join(node.upkeep['silent'])} back: {UP}")


def _table_faults(node: NodeState, wanted: NodeState | None) -> Iterator[Fault]:
    for table in node.tables:
        if table.fault:
            yield Fault(node.name, f"{table}: {table.fault}", UP)
        elif not table.open or not table.published:
            yield Fault(node.name, f"{table}: it is not {'open for writers' if table.published else 'published'} yet", UP)
    for table in wanted.tables if wanted else ():
        if node.table(table.schema, table.name) is None:
            yield Fault(node.name, f"{table}: the configuration has it, the node has not", UP)


def _link_fault(link: LinkState) -> Fault:
    following = UP if link.state.mended_by_subscribing else f"python3 orchestrator.py logs {link.target}"
    return Fault(f"{link.source} to {link.target}", f"{link.state}: {link.reason}" if link.reason else link.state, following)
