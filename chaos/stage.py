"""The stage: a cluster made for one run, which leaves nothing behind."""

import json
import shutil
from typing import Any

from rich.console import Console

from chaos import disk
from chaos.cluster import Cluster, own_configuration
from chaos.runtimes import free_subnet, open_cluster
from pgunison.directory import cluster_directory
from pgunison.progress import Progress

# WAL that is kept for a peer must fit into a small file system, and be thrown away soon
SETTINGS = {"max_wal_size": "256MB"}


class Stage:
    """A cluster after the configuration ``document``, but for its id, subnet, size and tables, and the keys of system.config that are given.
    ``settings`` are PostgreSQL's that it needs.

    With ``mounted`` the last node's directory is a file system of its own. OrchestratorError when that cannot be.
    """

    def __init__(self, document: dict, nodes: int, tables: list[dict], *, mounted: bool, runtime: str = "process",
                 settings: dict[str, str | int] | None = None, **config: Any):
        settings = SETTINGS | (settings or {}) | document["system"]["config"].get("postgresql", {})
        written = own_configuration(document, "chaos", free_subnet(runtime), nodes, tables, postgresql=settings, **config)
        self.directory = cluster_directory(written["system"]["id"], runtime)
        self._mounted = mounted
        self.directory.mkdir(mode=0o755, parents=True)
        path = self.directory / "sysconfig.json"
        try:
            path.write_text(json.dumps(written), encoding="utf-8")
            self.cluster = open_cluster(path, runtime)
        except BaseException:
            shutil.rmtree(self.directory)
            raise

    def make(self) -> Cluster:
        """Bring the cluster up."""
        if self._mounted:
            disk.mount(self.cluster.folder(self.cluster.names()[-1]))
        return self.cluster.up(Progress(Console(quiet=True)))

    def remove(self) -> None:
        """Stop what runs and remove all files."""
        if self._mounted:
            last = self.cluster.names()[-1]
            self.cluster.stop(last)
            disk.unmount(self.cluster.folder(last))
        self.cluster.remove()
