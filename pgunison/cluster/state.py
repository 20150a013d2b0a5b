"""What a cluster is, as frozen values: desired and actual are of the same kind, so that equality means converged."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from pgunison.runtime.runtime import Process


class Link(StrEnum):
    """What a link does. ``streaming`` is the healthy state."""

    STREAMING = "streaming"
    CATCHING_UP = "catching up"
    CONNECTING = "connecting"
    WORKER_DOWN = "worker down"
    SOURCE_DOWN = "source down"
    TARGET_DOWN = "target down"
    # subscribed a moment ago: what it does then is not seen yet
    STARTING = "starting"
    MISSING = "missing"
    # what the source held before is not merged yet
    UNSEEDED = "unseeded"
    # it lacks a table
    INCOMPLETE = "incomplete"
    DISABLED = "disabled"
    # the source has no slot for it, or removed changes that were not taken
    SLOT_LOST = "slot lost"

    @property
    def carries(self) -> bool:
        """Tell whether changes flow, or will in a moment."""
        return self in (Link.STREAMING, Link.CATCHING_UP, Link.CONNECTING, Link.WORKER_DOWN)

    @property
    def mended_by_subscribing(self) -> bool:
        """Tell whether subscribing again mends it; the other states are mended by waiting, or by what is done to a node."""
        return self in (Link.MISSING, Link.UNSEEDED, Link.INCOMPLETE, Link.DISABLED, Link.SLOT_LOST)


class Condition(StrEnum):
    """A node, summed up in a word. ``ready`` is the healthy one."""

    READY = "ready"
    ABSENT = "absent"
    STOPPED = "stopped"
    # its PostgreSQL serves
    AGENT_DOWN = "agent down"
    UNAVAILABLE = "unavailable"
    # an old copy of its data was put back
    STALE = "stale"
    JOINING = "joining"
    # out of service for a while
    DRAINED = "drained"
    FAULTY = "faulty"


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
    process: Process = Process.RUNNING
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
        return self.process == Process.RUNNING and self.problem is None

    @property
    def state(self) -> Condition:
        """Sum the node up."""
        if self.postgresql and not self.answers:
            return Condition.AGENT_DOWN
        if self.process != Process.RUNNING:
            return Condition(self.process)
        if self.problem:
            return Condition.UNAVAILABLE
        if self.stale:
            return Condition.STALE
        if not self.serving:
            return Condition.JOINING
        if self.drained:
            return Condition.DRAINED
        return Condition.FAULTY if self.fault or self.unkept or any(table.fault for table in self.tables) else Condition.READY

    def table(self, schema: str, name: str) -> TableState | None:
        return next((table for table in self.tables if (table.schema, table.name) == (schema, name)), None)


@dataclass(frozen=True)
class LinkState:
    """Replication from ``source`` to ``target``.

    ``reason`` says why it does not stream, in words; None while it does.
    """

    source: str
    target: str
    state: Link = Link.STREAMING
    lag_bytes: int | None = field(default=None, compare=False)
    errors: int = field(default=0, compare=False)
    reason: str | None = field(default=None, compare=False)


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
        return next((link for link in self.links if (link.source, link.target) == (source, target)), LinkState(source, target, Link.MISSING))

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
                    assert link.state != Link.MISSING, f"{node.name} and {peer.name} serve, their link is missing"
