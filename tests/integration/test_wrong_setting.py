"""Settings of sysconfig.json: a wrong one is refused in PostgreSQL's own words before anything is stopped; a changed one reaches a cluster that runs."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from tests.convergence.comparison import MARKS, wait_until
from tests.integration.orchestrator import run

pytestmark = pytest.mark.process_runtime("it looks at the node's files and processes")


def set_settings(cluster, **settings) -> None:
    written = json.loads(cluster.config_path.read_text())
    written["system"]["config"]["postgresql"] = settings
    cluster.config_path.write_text(json.dumps(written))
    cluster.reopen()


def setting(cluster, node: str, name: str) -> str:
    return cluster.query(node, "SELECT current_setting(%s)", [name])[0][0]


def files(cluster) -> dict[Path, bytes]:
    folders = [cluster.folder(node) for node in ("node1", "node2")]
    return {path: path.read_bytes() for folder in folders for path in (folder / "data" / "postgresql.conf", folder / "agent.json")}


@pytest.fixture(scope="module")
def cluster(make_cluster):
    made = make_cluster(nodes=2, tables=[MARKS], postgresql={"work_mem": "5MB"})
    run(made, "up")
    made.reopen()
    return made


@pytest.mark.parametrize(("settings", "said"), [
    ({"nonsense": "1"}, 'unrecognized configuration parameter "nonsense"'),
    ({"work_mem": "1 parsec"}, 'invalid value for parameter "work_mem": "1 parsec"'),
    ({"max_connections": -1}, '-1 is outside the valid range for parameter "max_connections"'),
    ({"shared_buffers": "100TB"}, 'invalid value for parameter "shared_buffers": "100TB"'),
    ({"work_mem": "6MB", "nonsense": "1"}, 'unrecognized configuration parameter "nonsense"')])
def test_a_wrong_setting_is_refused_and_nothing_is_touched(cluster, settings, said):
    before, servers = files(cluster), [cluster.server_pid(node) for node in ("node1", "node2")]
    set_settings(cluster, **settings)
    done = run(cluster, "up", status=2)
    assert f"$.system.config.postgresql: {said}" in done.stderr and "contains errors" not in done.stderr
    assert files(cluster) == before and [cluster.server_pid(node) for node in ("node1", "node2")] == servers
    assert setting(cluster, "node2", "work_mem") == "5MB"


@pytest.mark.parametrize(("place", "value", "status", "said"), [
    ("postgresql", {"nonsense": "1"}, 2, "unrecognized configuration parameter"), ("database", "another", 2, "a cluster keeps its database and its ports"),
    ("tables", [MARKS | {"columns": [{"name": "other", "type": "uuid", "primary_key": True}]}], 1, "has other columns in the configuration")])
def test_a_node_is_not_stopped_for_a_restart_that_is_refused(cluster, place, value, status, said):
    set_settings(cluster, work_mem="5MB")
    before, server, written = files(cluster), cluster.server_pid("node1"), cluster.config_path.read_text()
    document = json.loads(written)
    document["system"]["config"][place] = value
    cluster.config_path.write_text(json.dumps(document))
    assert said in run(cluster, "restart", "node1", status=status).stderr
    cluster.config_path.write_text(written)
    assert files(cluster) == before and cluster.server_pid("node1") == server


def test_a_changed_setting_reaches_the_cluster_node_by_node(cluster):
    set_settings(cluster, work_mem="7MB", max_connections=150)
    done = run(cluster, "up")
    steps = [line.split(" (")[0].strip() for line in done.stderr.splitlines()]
    assert steps.index("make node1 anew on its data") < steps.index("wait until the links of node1 stream") < steps.index("make node2 anew on its data")
    for node in ("node1", "node2"):
        assert (setting(cluster, node, "work_mem"), setting(cluster, node, "max_connections")) == ("7MB", "150")
    assert "make node1 anew" not in run(cluster, "up").stderr
    # more nodes have room in what the servers were given: nothing is restarted for them
    servers = [cluster.server_pid(node) for node in ("node1", "node2")]
    written = json.loads(cluster.config_path.read_text())
    written["system"]["networks"][0]["config"]["scale"]["max_nodes"] = 3
    cluster.config_path.write_text(json.dumps(written))
    cluster.reopen()
    run(cluster, "up")
    assert [cluster.server_pid(node) for node in ("node1", "node2")] == servers


def test_what_only_a_start_finds_out_costs_one_node_and_is_mended_by_up(cluster):
    set_settings(cluster, work_mem="7MB", shared_preload_libraries="no_such_library")
    done = run(cluster, "up", status=1)
    assert 'could not access file "no_such_library"' in done.stderr
    assert setting(cluster, "node2", "work_mem") == "7MB" and setting(cluster, "node3", "work_mem") == "7MB"
    set_settings(cluster, work_mem="8MB")
    run(cluster, "up")
    assert {setting(cluster, node, "work_mem") for node in ("node1", "node2", "node3")} == {"8MB"}


def test_a_stopped_cluster_keeps_the_file_it_started_with(cluster):
    run(cluster, "down")
    before = (cluster.folder("node1") / "data" / "postgresql.conf").read_bytes()
    set_settings(cluster, nonsense="1")
    done = run(cluster, "up", status=1)
    assert 'unrecognized configuration parameter "nonsense"' in done.stderr
    assert (cluster.folder("node1") / "data" / "postgresql.conf").read_bytes() == before
    assert not list((cluster.folder("node1") / "socket").glob("postgresql.conf.*"))
    set_settings(cluster, work_mem="8MB")
    run(cluster, "up")
    assert run(cluster, "status").returncode == 0


def test_the_cause_of_a_server_s_end_is_told_not_what_clients_were_told(cluster):
    """A process of the server is killed, and clients knock all the while."""
    with cluster.connect("node1", "writer") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        os.kill(cluster.process("node1", cursor.fetchone()[0]), signal.SIGKILL)
    for _ in range(50):
        with contextlib.suppress(Exception):
            cluster.query("node1", "SELECT 1")
    wait_until(lambda: cluster.site.agents.problem(cluster.site.spec("node1")), "node1 is well", 60)
    os.kill(cluster.server_pid("node1"), signal.SIGKILL)
    agent_log = cluster.folder("node1") / "agent.log"
    wait_until(lambda: None if "ended unexpectedly" in agent_log.read_text() else "nothing is told", "the agent tells", 60)
    told = next(line for line in agent_log.read_text().splitlines() if "ended unexpectedly" in line)
    assert "the database system is" not in told and ("terminated by signal 9" in told or "nothing that says why" in told)
