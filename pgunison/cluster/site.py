"""The site: a configured cluster with the ways to act on it, which steps and commands share."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgunison import credentials
from pgunison.cluster.desired import column_description
from pgunison.cluster.state import ClusterState, Link, TableState
from pgunison.configuration import members
from pgunison.configuration.members import Members
from pgunison.configuration.sysconfig import Configuration, NodeSpec
from pgunison.directory import cluster_directory
from pgunison.endpoints import Endpoint, Endpoints
from pgunison.errors import OrchestratorError, UsageError
from pgunison.runtime.choice import choose
from pgunison.runtime.runtime import Runtime

if TYPE_CHECKING:
    # loaded when a node is asked: a command that only knows where the nodes are asks none
    from pgunison.agents import Agents

LINKS_TIMEOUT_S = 60.0
# how long a node has to show that it lives
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Site:
    """``runtime`` starts and stops nodes, ``agents`` calls services on them, ``credentials`` are the cluster's passwords. The nodes of ``configuration`` are
    the members: those that were added since are among them, and none that was removed."""

    configuration: Configuration
    directory: Path
    credentials: credentials.Credentials
    runtime: Runtime

    @classmethod
    def of(cls, configuration: Configuration, runtime_name: str, *, make: bool = False, supposed: Members | None = None) -> "Site":
        """Open the site of a configuration; with ``make`` it may be a new one, or have new roles, else OrchestratorError when the cluster was never made.

        ``supposed`` takes the place of the members that are written down."""
        runtime_class = choose(runtime_name, configuration.id)
        directory = cluster_directory(configuration.id, runtime_class.name)
        if not make and not credentials.exist(directory / "secrets"):
            raise OrchestratorError(f"there is no cluster {configuration.id} on this machine", f"{directory} holds none", "python3 orchestrator.py up")
        configuration = (supposed or members.read(directory)).of(configuration)
        known = credentials.ensure(configuration, directory / "secrets") if make else credentials.read(directory / "secrets")
        runtime = runtime_class(configuration, directory, known)
        return cls(configuration, directory, known, runtime)

    @cached_property
    def agents(self) -> "Agents":
        from pgunison.agents import Agents
        trust = self.runtime.certificates.trust() if self.runtime.certificates else None
        return Agents(self.configuration, self.credentials.token, self.runtime.address, trust)

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the agents, where somebody was asked; nothing is opened for it."""
        if "agents" in self.__dict__:
            self.agents.close()

    def names(self) -> list[str]:
        """List the names of the members."""
        return [node.name for node in self.configuration.nodes]

    def spec(self, name: str) -> NodeSpec:
        """Return a configured node; UsageError when there is none of the name."""
        return self.configuration.node(name)

    def any_spec(self, name: str) -> NodeSpec:
        """Return a node that is configured, or was once made."""
        return self.configuration.any_spec(name)

    def call(self, node: str, service_id: str, timeout_s: float | None = None, **children: Any) -> dict[str, Any]:
        """Call a service on a node, by name; what it does may take long, unless ``timeout_s`` is given."""
        return self.agents.call(self.spec(node), service_id, timeout_s, **children)

    def observe(self, patience_s: float = PATIENCE_S) -> ClusterState:
        """Look at every node, now; one that shows no life within ``patience_s`` is told as one that does not answer."""
        from pgunison.cluster.observe import observe
        return observe(self.configuration, self.runtime, self.agents, patience_s)

    def roles(self) -> list[dict[str, str]]:
        """Write the roles as ``node.prepare`` takes them."""
        return [{"name": role.name, "kind": role.kind, "password": self.credentials.passwords[role.name]} for role in self.configuration.roles]

    def subscription(self, source: str) -> dict[str, Any]:
        """Write how to reach a peer as ``subscription.setup`` takes it."""
        user = self.configuration.role("replicator").name
        return {"source": source, "host": self.runtime.address(self.spec(source)), "port": self.configuration.postgresql_port, "user": user,
                "password": self.credentials.passwords[user]}

    def table_description(self, table: TableState) -> dict[str, Any]:
        """Write a configured table as ``table.setup`` takes it."""
        configured = next(t for t in self.configuration.tables if (t.schema, t.name) == (table.schema, table.name))
        return {"schema": configured.schema, "name": configured.name, "Column": [column_description(column) for column in configured.columns]}

    def dsn(self, user: str, node: str | None = None, *, spread: bool = True) -> str:
        """Write a connection string for a role, to one node or to all of them, in any order unless ``spread`` is False, which libpq before 16 needs; the
        password is in the passfile that it names.

        UsageError when it is a role that no ``up`` has made yet.
        """
        if user in {role.name for role in self.configuration.roles} - self.credentials.passwords.keys():
            raise UsageError(f"there is no role {user} yet", "it is new in the configuration", "python3 orchestrator.py up")
        nodes = [self.spec(node)] if node else list(self.configuration.nodes)
        options = ({"load_balance_hosts": "random"} if spread and not node else {}) | self.security()
        from psycopg2.extensions import make_dsn
        return make_dsn(host=",".join(self.runtime.address(each) for each in nodes), port=self.configuration.postgresql_port,
                                            dbname=self.configuration.database, user=user, passfile=str(self.credentials.passfile), **options)

    def security(self) -> dict[str, str]:
        """Return what a connection string needs, so that it leads to a node and nobody listens."""
        certificates = self.runtime.certificates
        return {"sslmode": "verify-full", "sslrootcert": str(certificates.authorities)} if certificates else {}

    def endpoints(self) -> Endpoints:
        """Write down where the nodes are that are there, for the pools of this machine."""
        there = set(self.runtime.nodes())
        nodes = tuple(Endpoint(node.name, node.index, self.runtime.address(node), self.configuration.postgresql_port, self.configuration.agent_port)
                      for node in self.configuration.nodes if node.name in there)
        return Endpoints(self.configuration.id, self.configuration.database, nodes, self.security().get("sslrootcert"))

    def await_links(self, node: str, peers: tuple[str, ...]) -> None:
        """Wait until each link between the node and its peers streams, or one has lost its slot; a link that catches up has time as long as it gets nearer."""
        deadline, least = time.monotonic() + LINKS_TIMEOUT_S, None
        while True:
            cluster = self.observe()
            waiting = [link for peer in peers for link in (cluster.link(peer, node), cluster.link(node, peer)) if link.state != Link.STREAMING]
            # a slot that was lost meanwhile does not come back by waiting: the caller looks again, and subscribes again
            if not waiting or any(link.state == Link.SLOT_LOST for link in waiting):
                return
            lag = sum(link.lag_bytes or 0 for link in waiting)
            if least is None or lag < least:
                deadline, least = time.monotonic() + LINKS_TIMEOUT_S, lag
            if time.monotonic() > deadline:
                shown = ", ".join(f"{link.source} to {link.target} is {link.state}" for link in waiting[:5])
                raise OrchestratorError(f"the links of {node} do not stream after {LINKS_TIMEOUT_S:.0f} s without progress", shown,
                                        f"python3 orchestrator.py logs {waiting[0].target}")
            time.sleep(0.05)
