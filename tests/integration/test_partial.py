"""status, verify and conflicts while a node is dead, frozen or without its agent: they answer for the others, name it, and do not wait for it."""

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.convergence.comparison import settle, wait_until
from tests.integration.orchestrator import run
from tests.integration.partial import ask, assert_answers_for_the_others, await_health, cluster_of_ten_rows

pytestmark = pytest.mark.process_runtime("it stops processes of this machine one by one; containers are in test_network.py and test_docker.py")


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return cluster_of_ten_rows(make_cluster)


def server_processes(cluster, node: str) -> list[int]:
    """List the postmaster and its children."""
    postmaster = cluster.server_pid(node)
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


@contextlib.contextmanager
def frozen(processes: list[int]) -> Iterator[None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def ready(url: str) -> str:
    """Ask as a load balancer does; nothing when there is no answer in time."""
    try:
        return httpx.get(url, timeout=20, trust_env=False).text
    except httpx.HTTPError:
        return ""


def test_all_is_well(cluster):
    await_health(cluster)
    done = run(cluster, "status")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "healthy: 3 of 3 nodes ready, 6 of 6 links streaming"
    assert len(done.stdout.splitlines()) == 5 and not [line for line in done.stdout.splitlines() if line != line.rstrip()]
    assert run(cluster, "verify").returncode == 0 and run(cluster, "conflicts").returncode == 0


def test_a_frozen_agent(cluster):
    with frozen([cluster.agent_pid("node2")]):
        found = assert_answers_for_the_others(cluster, "agent down", "its agent does not answer; PostgreSQL serves")
        # rows travel, and that is what is said
        assert {link["state"] for link in found["links"]} == {"streaming"}
    await_health(cluster)


def test_a_frozen_postgresql(cluster):
    with frozen(server_processes(cluster, "node2")):
        found = assert_answers_for_the_others(cluster, "unavailable", "PostgreSQL does not answer")
        assert {(link["source"], link["target"]) for link in found["links"] if link["state"] == "streaming"} == {("node1", "node3"), ("node3", "node1")}
        # whoever asks again and again takes no more than a few of the agent's threads, and the agent still says how it is
        spec = cluster.site.spec("node2")
        wait_until(lambda: None if httpx.get(f"http://{spec.loopback}:64000/ready", timeout=30, trust_env=False).status_code == 503 else "ready",
                   "the agent has forgotten that the node was ready", 30)
        with ThreadPoolExecutor(30) as pool:
            asked = [pool.submit(ready, f"http://{spec.loopback}:64000/ready") for _ in range(30)]
            wait_until(lambda: None if all(one.running() or one.done() for one in asked) else "not all", "all clients ask", 10)
            assert cluster.site.agents.health(spec, 2.0)["node"] == "node2"
            threads = len(list(Path(f"/proc/{cluster.agent_pid('node2')}/task").iterdir()))
            said = [one.result(60) for one in asked]
        # who asks when too many are asking already is told that, or gives up: nobody is told that the node is ready
        assert threads < 60 and not [answer for answer in said if '"ready":true' in answer], said
        assert any("PostgreSQL has not answered for" in answer for answer in said), said
    await_health(cluster)


def test_a_node_without_its_agent(cluster):
    os.kill(cluster.agent_pid("node2"), signal.SIGKILL)
    wait_until(lambda: None if cluster.site.runtime.state(cluster.site.spec("node2")) == "stopped" else "it runs", "the agent is gone", 20)
    found = assert_answers_for_the_others(cluster, "agent down", "its agent does not run; PostgreSQL serves")
    assert {link["state"] for link in found["links"]} == {"streaming"}
    cluster.query("node2", "INSERT INTO table1 (id, col1) VALUES (1, 'written without an agent')", role="owner")
    wait_until(lambda: None if cluster.query("node1", "SELECT 1 FROM table1 WHERE id = 1") else "no row", "the row travelled", 20)
    run(cluster, "up")
    await_health(cluster)
    cluster.query("node1", "DELETE FROM table1 WHERE id = 1")
    settle(cluster)


def test_a_dead_node_and_differences_between_the_others(cluster):
    cluster.stop("node2")
    assert_answers_for_the_others(cluster, "stopped", "it does not run")
    with cluster.superuser("node3") as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM table1 WHERE id = (SELECT min(id) FROM table1) RETURNING id")
    done, _ = ask(cluster, "verify")
    # that they differ weighs more than that one was not asked
    assert done.returncode == 3 and "node3 has no row" in done.stderr and "not asked: node2 is stopped" in done.stderr
    logs, _ = ask(cluster, "logs", "node2")
    assert logs.returncode == 0 and "PostgreSQL is stopped" in logs.stdout


def test_no_node_answers(cluster):
    for node in ("node1", "node3"):
        cluster.stop(node)
    for command in ("verify", "conflicts"):
        done, _ = ask(cluster, command)
        assert done.returncode == 1 and "error: no node can be asked" in done.stderr and "hint: python3 orchestrator.py up" in done.stderr
    done, _ = ask(cluster, "status")
    assert done.returncode == 1 and done.stdout.splitlines()[-1].startswith("not healthy: 0 of 3 nodes ready, 0 of 6 links streaming")
