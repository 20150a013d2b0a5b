"""What a cluster is, as frozen values: desired and actual are of the same kind, so that equality means converged."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class TableState:
    """A table on a node. ``columns`` as asked for; ``fault`` says what is wrong with its merge, None when nothing is."""

    schema: str
    name: str
    columns: tuple[tuple[str | bool, ...], ...]
    published: bool = True
    open: bool = True
    fault: str | None = None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class NodeState:
    """A node. ``process`` is absent (it was never made), stopped or running; ``problem`` says why a running node cannot be asked.

    ``current`` is False when the node runs from another image, from other code, or with other limits, than it would if it were made now.
    ``fault`` says why its database has to be prepared again, None when it need not: only then is anything known of its tables and links.
    ``upkeep`` is what the node remembers beside the rows, as ``node.describe`` answers it; None when it was not asked.
    ``stale`` says how it is known that an old copy of the node's data was put back.
    ``certificate_ends`` says when the certificate that its agent shows ends; None where it shows none. ``warnings`` is what its agent says is not well;
    ``unkept`` is why nobody should rely on the node for that, None while it is only a warning.
    ``drained`` says by whom and since when it is kept out of service, None when it is not: nothing that a plan would change.
    ``postgresql`` is True when a PostgreSQL answers at the node's address although its agent does not.
    """

    name: str
    index: int
    process: str = "running"
    problem: str | None = None
    prepared: bool = True
    serving: bool = True
    roles: tuple[str, ...] = ()
    tables: tuple[TableState, ...] = ()
    current: bool = True
    fault: str | None = None
    version: str = field(default="", compare=False)
    upkeep: dict[str, Any] | None = field(default=None, compare=False)
    certificate_ends: datetime | None = field(default=None, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    unkept: str | None = field(default=None, compare=False)
    postgresql: bool = field(default=False, compare=False)
    stale: str | None = None
    drained: dict[str, str] | None = field(default=None, compare=False)

    @property
    def answers(self) -> bool:
        """Tell whether the node can be asked for its rows."""
        return self.process == "running" and self.problem is None

    @property
    def state(self) -> str:
        """Sum the node up in a word; ``ready`` is the healthy one."""
        if self.postgresql and not self.answers:
            return "agent down"
        if self.process != "running":
            return self.process
        if self.problem:
            return "unavailable"
        if self.stale:
            return "stale"
        if not self.serving:
            return "joining"
        if self.drained:
            return "drained"
        return "faulty" if self.fault or self.unkept or any(table.fault for table in self.tables) else "ready"

    def table(self, schema: str, name: str) -> TableState | None:
        return next((table for table in self.tables if (table.schema, table.name) == (schema, name)), None)


@dataclass(frozen=True)
class LinkState:
    """Replication from ``source`` to ``target``; ``streaming`` is the healthy state.

    missing, unseeded, incomplete (lacks a table), disabled and "slot lost" are mended by subscribing again; the others by waiting.
    ``reason`` says why it does not stream, in words; None while it does.
    """

    source: str
    target: str
    state: str = "streaming"
    lag_bytes: int | None = field(default=None, compare=False)
    errors: int = field(default=0, compare=False)
    reason: str | None = field(default=None, compare=False)


TO_SUBSCRIBE = {"missing", "unseeded", "incomplete", "disabled", "slot lost"}


@dataclass(frozen=True)
class ClusterState:
    """All nodes in the order of their index, and each link between two of them."""

    id: str
    nodes: tuple[NodeState, ...]
    links: frozenset[LinkState]

    def node(self, name: str) -> NodeState:
        """Return the node of that name; LookupError when there is none."""
        found = self.find(name)
        if found is None:
            names = ", ".join(node.name for node in self.nodes)
            raise LookupError(f"no node {name} in cluster {self.id}: it has {names or 'none'}")
        return found

    def find(self, name: str) -> NodeState | None:
        """Return the node of that name, None when there is none."""
        return next((node for node in self.nodes if node.name == name), None)

    def link(self, source: str, target: str) -> LinkState:
        return next((link for link in self.links if (link.source, link.target) == (source, target)), LinkState(source, target, "missing"))

    def with_node(self, changed: NodeState) -> "ClusterState":
        """Return this cluster with the node of that name replaced, or added."""
        others = [node for node in self.nodes if node.name != changed.name]
        return replace(self, nodes=tuple(sorted([*others, changed], key=lambda node: node.index)))

    def with_link(self, changed: LinkState) -> "ClusterState":
        """Return this cluster with the link between those two replaced, or added."""
        others = {link for link in self.links if (link.source, link.target) != (changed.source, changed.target)}
        return replace(self, links=frozenset(others | {changed}))

    def check_invariants(self) -> None:
        """AssertionError when a write could be lost or stay on one node.

        Between two nodes that serve there are links both ways; a table is open only where the merge stands and where it is published. (A link that
        lacks a table gets its rows of before when it takes it, so no order between opening and taking can lose any.)
        """
        for node in self.nodes:
            for table in node.tables:
                assert not table.open or (table.fault is None and table.published), f"{table} is open on {node.name} without its merge"
            for peer in self.nodes:
                if node is not peer and node.serving and peer.serving:
                    link = self.link(node.name, peer.name)
                    assert link.state != "missing", f"{node.name} and {peer.name} serve, their link is missing"
