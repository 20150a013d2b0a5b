"""Changes of a node under traffic: what meets a conflict of locks is tried again, and stops nobody for long."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pgunison.cluster.desired import desired
from tests.convergence.comparison import MARKS, assert_same, wait_until
from tests.integration.orchestrator import run

TABLE1 = {"name": "table1", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"}]}


@pytest.fixture(scope="module")
def cluster(make_cluster):
    cluster = make_cluster(nodes=2, tables=[TABLE1, MARKS])
    run(cluster, "up")
    return cluster


def set_up_again(cluster, node: str) -> dict:
    """Call table.setup for table1 as if another version had installed its merge."""
    connection = cluster.superuser(node)
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE unison.replicated_table SET digest = 'older' WHERE table_name = 'table1'")
    connection.close()
    table = next(table for table in desired(cluster.site.configuration).nodes[0].tables if table.name == "table1")
    return cluster.site.call(node, "table.setup", 120.0, Table=cluster.site.table_description(table))


def set_up_waits(cluster, node: str) -> str | None:
    found = cluster.query(node, "SELECT wait_event_type FROM pg_stat_activity WHERE application_name = 'pgunison agent'")
    return None if ("Lock",) in found else f"the agent does {found}"


def test_a_deadlock_with_users_is_retried(cluster):
    user = cluster.superuser("node1")
    with user.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        # the other one is to be the victim
        cursor.execute("SET deadlock_timeout = '1min'; INSERT INTO table1 (col1) VALUES ('in the way') RETURNING id")
        key = cursor.fetchone()
        done = pool.submit(set_up_again, cluster, "node1")
        wait_until(lambda: set_up_waits(cluster, "node1"), "the set-up, which has the image table, waits for table1")
        cursor.execute("UPDATE table1 SET col1 = 'in the way still' WHERE id = %s", key)
        user.commit()
        assert done.result()["done"] == ["installed the merge on public.table1"]
    user.close()
    assert "trying again" in (cluster.folder("node1") / "agent.log").read_text()
    assert_same(cluster, "table1")


def test_a_set_up_that_waits_for_a_transaction_lets_the_others_by(cluster):
    with cluster.connect("node1", "writer", autocommit=False) as holder, holder.cursor() as held, ThreadPoolExecutor(1) as pool:
        held.execute("INSERT INTO table1 (col1) VALUES ('runs for long')")
        done = pool.submit(set_up_again, cluster, "node1")
        wait_until(lambda: set_up_waits(cluster, "node1"), "the set-up waits for the transaction")
        longest = 0.0
        until = time.monotonic() + 12
        with cluster.connect("node1", "writer") as other, other.cursor() as cursor:
            while time.monotonic() < until:
                began = time.monotonic()
                cursor.execute("INSERT INTO table1 (col1) VALUES ('passes by')")
                longest = max(longest, time.monotonic() - began)
        assert not done.done(), "it was to wait for longer than the old limit of 10 s"
        holder.commit()
        assert done.result()["done"] == ["installed the merge on public.table1"]
    assert longest < 5, f"an insert took {longest:.1f} s"
    assert_same(cluster, "table1")
