"""pgunison's own cluster under measurement: made as a user makes it, from a configuration file."""

import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.cluster import Cluster
from pgunison.cluster.execute import bring_up
from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import load
from pgunison.progress import Progress
from pgunison.runtime.binaries import find, server_user

PROJECT = Path(__file__).resolve().parents[1]


class Silent(Progress):
    """Shows no steps: standard output and standard error belong to the measurement."""

    def __init__(self):
        super().__init__()
        self.console.quiet = True


class Pgunison(Cluster):
    """The cluster of sysconfig.json with ``nodes`` nodes, in the process runtime; ``directory`` is that of :func:`workplace`."""

    def __init__(self, nodes: int, directory: Path, tables: Sequence[dict] | None = None, settings: Mapping[str, str] | None = None):
        path = directory / f"bench-{secrets.token_hex(3)}.json"
        path.write_text(json.dumps(configuration(path.stem, nodes, tables, settings)), encoding="utf-8")
        self.config_path = path
        self.configuration = load(path)
        self.names = [node.name for node in self.configuration.nodes]
        self.binaries = find(directory, server_user())
        self._site: Site | None = None

    def start(self) -> None:
        self._site = Site.of(self.configuration, "process", make=True)
        bring_up(self._site, Silent())

    def stop(self) -> None:
        if self._site is None:
            return
        for name in self._site.runtime.nodes():
            self._site.runtime.stop(self._site.any_spec(name))
            self._site.runtime.purge(self._site.any_spec(name))
        self._site.runtime.purge_all()
        self._site.agents.close()
        self.config_path.unlink()

    def halt(self, node: str) -> Path:
        """Stop the node cleanly, and return where its data is."""
        self._site.runtime.stop(self._site.spec(node))
        return self._site.directory / "nodes" / node / "data"

    def dsn(self, node: str) -> str:
        return self._site.dsn(self.configuration.role("writer").name, node)

    def superuser_dsn(self, node: str) -> str:
        socket = self._site.directory / "nodes" / node / "socket"
        return f"host={socket} port={self.configuration.postgresql_port} dbname={self.configuration.database} user=postgres"

    def agents_cpu_s(self) -> float:
        ticks = 0
        for name in self.names:
            pid = (self._site.directory / "nodes" / name / "agent.lock").read_text().strip()
            # its own time only: PostgreSQL is its child
            ticks += sum(map(int, (Path("/proc") / pid / "stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")


def configuration(cluster_id: str, nodes: int, tables: Sequence[dict] | None = None, settings: Mapping[str, str] | None = None) -> dict:
    """Write sysconfig.json with another id, number of nodes and subnet, these tables and PostgreSQL's settings: another cluster may run on this machine."""
    written = json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8"))
    written["system"]["id"] = cluster_id
    if tables is not None:
        written["system"]["config"]["tables"] = list(tables)
    if settings:
        written["system"]["config"]["postgresql"] = dict(settings)
    network = written["system"]["networks"][0]["config"]
    network["scale"] |= {"min_nodes": 1, "max_nodes": nodes}
    second, third = 100 + secrets.randbelow(28), secrets.randbelow(256)
    network["net"]["ipv4"] = {"subnet": f"10.{second}.{third}.0", "netbits": 24, "gateway": f"10.{second}.{third}.1"}
    return written


@contextmanager
def workplace() -> Iterator[Path]:
    """Make a directory in which clusters live, which PostgreSQL's user can reach. It goes in the end, also when we are told to end."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="pgunison-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        os.environ["PGUNISON_STATE"] = name
        yield directory
