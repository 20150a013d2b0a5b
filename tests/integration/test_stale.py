"""An old copy of a node's disk is put back: noticed at once, refused, and said."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import httpx
import psycopg2
import pytest

from pgunison.errors import OrchestratorError
from tests.convergence.comparison import MARKS, assert_same, names, settle, wait_until
from tests.integration.orchestrator import command_line, run

TABLE1 = {"name": "table1", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"}]}

HEARD = "SELECT number FROM unison.member WHERE name = 'node2'"


@pytest.fixture
def cluster(make_cluster):
    cluster = make_cluster(nodes=3, tables=[TABLE1, MARKS])
    run(cluster, "up")
    yield cluster
    cluster.remove()


def write(cluster, node: str, text: str, rows: int = 1) -> None:
    cluster.query(node, "INSERT INTO table1 (col1) SELECT %s FROM generate_series(1, %s)", [text, rows], role="writer")


def take_copy(cluster, node: str) -> None:
    """Copy the node's data away while it is stopped, and start it again."""
    cluster.stop(node)
    shutil.copytree(cluster.folder(node) / "data", cluster.folder(node).parent.parent / f"{node}.copy", symlinks=True)
    for path in [cluster.folder(node) / "data", *(cluster.folder(node) / "data").rglob("*")]:
        copied = cluster.folder(node).parent.parent / f"{node}.copy" / path.relative_to(cluster.folder(node) / "data")
        shutil.chown(copied, path.owner(), path.group())
    cluster.start(node)
    cluster.await_node(node, 60)


def put_back(cluster, node: str, copy_of: str | None = None) -> None:
    """Stop the node, put the copy in place of its data, and start it again as a machine that boots would."""
    cluster.stop(node)
    shutil.rmtree(cluster.folder(node) / "data")
    (cluster.folder(node).parent.parent / f"{copy_of or node}.copy").rename(cluster.folder(node) / "data")
    cluster.start(node)
    with contextlib.suppress(OrchestratorError):
        cluster.await_node(node, 60)


def ready(cluster, node: str) -> tuple[int, str | None]:
    address = cluster.site.runtime.address(cluster.site.spec(node))
    answer = httpx.get(f"http://{address}:{cluster.site.configuration.agent_port}/ready", timeout=30, trust_env=False)
    return answer.status_code, answer.json()["reason"]


def states(cluster) -> dict[str, str]:
    # its exit status may say that not all is well
    done = subprocess.run(command_line(cluster, "status", "--json"), capture_output=True, text=True)
    return {node["name"]: node["state"] for node in json.loads(done.stdout)["nodes"]}


