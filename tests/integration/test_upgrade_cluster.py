"""``git pull && up``: a cluster that an older checkout made, with its agents at work, and this checkout's ``up`` on it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.cluster import Cluster, own_configuration
from chaos.runtimes import free_subnet, open_cluster
from pgunison.cluster.desired import desired
from pgunison.cluster.state import ClusterState, TableState
from tests.convergence.comparison import MARKS, all_links, assert_same
from tests.integration.old_versions import Version
from tests.integration.orchestrator import run

# the last commit before the database had a version
RELEASED = Version("ebdc2214369bb54ba21fdc0f9a7150ec7b75d76e")
TABLE1 = {"name": "table1", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"}]}

pytestmark = pytest.mark.process_runtime("an image holds one version only, and there is none of the old one")


@pytest.fixture(scope="module")
def cluster(runtime, state_directory, tmp_path_factory) -> Iterator[Cluster]:
    """Two nodes that the old checkout's orchestrator brought up."""
    checkout = RELEASED.extract(tmp_path_factory.mktemp("released"), ())
    written = own_configuration(json.loads((checkout / "sysconfig.json").read_text(encoding="utf-8")), "test", free_subnet(runtime), 2, [TABLE1, MARKS])
    path = state_directory / f"{written['system']['id']}.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    old_orchestrator(checkout, path, "up")
    opened = open_cluster(path, runtime)
    try:
        yield opened
    finally:
        opened.remove()


def old_orchestrator(checkout: Path, config: Path, *words: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, str(checkout / "orchestrator.py"), "--config", str(config), "--runtime", "process", *words], cwd=checkout,
                          env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def write(cluster: Cluster, word: str) -> None:
    """Insert on each node, and change and delete on it what the other one wrote before."""
    for node, other in (("node1", "node2"), ("node2", "node1")):
        cluster.query(node, "INSERT INTO table1 (col1) SELECT %s || ' of ' || %s || ' ' || n FROM generate_series(1, 20) AS n", [word, node], role="writer")
        cluster.query(node, "UPDATE table1 SET col1 = col1 || ', then ' || %s WHERE col1 LIKE %s", [word, f"% of {other} 1%"], role="writer")
        cluster.query(node, "DELETE FROM table1 WHERE col1 LIKE %s", [f"{word} of {node} 2%"], role="writer")


def states(cluster: ClusterState) -> dict[str, tuple[str, bool]]:
    return {node.name: (node.state, node.current) for node in cluster.nodes}


def test_up_of_another_checkout_brings_all_of_it_to_its_version(cluster):
    write(cluster, "old")
    assert_same(cluster, "table1")
    rows = {row[0] for row in cluster.query("node1", "SELECT id FROM table1")}
    # an older agent is asked, and known as such
    assert states(cluster.site.observe()) == {"node1": ("ready", False), "node2": ("ready", False)}
    agents = {name: cluster.agent_pid(name) for name in cluster.names()}

    # two versions meet: the first node is of this one, the second is not yet
    site = cluster.site
    site.runtime.replace(site.spec("node1"))
    cluster.await_node("node1", 60)
    assert states(site.observe())["node1"] == ("faulty", True)
    site.call("node1", "node.prepare", Role=site.roles())
    for table in site.configuration.tables:
        site.call("node1", "table.setup", Table=site.table_description(next(t for t in cluster_tables(cluster) if t.name == table.name)))
    site.await_links("node1", ("node2",))
    write(cluster, "mixed")
    assert_same(cluster, "table1")

    done = run(cluster, "up")
    assert "make node2 anew on its data" in done.stderr and "node1 anew" not in done.stderr
    found = site.observe()
    assert states(found) == {"node1": ("ready", True), "node2": ("ready", True)}
    assert all(found.link(*ends).state == "streaming" for ends in all_links(cluster))
    assert agents["node2"] != cluster.agent_pid("node2")
    assert len(rows) == 36 and rows <= {row[0] for row in cluster.query("node2", "SELECT id FROM table1")}
    write(cluster, "new")
    assert_same(cluster, "table1")
    before = [cluster.agent_pid(name) for name in cluster.names()]
    again = run(cluster, "up")
    assert "anew" not in again.stderr and "prepare" not in again.stderr
    assert before == [cluster.agent_pid(name) for name in cluster.names()]


def cluster_tables(cluster: Cluster) -> tuple[TableState, ...]:
    return desired(cluster.site.configuration).nodes[0].tables
