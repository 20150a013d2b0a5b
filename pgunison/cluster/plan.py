"""The plan: from what a cluster is to what it should be. No I/O.

Invariants, which hold after each step (:meth:`pgunison.cluster.state.ClusterState.check_invariants`): a node serves only when it is linked with every
other node that serves, both ways; a table is open for writers only where the merge stands and where it is published. A link that takes a table
merges what its source holds of it, so nothing is lost whatever was open before.
Nodes join one after another; only their processes start side by side, because that changes nothing that anybody sees.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

from pgunison.cluster.state import ClusterState, Link, LinkState, NodeState, TableState
from pgunison.cluster.steps import AdmitNode, AwaitLinks, AwaitNode, OpenTable, PrepareNode, Publish, ReplaceNode, SetUpTable, StartNode, Step, Subscribe
from pgunison.errors import OrchestratorError
from pgunison.runtime.runtime import Process


def plan(desired: ClusterState, actual: ClusterState) -> list[Step]:
    """Return the steps from ``actual`` to ``desired``, none when they are equal.

    Raises OrchestratorError when no step leads there: a node too many, or a table with other columns.
    """
    _refuse_surplus(desired, actual)
    steps: list[Step] = [StartNode(node.name) for node in desired.nodes if actual.node(node.name).process != Process.RUNNING]
    unseen = [node for node in actual.nodes if node.process == Process.STOPPED or node.problem]
    if unseen:
        # what such a node holds is not known yet: bring it up, look again, then plan on
        steps += [ReplaceNode(node.name) for node in unseen if node.process == Process.RUNNING and not node.current]
        return steps + [AwaitNode(node.name) for node in unseen]
    # an agent of another version would install what that version brings; and what another version's database holds can be asked only afterwards
    renewed = [step for node in desired.nodes for step in _renew(node, actual)]
    if renewed:
        return steps + renewed
    outdated = [node for node in desired.nodes if actual.node(node.name).fault]
    if outdated:
        return steps + [PrepareNode(node.name, node.roles) for node in outdated]
    # an old copy of a node says nothing that holds; execute.py names it when the others are well
    usable = [node for node in desired.nodes if not actual.node(node.name).stale]
    members = [node for node in usable if actual.node(node.name).serving]
    newcomers = [node for node in usable if not actual.node(node.name).serving]
    for node in members:
        steps += _equip(node, actual.node(node.name))
    steps += _link(members, desired, actual, steps)
    for node in members:
        steps += _open(node, actual.node(node.name))
    joined = list(members)
    for node in newcomers:
        found = actual.node(node.name)
        if found.process == Process.ABSENT:
            steps.append(AwaitNode(node.name))
        steps += _equip(node, found)
        peers = tuple(peer.name for peer in joined)
        # first the others to the newcomer, which holds nothing yet: so they have nothing to copy
        wanted = [(peer, node.name) for peer in peers] + [(node.name, peer) for peer in peers]
        steps += [Subscribe(target, source) for target, source in wanted if actual.link(source, target).state.mended_by_subscribing]
        if any(actual.link(source, target).state != Link.STREAMING for target, source in wanted):
            steps.append(AwaitLinks(node.name, peers))
        steps += _open(node, found)
        steps.append(AdmitNode(node.name))
        joined.append(node)
    return steps


def narrow(desired: ClusterState, actual: ClusterState, name: str) -> tuple[ClusterState, ClusterState]:
    """Return both states as whoever brings up one node sees them, so that a plan between them has steps for that node and its links only.

    Its peers are the members that can be asked and that a link can rely on; they count as what they should be. It comes last, so that all its links are its own
    to wait for. A table that is new in the configuration is left to who brings up all. OrchestratorError when the node has not joined yet and not everybody who
    may be a member is a peer, be it one that is not configured now: members are linked with each other.
    """
    found = actual.node(name)
    others = [node for node in desired.nodes if node.name != name]
    made = [each for each in (actual.find(node.name) for node in others) if each is not None and each.process != Process.ABSENT]
    surplus = [node for node in actual.nodes if desired.find(node.name) is None and node.process != Process.ABSENT]
    unfit = {node.name: why for node in made if (why := _unfit(node, found, desired.node(name).tables)) is not None} | \
        {node.name: "is not configured" for node in surplus}
    if unfit and (found.process == Process.ABSENT or found.answers and not found.serving and not found.stale and not found.fault):
        raise OrchestratorError(f"{name} has not joined the cluster yet, and can only when all members are well",
                                "; ".join(f"{other} {why}" for other, why in unfit.items()), "python3 orchestrator.py up")
    members = {node.name for node in made if node.name not in unfit and node.serving}
    peers = tuple(node for node in others if node.name in members)
    # what a node that cannot be asked has, nobody knows
    holders = [node for node in (*made, *surplus) if node.serving or not node.answers]
    tables = tuple(table for table in desired.node(name).tables
                   if found.table(table.schema, table.name) or all(node.table(table.schema, table.name) for node in holders))
    links = {LinkState(source.name, target.name) for source, target in permutations(peers, 2)}
    own = {actual.link(*ends) for peer in peers for ends in ((peer.name, name), (name, peer.name))}
    whole = {LinkState(link.source, link.target) for link in own}
    return (ClusterState(desired.id, (*peers, replace(desired.node(name), tables=tables)), frozenset(links | whole)),
            ClusterState(actual.id, (*peers, found), frozenset(links | own)))


def _unfit(node: NodeState, found: NodeState, tables: tuple[TableState, ...]) -> str | None:
    """Say why no link between these two can be relied on, None when it can; what of the tables neither has is left out."""
    if not node.answers or node.stale or node.fault:
        return f"is {node.state}"
    for table in tables if node.serving else ():
        there = node.table(table.schema, table.name)
        if there is None and found.table(table.schema, table.name):
            return f"lacks {table}"
        if there is not None and (there.fault or not there.published):
            return f"has {table} not in order"
    return None


def _refuse_surplus(desired: ClusterState, actual: ClusterState) -> None:
    surplus = [node.name for node in actual.nodes if desired.find(node.name) is None]
    if surplus:
        raise OrchestratorError(
            f"the cluster has {len(actual.nodes)} nodes, the configuration says {len(desired.nodes)}", f"not configured: {', '.join(surplus)}",
            f"python3 orchestrator.py scale {len(desired.nodes)} removes nodes, or raise max_nodes to {len(actual.nodes)}; a node is never dropped silently")
    for node in desired.nodes:
        for table in node.tables:
            found = actual.node(node.name).table(table.schema, table.name)
            if found and found.columns != table.columns:
                raise OrchestratorError(f"{table} has other columns in the configuration than on {node.name}",
                                        "the columns of a replicated table cannot be changed", "restore them in sysconfig.json")


def _equip(node: NodeState, found: NodeState) -> Iterator[Step]:
    """Give the node what it needs before it can be linked."""
    if not found.prepared or found.roles != node.roles:
        yield PrepareNode(node.name, node.roles)
    published = True
    for table in node.tables:
        there = found.table(table.schema, table.name)
        if there is None or there.fault:
            yield SetUpTable(node.name, table)
        published = published and there is not None and there.published
    if not published:
        yield Publish(node.name)


def _link(members: list[NodeState], desired: ClusterState, actual: ClusterState, before: list[Step]) -> Iterator[Step]:
    """Mend the links between members; one that gets a new table has to take it."""
    renewed = {step.node for step in before if isinstance(step, SetUpTable)}
    for position, node in enumerate(members):
        peers = tuple(peer.name for peer in members[:position])
        pairs = [(node.name, peer) for peer in peers] + [(peer, node.name) for peer in peers]
        steps = [Subscribe(target, source) for target, source in pairs
                 if actual.link(source, target).state.mended_by_subscribing or target in renewed]
        yield from steps
        if steps or any(actual.link(source, target).state != Link.STREAMING for target, source in pairs):
            yield AwaitLinks(node.name, peers)


def _open(node: NodeState, found: NodeState) -> Iterator[Step]:
    for table in node.tables:
        there = found.table(table.schema, table.name)
        if there is None or not there.open:
            yield OpenTable(node.name, table)


def _renew(node: NodeState, actual: ClusterState) -> Iterator[Step]:
    """Make a node anew that is not of the current code or image; the next one waits until this one has what it missed.

    A link that does not stream now is not waited for: it is mended when every node is of one version.
    """
    found = actual.node(node.name)
    if found.process != Process.RUNNING or found.current:
        return
    yield ReplaceNode(node.name)
    yield AwaitNode(node.name)
    # what its links do can be asked only of a database of its agent's version
    yield PrepareNode(node.name, node.roles)
    peers = tuple(peer.name for peer in actual.nodes if peer.name != node.name and found.serving and peer.serving
                  and {actual.link(node.name, peer.name).state, actual.link(peer.name, node.name).state} <= {Link.STREAMING, Link.CATCHING_UP})
    if peers:
        yield AwaitLinks(node.name, peers)
