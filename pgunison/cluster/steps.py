"""The steps of a plan. ``str()`` of a step is the sentence that command line, log and tests print.

``run`` does it, and may be repeated; ``after`` says what the next look at the cluster should show, without any I/O.
"""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgunison.agents import QUESTION_TIMEOUT_S, AgentUnreachable
from pgunison.cluster.state import ClusterState, Link, LinkState, TableState
from pgunison.runtime.runtime import Process

if TYPE_CHECKING:
    from pgunison.cluster.site import Site

# merging all rows of a peer takes as long as it takes; a peer that dies meanwhile is noticed by PostgreSQL
SEED_TIMEOUT_S = 24 * 3600.0
# within it a node that accepts connections has to answer a question
DESCRIBE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class StartNode:
    """Start the node's agent, which starts its PostgreSQL; does not wait, so that nodes start side by side."""

    node: str

    def __str__(self) -> str:
        return f"start {self.node}"

    def run(self, site: "Site") -> None:
        site.runtime.start(site.spec(self.node))

    def after(self, cluster: ClusterState) -> ClusterState:
        return cluster.with_node(replace(cluster.node(self.node), process=Process.RUNNING, problem="PostgreSQL starts"))


@dataclass(frozen=True)
class AwaitNode:
    """Wait until the node's PostgreSQL accepts connections."""

    node: str

    def __str__(self) -> str:
        return f"wait until {self.node} accepts connections"

    def run(self, site: "Site") -> None:
        # a renewal that was interrupted may have left it with certificates that do not go with ours
        if site.runtime.certificates:
            site.runtime.put_certificates(site.spec(self.node))
        site.agents.await_postgresql(site.spec(self.node), site.runtime.require_running)
        deadline = time.monotonic() + DESCRIBE_TIMEOUT_S
        while True:
            try:
                # whatever else keeps it from being asked is said by itself: a server that stands still, one of another node
                site.call(self.node, "node.describe", QUESTION_TIMEOUT_S)
                return
            except AgentUnreachable:
                # on a machine that is busy an agent may be late once
                site.runtime.require_running(site.spec(self.node))
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def after(self, cluster: ClusterState) -> ClusterState:
        return cluster.with_node(replace(cluster.node(self.node), problem=None))


@dataclass(frozen=True)
class PrepareNode:
    """Make roles, database and the schema unison."""

    node: str
    roles: tuple[str, ...]

    def __str__(self) -> str:
        return f"prepare {self.node}: roles and database"

    def run(self, site: "Site") -> None:
        site.call(self.node, "node.prepare", Role=site.roles())

    def after(self, cluster: ClusterState) -> ClusterState:
        return cluster.with_node(replace(cluster.node(self.node), prepared=True, roles=self.roles, fault=None))


@dataclass(frozen=True)
class SetUpTable:
    """Make the table where it is missing, and install the merge."""

    node: str
    table: TableState

    def __str__(self) -> str:
        return f"set up {self.table} on {self.node}"

    def run(self, site: "Site") -> None:
        site.call(self.node, "table.setup", Table=site.table_description(self.table))

    def after(self, cluster: ClusterState) -> ClusterState:
        node = cluster.node(self.node)
        before = node.table(self.table.schema, self.table.name)
        made = replace(self.table, published=before.published if before else False, open=before.open if before else False, fault=None)
        if before is None:
            # the links that exist do not carry it yet
            for link in cluster.links:
                if link.target == self.node and link.state in (Link.STREAMING, Link.DISABLED):
                    cluster = cluster.with_link(replace(link, state=Link.INCOMPLETE))
        return cluster.with_node(replace(node, tables=_with_table(node.tables, made)))


@dataclass(frozen=True)
class Publish:
    """Publish every table that is set up on the node."""

    node: str

    def __str__(self) -> str:
        return f"publish the tables of {self.node}"

    def run(self, site: "Site") -> None:
        site.call(self.node, "publication.setup", Publication={})

    def after(self, cluster: ClusterState) -> ClusterState:
        node = cluster.node(self.node)
        return cluster.with_node(replace(node, tables=tuple(replace(table, published=True) for table in node.tables)))


@dataclass(frozen=True)
class Subscribe:
    """Make the link from source to target, with all that the source held before."""

    target: str
    source: str

    def __str__(self) -> str:
        return f"subscribe {self.target} to {self.source}"

    def run(self, site: "Site") -> None:
        site.call(self.target, "subscription.setup", SEED_TIMEOUT_S, Subscription=site.subscription(self.source))

    def after(self, cluster: ClusterState) -> ClusterState:
        return cluster.with_link(LinkState(self.source, self.target, Link.STARTING))


@dataclass(frozen=True)
class AwaitLinks:
    """Wait until every link between the node and its peers streams."""

    node: str
    peers: tuple[str, ...]

    def __str__(self) -> str:
        return f"wait until the links of {self.node} stream"

    def run(self, site: "Site") -> None:
        site.await_links(self.node, self.peers)

    def after(self, cluster: ClusterState) -> ClusterState:
        for peer in self.peers:
            cluster = cluster.with_link(LinkState(peer, self.node)).with_link(LinkState(self.node, peer))
        return cluster


@dataclass(frozen=True)
class OpenTable:
    """Let writers write and readers read."""

    node: str
    table: TableState

    def __str__(self) -> str:
        return f"open {self.table} on {self.node}"

    def run(self, site: "Site") -> None:
        site.call(self.node, "table.open", Table={"schema": self.table.schema, "name": self.table.name})

    def after(self, cluster: ClusterState) -> ClusterState:
        node = cluster.node(self.node)
        found = node.table(self.table.schema, self.table.name)
        if found is None:
            raise LookupError(f"no table {self.table} on {self.node}")
        return cluster.with_node(replace(node, tables=_with_table(node.tables, replace(found, open=True))))


@dataclass(frozen=True)
class ReplaceNode:
    """Stop the node, and start it anew on the same data."""

    node: str

    def __str__(self) -> str:
        return f"make {self.node} anew on its data"

    def run(self, site: "Site") -> None:
        site.runtime.replace(site.spec(self.node))

    def after(self, cluster: ClusterState) -> ClusterState:
        return cluster.with_node(replace(cluster.node(self.node), current=True, problem="PostgreSQL starts"))


@dataclass(frozen=True)
class AdmitNode:
    """Declare that the node has joined."""

    node: str

    def __str__(self) -> str:
        return f"admit {self.node}"

    def run(self, site: "Site") -> None:
        # it has never heard of them, and would wait for what a token says of them
        for former in site.configuration.former:
            site.call(self.node, "node.part", peer=former.name)
        site.call(self.node, "node.admit")

    def after(self, cluster: ClusterState) -> ClusterState:
        return cluster.with_node(replace(cluster.node(self.node), serving=True))


Step = StartNode | AwaitNode | PrepareNode | SetUpTable | Publish | Subscribe | AwaitLinks | OpenTable | AdmitNode | ReplaceNode


def _with_table(tables: tuple[TableState, ...], changed: TableState) -> tuple[TableState, ...]:
    others = [table for table in tables if (table.schema, table.name) != (changed.schema, changed.name)]
    return tuple(sorted([*others, changed], key=lambda table: (table.schema, table.name)))
