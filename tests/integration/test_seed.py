"""Seeds: rows are read whole or not at all, and in pieces, so that no other link pays for the one that is mended."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from pgunison.errors import OrchestratorError
from tests.convergence.comparison import MARKS, all_links, assert_same, everywhere, link, names, pause, replica, settle, wait_until
from tests.integration.orchestrator import run

TABLE1 = {"name": "table1", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"}]}
WIDE = {"name": "wide", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}
# a key of which each part has its own way to be written as text and compared
MANIFOLD = {"name": "manifold", "columns": [
    {"name": "label", "type": "text", "primary_key": True}, {"name": "moment", "type": "timestamptz", "primary_key": True},
    {"name": "amount", "type": "numeric", "primary_key": True}, {"name": "mark", "type": "bytea", "primary_key": True},
    {"name": "path", "type": "int[]", "primary_key": True}, {"name": "value", "type": "text"}]}


def count(cluster, node: str, table: str) -> int:
    with cluster.superuser(node) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def as_superuser(cluster, node: str, statement: str) -> None:
    connection = cluster.superuser(node)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def subscribe(cluster, target: str, source: str) -> dict:
    return cluster.site.call(target, "subscription.setup", Subscription=cluster.site.subscription(source))


def seed_anew(cluster, target: str, *tables: str) -> None:
    """Let the target forget that its links have brought these tables."""
    as_superuser(cluster, target, "DELETE FROM unison.seeded WHERE table_name IN ({})".format(", ".join(f"'{table}'" for table in tables)))


@pytest.fixture(scope="module")
def pair(make_cluster):
    cluster = make_cluster(nodes=2, tables=[TABLE1, WIDE, MANIFOLD, MARKS])
    run(cluster, "up")
    return cluster


# --- policies ---


@pytest.fixture
def hidden(pair):
    """A table of 500 rows with a policy that shows none of them to anybody but the owner, on node1; node2 lacks the rows."""
    pair.query("node1", "INSERT INTO table1 (col1) SELECT 'hidden ' || n FROM generate_series(1, 500) n", role="writer")
    settle(pair)
    pair.query("node1", "ALTER TABLE table1 ENABLE ROW LEVEL SECURITY")
    with replica(pair, "node2") as cursor:
        cursor.execute("DELETE FROM table1")
    seed_anew(pair, "node2", "table1")
    yield
    pair.query("node1", "ALTER TABLE table1 DISABLE ROW LEVEL SECURITY")


def test_a_seed_reads_what_policies_hide(pair, hidden):
    run(pair, "up")
    assert count(pair, "node2", "table1") == count(pair, "node1", "table1") >= 500
    assert_same(pair, "table1")


def test_a_seed_that_policies_would_filter_is_an_error_and_up_mends_it(pair, hidden):
    replicator = pair.site.configuration.role("replicator").name
    as_superuser(pair, "node1", f"ALTER ROLE {replicator} NOBYPASSRLS")
    with pytest.raises(OrchestratorError) as refused:
        subscribe(pair, "node2", "node1")
    assert "row-level security" in refused.value.detail
    assert count(pair, "node2", "table1") == 0
    assert pair.query("node2", "SELECT count(*) FROM unison.seeded WHERE table_name = 'table1'") == [(0,)]
    run(pair, "up")
    assert count(pair, "node2", "table1") == count(pair, "node1", "table1") >= 500


def test_nodes_are_compared_whole(pair, hidden):
    """What verify reads on the node with the policy is not filtered either."""
    run(pair, "verify", status=3)
    run(pair, "up")
    run(pair, "verify")


# --- pieces ---


def test_every_key_is_read_once_piece_by_piece(pair):
    pair.query("node1", "INSERT INTO manifold SELECT repeat(chr(97 + n % 7), n % 5) || '''\\' || E'\\t\\n', timestamptz '2026-01-01 00:00:00.000001+00'"
                        " + n % 11 * interval '1 microsecond', n / 3.0, decode(md5(n::text), 'hex'), ARRAY[n % 3, NULL, n], repeat('x', n % 200)"
                        " FROM generate_series(1, 12000) n", role="writer")
    pair.query("node1", "DELETE FROM manifold WHERE amount < 1000", role="writer")
    settle(pair)
    rows = count(pair, "node1", "manifold")
    with replica(pair, "node2") as cursor:
        cursor.execute("DELETE FROM manifold")
    seed_anew(pair, "node2", "manifold")
    done = subscribe(pair, "node2", "node1")["done"]
    assert f"merged {rows + 2999} rows and tombstones of node1" in done
    assert_same(pair, "manifold")
    assert count(pair, "node2", "manifold") == rows


def test_a_seed_goes_on_where_it_was_interrupted(pair):
    pair.query("node1", "INSERT INTO wide SELECT n, repeat('x', 200) FROM generate_series(1, 30000) n", role="writer")
    settle(pair)
    with replica(pair, "node2") as cursor:
        cursor.execute("DELETE FROM wide")
    seed_anew(pair, "node2", "wide")
    holder = pair.superuser("node2")
    with holder.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute("SET session_replication_role = replica; INSERT INTO wide (id, value, modified_ts, modified_node) VALUES (25000, '', '2000-01-01', 9)")
        seeding = pool.submit(subscribe, pair, "node2", "node1")
        try:
            waiting = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgunison agent' AND wait_event_type = 'Lock'"
            wait_until(lambda: None if pair.query("node2", waiting) else "nobody waits", "the seed meets the row that is held")
            # committed, and to be seen, before the whole is done
            assert 5000 < count(pair, "node2", "wide") < 25000
            as_superuser(pair, "node2", waiting.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))
            with pytest.raises(OrchestratorError):
                seeding.result()
        finally:
            holder.rollback()
    holder.close()
    merged = next(int(sentence.split()[1]) for sentence in subscribe(pair, "node2", "node1")["done"] if sentence.startswith("merged"))
    assert 5000 <= merged < 25000
    assert_same(pair, "wide")


def test_what_a_seed_brings_by_hearsay_is_noted_with_each_piece(pair):
    """Tombstones that came with a piece are not forgotten before every member has what the source had heard."""
    with replica(pair, "node2") as cursor:
        cursor.execute("DELETE FROM unison.hearsay")
    seed_anew(pair, "node2", "wide")
    subscribe(pair, "node2", "node1")
    heard = dict(pair.query("node2", "SELECT life::text, number FROM unison.hearsay"))
    assert set(heard) == {life for life, in pair.query("node1", "SELECT life::text FROM unison.member")}


def test_mending_a_lost_slot_costs_no_healthy_one(make_cluster):
    # what vacuum writes of the table is as much again, and no part of what is tried here
    cluster = make_cluster(nodes=3, tables=[WIDE, MARKS], postgresql={
        "max_slot_wal_keep_size": "32MB", "max_wal_size": "64MB", "min_wal_size": "32MB", "autovacuum": "off"})
    run(cluster, "up")
    pause(cluster, "node1", "node2")
    for part in range(7):
        cluster.query("node1", "INSERT INTO wide SELECT n, (SELECT string_agg(md5(random()::text || m), '') FROM generate_series(1, 60 + n %% 2) m)"
                               " FROM generate_series(%s, %s) n", [part * 5000, part * 5000 + 4999], role="writer")
        wait_until(lambda: near(cluster, but=link("node1", "node2")), "the other links have kept up", 120)
        everywhere(cluster, lambda node: as_superuser(cluster, node, "CHECKPOINT"))
    assert slots(cluster)["node1", "node2"] == "lost"
    assert "lost" not in {state for ends, state in slots(cluster).items() if ends != ("node1", "node2")}
    told = {one["name"]: one["reason"] for one in cluster.site.call("node1", "node.describe")["senders"]}
    assert "more than max_slot_wal_keep_size = 32MB of WAL was waiting for node2" in told[link("node1", "node2")]
    assert told[link("node1", "node3")] is None
    made = subscriptions(cluster)
    done = run(cluster, "up")
    everywhere(cluster, lambda node: as_superuser(cluster, node, "CHECKPOINT"))
    assert "lost" not in slots(cluster).values(), done.stderr
    again = subscriptions(cluster)
    assert {ends for ends in made if made[ends] != again[ends]} == {("node1", "node2")}, "a link that was well was made again"
    assert_same(cluster, "wide")


def near(cluster, but: str) -> str | None:
    """Say which slots have little left before they are lost; None when none has."""
    everywhere(cluster, lambda node: as_superuser(cluster, node, "SELECT pg_log_standby_snapshot()"))
    found = [row for node in names(cluster) for row in cluster.query(
        node, "SELECT slot_name, safe_wal_size FROM pg_replication_slots WHERE safe_wal_size < 20000000 AND slot_name <> %s", [but])]
    return str(found) if found else None


def slots(cluster) -> dict[tuple[str, str], str]:
    """Return the wal_status of each link's slot."""
    found = everywhere(cluster, lambda node: dict(cluster.query(node, "SELECT slot_name, wal_status FROM pg_replication_slots")))
    return {(source, target): found[source].get(link(source, target), "missing") for source, target in all_links(cluster)}


def subscriptions(cluster) -> dict[tuple[str, str], int]:
    """Return the oid of each link's subscription."""
    found = everywhere(cluster, lambda node: dict(cluster.query(node, "SELECT subname, oid FROM pg_subscription")))
    return {(source, target): found[target][link(source, target)] for source, target in all_links(cluster)}