def superuser(cluster, node: str, statement: str) -> None:
    with contextlib.closing(cluster.superuser(node)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def await_settled(cluster) -> None:
    """Wait until node1 has told node2 that it has settled a beat of the run of node2 that began behind the copy."""
    before = cluster.query("node1", HEARD)
    wait_until(lambda: None if cluster.query("node1", HEARD) != before else "no beat", "node1 hears a beat of the new run", 30)
    life = cluster.query("node2", "SELECT life::text FROM unison.node")[0][0]
    told = "SELECT (settled ->> %s)::bigint FROM unison.member WHERE name = 'node1'"
    newest = cluster.query("node2", "SELECT max(last) FROM unison.run")[0][0] or 0
    wait_until(lambda: None if (cluster.query("node1", told, [life])[0][0] or 0) > newest else "not settled", "node1 has settled it", 40)


def noticed(cluster, node: str) -> str | None:
    status, reason = ready(cluster, node)
    # never ready in between
    assert status == 503, f"{node} was ready with an old copy of its data"
    return None if "an old copy of its data was put back" in (reason or "") else f"not ready: {reason}"


def refused(cluster, node: str) -> str | None:
    try:
        write(cluster, node, "to be refused")
    except psycopg2.Error as error:
        return None if "permission denied" in str(error) else str(error)
    return "a writer can write"


def assert_noticed_by_peers(cluster) -> None:
    """Start the peers; what they have heard of node2 must make it refuse writers."""
    for peer in ("node1", "node3"):
        cluster.start(peer)

    def unnoticed() -> str | None:
        reason = ready(cluster, "node2")[1]
        return None if "an old copy of its data was put back" in (reason or "") else str(reason)

    wait_until(unnoticed, "node2 notices by a beat", 60)
    wait_until(lambda: refused(cluster, "node2"), "writers are refused", 60)


@pytest.mark.process_runtime("the copy is taken by hand")
def test_an_old_copy_is_noticed_refused_and_made_anew(cluster):
    write(cluster, "node2", "in the copy", 50)
    settle(cluster)
    take_copy(cluster, "node2")
    write(cluster, "node2", "acknowledged, and not in the copy", 200)
    write(cluster, "node1", "of another node, not in the copy", 200)
    settle(cluster)
    put_back(cluster, "node2")
    began = time.monotonic()
    wait_until(lambda: noticed(cluster, "node2"), "node2 is not ready, and says why", 20)
    wait_until(lambda: refused(cluster, "node2"), "writers are refused", 60)
    print(f"noticed and refused after {time.monotonic() - began:.1f} s")
    assert states(cluster) == {"node1": "ready", "node2": "stale", "node3": "ready"}
    done = run(cluster, "up", status=1)
    assert "node2 does not serve: an old copy of its data was put back" in done.stderr
    with pytest.raises(OrchestratorError, match="stale"):
        cluster.site.call("node2", "node.admit")
    # what it says of itself reaches nobody: the others keep what they must for it
    assert cluster.query("node2", "SELECT phase FROM unison.node") == [("joining",)]
    # the way out, as the hint says it
    command = done.stderr.split("hint: ")[1].split("; then up")[0]
    subprocess.run(["bash", "-c", command], check=True, timeout=60)
    run(cluster, "up")
    assert states(cluster) == dict.fromkeys(names(cluster), "ready")
    write(cluster, "node2", "in its new life")
    assert_same(cluster, "table1")
    found = dict(cluster.query("node2", "SELECT col1, count(*) FROM table1 GROUP BY 1"))
    assert found["acknowledged, and not in the copy"] == 200 and found["in the copy"] == 50


@pytest.mark.process_runtime("the copy is taken by hand")
def test_a_copy_is_noticed_when_its_wal_has_come_further_than_the_peers_knew(cluster):
    """Peers are away while the old copy writes on, past the position up to which they have it; then only the beats tell."""
    take_copy(cluster, "node2")
    write(cluster, "node2", "not in the copy", 10)
    settle(cluster)
    await_settled(cluster)
    for peer in ("node1", "node3"):
        cluster.stop(peer)
    put_back(cluster, "node2")
    write(cluster, "node2", "x" * 1000, 5000)
    assert_noticed_by_peers(cluster)


@pytest.mark.process_runtime("the copy is taken by hand")
def test_a_copy_that_is_heard_before_it_hears_is_noticed(cluster):
    """The copy's beats arrive before a peer has made one of its own: what the peer had heard of the node before must not be lost by them."""
    take_copy(cluster, "node2")
    write(cluster, "node2", "not in the copy", 10)
    settle(cluster)
    await_settled(cluster)
    for peer in ("node1", "node3"):
        # without an agent a node makes no beats, and its links go on
        os.kill(cluster.agent_pid(peer), signal.SIGKILL)
        superuser(cluster, peer, f"ALTER SUBSCRIPTION unison_node2_to_{peer} DISABLE")
    put_back(cluster, "node2")
    write(cluster, "node2", "x" * 1000, 5000)
    heard = cluster.query("node1", HEARD)
    for peer in ("node1", "node3"):
        superuser(cluster, peer, f"ALTER SUBSCRIPTION unison_node2_to_{peer} ENABLE")
    of_the_copy = cluster.query("node2", HEARD)
    wait_until(lambda: None if cluster.query("node2", HEARD) > of_the_copy else "no beat", "node2 makes a beat", 30)
    write(cluster, "node2", "behind the beat")
    arrived = "SELECT 1 FROM table1 WHERE col1 = 'behind the beat'"
    wait_until(lambda: None if cluster.query("node1", arrived) else "no row", "node1 hears of it", 30)
    assert cluster.query("node1", HEARD) == heard
    assert_noticed_by_peers(cluster)


@pytest.mark.process_runtime("the copy is taken by hand")
def test_a_copy_of_another_node_does_not_start(cluster):
    take_copy(cluster, "node2")
    put_back(cluster, "node3", copy_of="node2")
    wait_until(lambda: None if "holds the data of node2" in (ready(cluster, "node3")[1] or "") else "not noticed", "node3 says whose data it has", 20)
    assert not cluster.server_pid("node3") or not (cluster.folder("node3") / "data" / "postmaster.pid").exists()
    assert states(cluster)["node3"] == "unavailable"


@pytest.mark.process_runtime("servers are restarted by hand")
def test_nodes_that_start_again_are_not_stale(cluster):
    write(cluster, "node1", "before", 10)
    for node in names(cluster):
        cluster.stop(node)
    for node in names(cluster):
        cluster.start(node)
    for node in names(cluster):
        cluster.await_node(node, 60)
    wait_until(lambda: next((f"{node}: {ready(cluster, node)}" for node in names(cluster) if ready(cluster, node)[0] != 200), None), "all are ready", 30)
    # some beats later, too
    before = cluster.query("node1", HEARD)
    wait_until(lambda: None if cluster.query("node1", HEARD) != before else "no beat", "node1 hears of the new run", 30)
    assert states(cluster) == dict.fromkeys(names(cluster), "ready")
    assert_same(cluster, "table1")


@pytest.mark.process_runtime("a server is restarted by hand")
def test_a_node_without_its_peers_is_ready_after_a_while(cluster):
    for node in names(cluster):
        cluster.stop(node)
    cluster.start("node1")
    cluster.await_node("node1", 60)
    assert "has not said yet" in (ready(cluster, "node1")[1] or "")
    wait_until(lambda: None if ready(cluster, "node1")[0] == 200 else str(ready(cluster, "node1")), "node1 serves alone", 30)
