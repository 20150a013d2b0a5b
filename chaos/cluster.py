"""A pgunison cluster as a target: with an id, loopback addresses and a directory of its own, so that it meets no other."""

import contextlib
import copy
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from host.execute import bring_up
from host.progress import Progress
from host.site import Site


@dataclass
class Cluster:
    """A cluster by its configuration file and its site."""

    config_path: Path
    site: Site
    versions = ("modified_ts", "modified_node")

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
        connection = psycopg2.connect(self.site.dsn(user, node), connect_timeout=10)
        connection.autocommit = autocommit
        try:
            yield connection
        finally:
            connection.close()

    def superuser(self, node: str):
        """Open a connection as the node's superuser, over its socket."""
        return psycopg2.connect(host=str(self.folder(node) / "socket"), port=self.site.configuration.postgresql_port, user="postgres",
                                dbname=self.site.configuration.database, connect_timeout=10)

    def query(self, node: str, statement: str, parameters: Any = None, role: str = "owner") -> list[tuple]:
        """Execute one statement in a connection of its own; returns its rows, if it has any."""
        with self.connect(node, role) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def link(self, source: str, target: str) -> str:
        return f"unison_{source}_to_{target}"

    def sweep(self, node: str) -> int:
        return self.site.call(node, "node.sweep")["swept"]

    def server_pid(self, node: str) -> int | None:
        return _first_number(self.folder(node) / "data" / "postmaster.pid")

    def agent_pid(self, node: str) -> int | None:
        running = self.site.runtime.state(self.site.spec(node)) == "running"
        return _first_number(self.folder(node) / "agent.lock") if running else None

    def start(self, node: str) -> None:
        self.site.runtime.start(self.site.spec(node))

    def stop(self, node: str) -> None:
        self.site.runtime.stop(self.site.spec(node))

    def await_node(self, node: str, timeout_s: float) -> None:
        self.site.agents.await_postgresql(self.site.spec(node), self.site.runtime.require_running, timeout_s)

    def folder(self, node: str) -> Path:
        """Return where the node's files are."""
        return self.site.directory / "nodes" / node


def own_configuration(document: dict, kind: str, nodes: int, tables: list[dict] | None = None, **config: Any) -> dict:
    """Turn a configuration into that of another cluster: an id and a subnet of its own, so many nodes, and these tables and keys of system.config."""
    written = copy.deepcopy(document)
    system = written["system"]
    system["id"] = f"{kind}-{secrets.token_hex(4)}"
    network = system["networks"][0]
    network.pop("nodes", None)
    network["config"]["scale"] = {"min_nodes": 1, "max_nodes": nodes}
    second, third = 100 + secrets.randbelow(150), secrets.randbelow(256)
    network["config"]["net"]["ipv4"] = {"subnet": f"10.{second}.{third}.0", "netbits": 24, "gateway": f"10.{second}.{third}.1"}
    # of the other cluster, and not to be lent
    system["config"].pop("passwords", None)
    if tables is not None:
        system["config"]["tables"] = tables
    system["config"] |= config
    return written


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None
