"""Real clusters for tests: each with an id, loopback addresses and a directory of its own, removed at the end."""

import contextlib
import copy
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from host.config import load
from host.execute import bring_up
from host.progress import Progress
from host.site import Site

PROJECT = Path(__file__).resolve().parents[1]
DEFAULT = json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8"))


@dataclass
class Cluster:
    """A cluster under test: its configuration file and its site."""

    config_path: Path
    site: Site

    def up(self) -> "Cluster":
        """Bring it up, or finish what is missing."""
        bring_up(self.site, Progress())
        return self

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
        socket = self.site.directory / "nodes" / node / "socket"
        return psycopg2.connect(host=str(socket), port=self.site.configuration.postgresql_port, user="postgres",
                                dbname=self.site.configuration.database)

    def query(self, node: str, statement: str, parameters: Any = None, role: str = "owner") -> list[tuple]:
        """Execute one statement in a connection of its own; returns its rows, if it has any."""
        with self.connect(node, role) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def state_directory() -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach, for the clusters of this run."""
    directory = Path(tempfile.mkdtemp(prefix="pgunison-test-"))
    directory.chmod(0o755)
    before = os.environ.get("PGUNISON_STATE")
    os.environ["PGUNISON_STATE"] = str(directory)
    yield directory
    if before is None:
        del os.environ["PGUNISON_STATE"]
    else:
        os.environ["PGUNISON_STATE"] = before
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def make_cluster(state_directory: Path) -> Iterator[Callable[..., Cluster]]:
    """Make clusters that are not up yet: ``make_cluster(nodes=3, tables=[...], **keys of system.config)``. All end with the session."""
    made: list[Cluster] = []

    def make(nodes: int = 3, tables: list[dict] | None = None, **config: Any) -> Cluster:
        written = copy.deepcopy(DEFAULT)
        system = written["system"]
        system["id"] = f"test-{secrets.token_hex(4)}"
        network = system["networks"][0]["config"]
        network["scale"] = {"min_nodes": 1, "max_nodes": nodes}
        second, third = 100 + secrets.randbelow(150), secrets.randbelow(256)
        network["net"]["ipv4"] = {"subnet": f"10.{second}.{third}.0", "netbits": 24, "gateway": f"10.{second}.{third}.1"}
        if tables is not None:
            system["config"]["tables"] = tables
        system["config"] |= config
        path = state_directory / f"{system['id']}.json"
        path.write_text(json.dumps(written), encoding="utf-8")
        cluster = Cluster(path, Site.of(load(path), "process", make=True))
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        for name in cluster.site.runtime.nodes():
            cluster.site.runtime.stop(cluster.site.any_spec(name))
        cluster.site.agents.close()
