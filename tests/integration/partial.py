"""status, verify and conflicts where one node of three does not answer: they answer for the others, name it, and do not wait for it."""

import json
import subprocess
import time

from tests.convergence.comparison import MARKS, settle, wait_until
from tests.integration.orchestrator import command_line

TABLE1 = {"name": "table1", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"}]}
# The promise is 2 s on a machine of its own. Where other tests run meanwhile it takes longer; 12 s is what a frozen node once took.
SOON_S = 2.0
ATTEMPTS = 5


def cluster_of_ten_rows(make_cluster):
    made = make_cluster(nodes=3, tables=[TABLE1, MARKS]).up()
    made.query("node1", "INSERT INTO table1 (col1) SELECT 'row' FROM generate_series(1, 10)", role="writer")
    settle(made)
    return made


def ask(cluster, *words: str) -> tuple[subprocess.CompletedProcess, float]:
    """Run a command; returns it with the time that it took."""
    began = time.monotonic()
    done = subprocess.run(command_line(cluster, *words), capture_output=True, text=True, timeout=100)
    assert "Traceback" not in done.stderr
    return done, time.monotonic() - began


def ask_soon(cluster, *words: str) -> subprocess.CompletedProcess:
    """Run a command that must not take long: beside what it takes to start it, where the machine is busy."""
    took = []
    for _ in range(ATTEMPTS):
        done, took_s = ask(cluster, *words)
        busy_s = ask(cluster, "--help")[1]
        took.append((took_s, busy_s))
        if took_s < max(SOON_S, 1.5 + 4 * busy_s):
            return done
    raise AssertionError(f"{words} took (and --help beside it): {took}")


def assert_answers_for_the_others(cluster, state: str, problem: str) -> dict:
    """All three commands answer in time for node1 and node3, and say of node2 what it is; returns the status."""
    done = ask_soon(cluster, "status", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1 and not found["healthy"] and "node2" in found["sentence"]
    assert {node["name"]: node["state"] for node in found["nodes"]} == {"node1": "ready", "node2": state, "node3": "ready"}
    assert problem in found["faults"][0]["what"] and found["faults"][0]["where"] == "node2"
    assert all(link["reason"] for link in found["links"] if link["state"] != "streaming")
    done = ask_soon(cluster, "verify")
    assert done.returncode == 1, done.stderr
    assert "public.table1: 10 rows, the same on node1, node3" in done.stdout.splitlines()
    assert "error: 1 node was not compared" in done.stderr and f"node2 is {state}" in done.stderr
    done = ask_soon(cluster, "conflicts", "--json")
    assert done.returncode == 1 and json.loads(done.stdout) == []
    assert "error: 1 node was not asked" in done.stderr and f"node2 is {state}" in done.stderr
    return found


def await_health(cluster) -> None:
    def unhealthy() -> str | None:
        found = json.loads(ask(cluster, "status", "--json")[0].stdout)
        return None if found["healthy"] else found["sentence"]

    wait_until(unhealthy, "the cluster is healthy", 60)
