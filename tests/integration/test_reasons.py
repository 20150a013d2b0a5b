"""A link that does not stream says why, with the next step; a worker that fails again and again is slowed down, and is quick again afterwards."""

import os
import signal
import time

import pytest

from tests.convergence.comparison import MARKS, assert_same, link, paused, settle, wait_until
from tests.integration.orchestrator import run

TABLE1 = {"name": "table1", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"}]}
NAME = link("node1", "node2")


@pytest.fixture(scope="module")
def cluster(make_cluster):
    cluster = make_cluster(nodes=2, tables=[TABLE1, MARKS])
    run(cluster, "up")
    return cluster


def as_superuser(cluster, node: str, statement: str) -> None:
    connection = cluster.superuser(node)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def reason(cluster, end: str = "subscriptions") -> str | None:
    """Return what node2 says of its subscription, or node1 of the slot for it."""
    node = "node2" if end == "subscriptions" else "node1"
    found = {one["name"]: one["reason"] for one in cluster.site.call(node, "node.describe")[end]}
    return found[NAME]


def says(cluster, *words: str, end: str = "subscriptions") -> None:
    def pending() -> str | None:
        found = reason(cluster, end) or ""
        return None if all(word in found for word in words) else f"it says {found!r}"

    wait_until(pending, f"the reason has {words}", 60)


def streams(cluster) -> None:
    wait_until(lambda: reason(cluster) or reason(cluster, "senders"), "nothing is in the way", 60)


def write(cluster, text: str) -> None:
    cluster.query("node1", "INSERT INTO table1 (col1) VALUES (%s)", [text], role="writer")


def log(cluster, node: str) -> str:
    return "".join(path.read_text(errors="replace") for path in sorted((cluster.folder(node) / "log").glob("postgresql-*.log")))


def retry_interval(cluster, node: str) -> int:
    return cluster.query(node, "SELECT setting::int FROM pg_settings WHERE name = 'wal_retrieve_retry_interval'")[0][0]


def test_a_link_that_streams_has_no_reason(cluster):
    write(cluster, "well")
    settle(cluster)
    streams(cluster)


@pytest.mark.process_runtime("the log is read where it is written")
def test_a_row_that_a_constraint_forbids_and_the_pace_of_its_worker(cluster):
    as_superuser(cluster, "node2", "ALTER TABLE table1 ADD CONSTRAINT harmful CHECK (col1 <> 'poison')")
    write(cluster, "poison")
    says(cluster, "INSERT of public.table1", 'violates check constraint "harmful"', "drop what forbids it")
    wait_until(lambda: None if retry_interval(cluster, "node2") >= 6400 else retry_interval(cluster, "node2"), "failing workers are slowed down", 120)
    # no sooner than the interval: the second error from now on is at least one of them behind the first
    error = 'violates check constraint "harmful"'
    before, began = log(cluster, "node2").count(error), time.monotonic()
    wait_until(lambda: None if log(cluster, "node2").count(error) >= before + 2 else "none", "two more attempts", 60)
    assert time.monotonic() - began > 6
    assert reason(cluster), "it keeps its reason between two attempts"
    as_superuser(cluster, "node2", "ALTER TABLE table1 DROP CONSTRAINT harmful")
    settle(cluster)
    streams(cluster)
    wait_until(lambda: None if retry_interval(cluster, "node2") == 200 else retry_interval(cluster, "node2"), "workers are quick again", 60)
    assert_same(cluster, "table1")


@pytest.mark.process_runtime("the log is read where it is written")
def test_a_change_of_a_row_is_named_by_the_users_table(cluster):
    write(cluster, "well until it is changed")
    settle(cluster)
    as_superuser(cluster, "node2", "ALTER TABLE table1 ADD CONSTRAINT harmful CHECK (col1 <> 'harm') NOT VALID")
    cluster.query("node1", "UPDATE table1 SET col1 = 'harm' WHERE col1 = 'well until it is changed'", role="writer")
    says(cluster, "UPDATE of public.table1", "harmful")
    as_superuser(cluster, "node2", "ALTER TABLE table1 DROP CONSTRAINT harmful")
    settle(cluster)
    streams(cluster)


def test_a_table_that_is_missing(cluster):
    as_superuser(cluster, "node2", "ALTER TABLE table1 RENAME TO moved")
    write(cluster, "nowhere")
    says(cluster, '"public.table1" does not exist', "make what is missing")
    as_superuser(cluster, "node2", "ALTER TABLE moved RENAME TO table1")
    settle(cluster)
    streams(cluster)


def test_a_subscription_that_is_paused(cluster):
    with paused(cluster, ("node1", "node2")):
        says(cluster, "disabled", f"ALTER SUBSCRIPTION {NAME} ENABLE")
        says(cluster, "node2 is not connected", end="senders")
    streams(cluster)


def test_a_wrong_password_and_its_next_step(cluster):
    with cluster.superuser("node2") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT subconninfo FROM pg_subscription WHERE subname = %s", [NAME])
        right = cursor.fetchone()[0]
    wrong = " ".join("password=wrong" if part.startswith("password=") else part for part in right.split())
    as_superuser(cluster, "node2", f"ALTER SUBSCRIPTION {NAME} CONNECTION '{wrong}'")
    says(cluster, "cannot connect to node1", "password authentication failed", f"ALTER SUBSCRIPTION {NAME} DISABLE")
    assert "wrong" not in (reason(cluster) or "")
    cluster.query("node2", f"ALTER SUBSCRIPTION {NAME} DISABLE")
    run(cluster, "up")
    streams(cluster)
    write(cluster, "connected again")
    assert_same(cluster, "table1")


@pytest.mark.process_runtime("processes are stopped by hand")
def test_a_peer_that_takes_a_connection_and_says_nothing(cluster):
    server = cluster.server_pid("node1")
    with cluster.superuser("node1") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_replication WHERE application_name = %s", [NAME])
        sender = cursor.fetchone()[0]
    os.kill(server, signal.SIGSTOP)
    try:
        os.kill(sender, signal.SIGTERM)
        says(cluster, "cannot connect to node1: it has not answered so far", "start that node")
    finally:
        os.kill(server, signal.SIGCONT)
    streams(cluster)


def test_a_peer_that_is_away(cluster):
    cluster.stop("node1")
    says(cluster, "cannot connect to node1", "start that node")
    run(cluster, "up")
    streams(cluster)
