"""A cluster in memory for the tests of the plan: what steps do to it is written here a second time, after the services and not after the steps.

Writers insert wherever a table is open. A row travels a link only when the subscription carries the table; PostgreSQL drops it silently if not,
and only the seed of that table, when the subscription takes it, brings it back.
"""

from dataclasses import dataclass, field, replace
from itertools import permutations

from pgunison.cluster.state import ClusterState, LinkState, NodeState, TableState
from pgunison.cluster.state import Link as State
from pgunison.cluster.steps import AdmitNode, AwaitLinks, AwaitNode, OpenTable, PrepareNode, Publish, ReplaceNode, SetUpTable, StartNode, Step, Subscribe

ROLES = ("reader1", "unison_owner", "unison_replicator", "writer1")
MENDED_BY_WAITING = ("streaming", "starting", "connecting", "catching up", "worker down")


def table(name: str, columns: str = "id bigserial") -> TableState:
    return TableState("public", name, ((columns,),))


def wanted(nodes: int, *tables: TableState) -> ClusterState:
    """Return the desired state of a cluster of node1, node2 and so on."""
    members = tuple(NodeState(f"node{k}", k, roles=ROLES, tables=tables) for k in range(1, nodes + 1))
    return ClusterState("test", members, frozenset(LinkState(a.name, b.name) for a, b in permutations(members, 2)))


def absent(desired: ClusterState) -> ClusterState:
    """Return the same cluster before anything was made."""
    nodes = tuple(NodeState(node.name, node.index, "absent", prepared=False, serving=False) for node in desired.nodes)
    return ClusterState(desired.id, nodes, frozenset(replace(link, state=State.MISSING) for link in desired.links))


class Stuck(Exception):
    """A step that would fail or wait in vain on a real cluster."""


@dataclass
class Link:
    """A subscription with its slot: which tables it ``carries`` and has ``seeded``, and the rows that the slot keeps for the target."""

    enabled: bool = True
    health: str = "streaming"
    carries: set[str] = field(default_factory=set)
    seeded: set[str] = field(default_factory=set)
    kept: list[tuple[str, str]] = field(default_factory=list)


