"""Real clusters for tests: each with an id, loopback addresses and a directory of its own, removed at the end."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.cluster import Cluster, own_configuration
from host.config import load
from host.site import Site

PROJECT = Path(__file__).resolve().parents[1]
DEFAULT = json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8"))


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
        written = own_configuration(DEFAULT, "test", nodes, tables, **config)
        path = state_directory / f"{written['system']['id']}.json"
        path.write_text(json.dumps(written), encoding="utf-8")
        cluster = Cluster(path, Site.of(load(path), "process", make=True))
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        for name in cluster.site.runtime.nodes():
            cluster.site.runtime.stop(cluster.site.any_spec(name))
        cluster.site.agents.close()
