"""A pgunison cluster as a target: with an id, addresses and a directory of its own, so that it meets no other. chaos/runtimes.py has one a runtime."""

import contextlib
import copy
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import psycopg2

from pgunison.cluster.execute import bring_up
from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import NodeSpec, load
from pgunison.contract.names import link_name
from pgunison.everywhere import everywhere
from pgunison.progress import Progress


@dataclass
class Cluster:
    """A cluster by its configuration file and its site; what depends on where its nodes run is in the subclasses."""

    config_path: Path
    site: Site
    versions = ("modified_ts", "modified_node")
    # what its connections need beside the connection string
    patience = {"connect_timeout": 10}

    def superuser(self, node: str) -> Any:
        """Open a connection as a superuser of the node, which the caller closes."""
        raise NotImplementedError

    def folder(self, node: str) -> Path:
        """Return where the node's files are."""
        raise NotImplementedError

    def server_pid(self, node: str) -> int | None:
        """Find the postmaster, by its process id on this machine."""
        raise NotImplementedError

    def agent_pid(self, node: str) -> int | None:
        """Find the agent, by its process id on this machine."""
        raise NotImplementedError

    def process(self, node: str, pid: int) -> int | None:
        """Find the process on this machine that the node's PostgreSQL knows by that id."""
        raise NotImplementedError

    def _end(self, node: NodeSpec) -> None:
        """End what runs of a node that will be removed."""
        raise NotImplementedError

    def up(self, progress: Progress | None = None) -> "Cluster":
        """Bring it up, or finish what is missing."""
        bring_up(self.site, progress or Progress())
        return self

    def names(self) -> list[str]:
        return [node.name for node in self.site.configuration.nodes]

    @contextlib.contextmanager
    def connect(self, node: str, role: str = "owner", *, autocommit: bool = True) -> Iterator:
        """Open a connection to a node as the first role of that kind, or as the role of that name."""
        kinds = {each.kind for each in self.site.configuration.roles}
        user = self.site.configuration.role(role).name if role in kinds else role
        connection = psycopg2.connect(self.site.dsn(user, node), **self.patience)
        connection.autocommit = autocommit
        try:
            yield connection
        finally:
            connection.close()

    def query(self, node: str, statement: str, parameters: Any = None, role: str = "owner") -> list[tuple]:
        """Execute one statement in a connection of its own; returns its rows, if it has any."""
        with self.connect(node, role) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def link(self, source: str, target: str) -> str:
        return link_name(source, target)

    def sweep(self, node: str) -> int:
        return self.site.call(node, "node.sweep")["swept"]

    def start(self, node: str) -> None:
        self.site.runtime.start(self.site.spec(node))

    def stop(self, node: str) -> None:
        self.site.runtime.stop(self.site.spec(node))

    def await_node(self, node: str, timeout_s: float) -> None:
        self.site.agents.await_postgresql(self.site.spec(node), self.site.runtime.require_running, timeout_s)

    def reopen(self) -> None:
        """Look at the cluster anew: its configuration or its secrets are others than before."""
        self.site.close()
        self.site = Site.of(load(self.config_path), self.site.runtime.name, make=True)

    def remove(self) -> None:
        """Leave nothing of the cluster behind but its configuration, whatever state it is in."""
        self.site.close()
        runtime = self.site.runtime
        nodes = [self.site.any_spec(name) for name in runtime.nodes()]
        everywhere(nodes, self._end)
        everywhere(nodes, runtime.purge)
        runtime.purge_all()


def own_configuration(document: dict, kind: str, subnet: IPv4Network, nodes: int, tables: list[dict] | None = None, **config: Any) -> dict:
    """Turn a configuration into that of another cluster: an id of its own, this subnet, so many nodes, and these tables and keys of system.config."""
    written = copy.deepcopy(document)
    system = written["system"]
    system["id"] = f"{kind}-{secrets.token_hex(4)}"
    network = system["networks"][0]
    network.pop("nodes", None)
    network["config"]["scale"] = {"min_nodes": 1, "max_nodes": nodes}
    network["config"]["net"]["ipv4"] = {"subnet": str(subnet.network_address), "netbits": subnet.prefixlen, "gateway": str(subnet[1])}
    # of the other cluster, and not to be lent
    system["config"].pop("passwords", None)
    if tables is not None:
        system["config"]["tables"] = tables
    system["config"] |= config
    return written