class World:
    """``nodes`` are what they are, also while they are stopped; ``rows`` by node and table; ``links`` by source and target."""

    def __init__(self, state: ClusterState):
        self.id = state.id
        self.nodes = {node.name: node for node in state.nodes}
        self.rows = {node.name: {str(t): set() for t in node.tables} for node in state.nodes}
        self.links: dict[tuple[str, str], Link] = {}
        self.written = 0
        for link in state.links:
            if link.state != "missing":
                source, target = ({str(t) for t in self.nodes[name].tables} for name in (link.source, link.target))
                self.links[link.source, link.target] = Link(
                    link.state not in ("disabled", "unseeded"), carries=set() if link.state == "incomplete" else source & target,
                    seeded=set() if link.state in ("unseeded", "incomplete") else source & target,
                    health=link.state if link.state in ("slot lost", *MENDED_BY_WAITING) else "streaming")

    def look(self, *, hidden: bool = True) -> ClusterState:
        """Return what the orchestrator sees; without ``hidden``, what is there, also on nodes that cannot be asked."""
        nodes = [(replace(node, tables=()) if node.fault and hidden else node) if _answers(node) or not hidden
                 else NodeState(node.name, node.index, node.process, node.problem, prepared=False, serving=False) for node in self.nodes.values()]
        links = frozenset(LinkState(*ends, State(self._link_state(*ends, hidden))) for ends in permutations(self.nodes, 2))
        return ClusterState(self.id, tuple(sorted(nodes, key=lambda node: node.index)), links)

    def _link_state(self, source: str, target: str, hidden: bool) -> str:
        link, from_node, to_node = self.links.get((source, target)), self.nodes[source], self.nodes[target]
        if hidden and not _answers(to_node) and to_node.process != "absent":
            return "target down"
        if link is None or hidden and to_node.fault:
            return "missing"
        if {str(t) for t in to_node.tables} - link.seeded:
            return "unseeded"
        if {str(t) for t in to_node.tables} - link.carries:
            return "incomplete"
        if not link.enabled:
            return "disabled"
        if hidden and _answers(from_node) and from_node.fault:
            return "slot lost"
        if link.health == "slot lost" and from_node.process == "absent":
            return "slot lost"
        return "source down" if hidden and not _answers(from_node) else link.health

    def check(self) -> None:
        """AssertionError when a row that is written now would stay on one node: the invariants of pgunison/cluster/plan.py, with all that the world knows."""
        for node in self.nodes.values():
            for each in node.tables:
                assert not each.open or each.published and each.fault is None, f"{each} is open on {node.name} without its merge"
        for source, target in permutations(self.nodes, 2):
            link = self.links.get((source, target))
            if self.nodes[source].serving and self.nodes[target].serving:
                assert link is not None, f"{source} and {target} serve without a link"

    def run(self, step: Step) -> None:
        """Do what the step does to a cluster. Stuck when it cannot."""
        match step:
            case StartNode(node):
                self._change(node, process="running", problem="PostgreSQL starts", current=True)
            case ReplaceNode(node):
                away = [name for name, each in self.nodes.items() if name != node and each.serving and not _answers(each)]
                if away and _answers(self.nodes[node]):
                    raise Stuck(f"{', '.join(away)} is away, and {node} would be, too")
                self._change(node, problem="PostgreSQL starts", current=True)
            case AwaitNode(node):
                self._change(node, problem=None)
            case PrepareNode(node, roles):
                self._change(node, prepared=True, roles=roles, fault=None)
            case SetUpTable(node, asked):
                before = self._at(node).table(asked.schema, asked.name) or replace(asked, published=False, open=False)
                self._put(node, replace(before, fault=None))
                self.rows[node].setdefault(str(asked), set())
            case Publish(node):
                if not self._at(node).tables:
                    raise Stuck("there is nothing to publish")
                self._change(node, tables=tuple(replace(each, published=True) for each in self._at(node).tables))
            case Subscribe(target, source):
                self._subscribe(source, target)
            case AwaitLinks(node, peers):
                for ends in [(peer, node) for peer in peers] + [(node, peer) for peer in peers]:
                    self._await(*ends)
            case OpenTable(node, asked):
                self._put(node, replace(self._at(node).table(asked.schema, asked.name), open=True))
            case AdmitNode(node):
                self._change(node, serving=True)
            case _:
                raise AssertionError(f"the world does not know {step!r}")
        self._deliver()

    def write(self) -> None:
        """Insert a row into each table that is open, on each node, as its writers would."""
        for node in self.nodes.values():
            for each in node.tables:
                if _answers(node) and each.open:
                    self.written += 1
                    row = f"{node.name}:{self.written}"
                    self.rows[node.name][str(each)].add(row)
                    for (source, _), link in self.links.items():
                        if source == node.name and each.published and link.health != "slot lost":
                            link.kept.append((str(each), row))
        self._deliver()

    def _at(self, name: str) -> NodeState:
        if not _answers(self.nodes[name]):
            raise Stuck(f"{name} cannot be asked")
        if self.nodes[name].fault:
            raise Stuck(f"{name} is of another version")
        return self.nodes[name]

    def _change(self, name: str, **changes) -> None:
        self.nodes[name] = replace(self.nodes[name], **changes)

    def _put(self, name: str, changed: TableState) -> None:
        if not self._at(name).prepared:
            raise Stuck(f"{name} is not prepared")
        others = [each for each in self.nodes[name].tables if str(each) != str(changed)]
        self._change(name, tables=tuple(sorted([*others, changed], key=str)))

    def _subscribe(self, source: str, target: str) -> None:
        published = {str(each) for each in self._at(source).tables if each.published}
        there = {str(each) for each in self._at(target).tables}
        if not published and self._at(source).tables:
            raise Stuck(f"{source} has no publication")
        if published - there:
            raise Stuck(f"{target} has no {published - there}, which {source} publishes")
        link = self.links.get((source, target))
        if link is None or link.health == "slot lost":
            link = self.links[source, target] = Link()
        link.carries |= published
        for name in there - link.seeded:
            self.rows[target][name] |= self.rows[source].get(name, set())
        link.seeded |= there
        link.enabled = True

    def _await(self, source: str, target: str) -> None:
        link = self.links.get((source, target))
        if link is None or not link.enabled or link.health not in MENDED_BY_WAITING or \
                not (_answers(self.nodes[source]) and _answers(self.nodes[target])):
            raise Stuck(f"the link from {source} to {target} is {self._link_state(source, target, hidden=True)}, and stays so")
        link.health = "streaming"

    def _deliver(self) -> None:
        for (source, target), link in self.links.items():
            if link.enabled and link.health == "streaming" and _answers(self.nodes[source]) and _answers(self.nodes[target]):
                for name, row in link.kept:
                    if name in link.carries:
                        self.rows[target][name].add(row)
                link.kept.clear()


def _answers(node: NodeState) -> bool:
    return node.process == "running" and node.problem is None
