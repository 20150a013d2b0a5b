"""Tombstones are forgotten when every member has them and nothing older is on the way, and not before."""

from collections.abc import Callable

import pytest

from tests.convergence.comparison import MARKS, assert_same, everywhere, names, paused, replica, settle, wait_until

ENTRY = {"name": "entry", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}
# more than it takes to collect what may be collected: a node beats every five rounds, and a beat tells of the rounds before it
ROUNDS = 40


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=3, tables=[ENTRY, MARKS], upkeep={"tombstone_retention_s": 0}).up()


def write(cluster, node: str, statement: str, *parameters) -> None:
    cluster.query(node, statement, parameters, role="writer")


def maintain(cluster, rounds: int) -> None:
    """Let every node do some rounds of maintenance, side by side; the agents do theirs besides."""
    for _ in range(rounds):
        everywhere(cluster, lambda node: cluster.site.call(node, "node.maintain", tombstone_retention_s=0))


def tombstones(cluster, node: str, key: int) -> int:
    name = cluster.query(node, "SELECT tombstone_name FROM unison.replicated_table WHERE table_name = 'entry'")[0][0]
    return cluster.query(node, f'SELECT count(*) FROM unison."{name}" WHERE id = %s', [key])[0][0]


def remembered(cluster, key: int) -> dict[str, int]:
    return everywhere(cluster, lambda node: tombstones(cluster, node, key))


def forgotten(cluster, key: int) -> str | None:
    maintain(cluster, 5)
    found = remembered(cluster, key)
    return None if set(found.values()) == {0} else str(found)


def bury(cluster, key: int) -> None:
    write(cluster, "node1", "INSERT INTO entry (id, value) VALUES (%s, 'doomed')", key)
    settle(cluster)
    write(cluster, "node2", "DELETE FROM entry WHERE id = %s", key)


def test_a_tombstone_that_everybody_has_is_forgotten(cluster, key):
    bury(cluster, key)
    settle(cluster)
    assert remembered(cluster, key) == dict.fromkeys(names(cluster), 1)
    wait_until(lambda: forgotten(cluster, key), "the tombstones are collected", 60)
    assert_same(cluster, "entry")


def test_a_key_is_used_again_after_its_tombstone_is_forgotten(cluster, key):
    bury(cluster, key)
    wait_until(lambda: forgotten(cluster, key), "the tombstones are collected", 60)
    write(cluster, "node3", "INSERT INTO entry (id, value) VALUES (%s, 'again')", key)
    assert_same(cluster, "entry")
    assert cluster.query("node1", "SELECT value FROM entry WHERE id = %s", [key]) == [("again",)]


def test_a_member_that_does_not_hear_holds_every_tombstone_and_then_nothing_comes_back(cluster, key):
    """node3 does not hear of the deletion, changes the row, and is older than the deletion: it must lose everywhere."""
    write(cluster, "node1", "INSERT INTO entry (id, value) VALUES (%s, 'doomed')", key)
    settle(cluster)
    with paused(cluster, ("node2", "node3"), ("node3", "node1")):
        write(cluster, "node3", "UPDATE entry SET value = 'late' WHERE id = %s", key)
        write(cluster, "node2", "DELETE FROM entry WHERE id = %s", key)
        maintain(cluster, ROUNDS)
        found = remembered(cluster, key)
        assert found["node1"] == found["node2"] == 1, "forgotten although node3 has not heard of it"
        assert cluster.site.call("node1", "node.describe")["upkeep"]["tombstone_bytes"] > 0
    wait_until(lambda: forgotten(cluster, key), "the tombstones are collected", 60)
    assert_same(cluster, "entry")
    assert cluster.query("node3", "SELECT 1 FROM entry WHERE id = %s", [key]) == []


def test_a_transaction_that_runs_holds_the_tombstones(cluster, key):
    """Its row is older than the deletion and is committed long after it: it must not survive anywhere."""
    with cluster.connect("node3", "writer", autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO entry (id, value) VALUES (%s, 'older')", [key])
        write(cluster, "node1", "INSERT INTO entry (id, value) VALUES (%s, 'doomed')", key)
        write(cluster, "node1", "DELETE FROM entry WHERE id = %s", key)
        maintain(cluster, ROUNDS)
        found = remembered(cluster, key)
        assert found["node1"] == 1, found
        connection.commit()
    settle(cluster)
    wait_until(lambda: forgotten(cluster, key), "the tombstones are collected", 60)
    assert_same(cluster, "entry")
    assert cluster.query("node1", "SELECT 1 FROM entry WHERE id = %s", [key]) == []


def test_what_is_inserted_after_a_clock_was_set_back_is_later_than_what_was_forgotten(cluster, key):
    """The floor: node1 has forgotten a deletion that node2 still knows, and node1's clock stands before it."""
    bury(cluster, key)
    wait_until(lambda: forgotten(cluster, key), "the tombstones are collected", 60)
    deleted = cluster.query("node2", "SELECT clock_timestamp() - interval '1 second'")[0][0]
    wait_until(lambda: None if cluster.query("node1", "SELECT to_timestamp(last_value) > %s FROM unison.floor", [deleted])[0][0] else "not yet",
               "the floor is later than the deletion", 30)
    connection = cluster.superuser("node1")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(tgfoid) FROM pg_trigger WHERE tgname = 'zzz_unison_stamp_insert' AND tgrelid = 'entry'::regclass")
        source = cursor.fetchone()[0]
        slow = source.replace("pg_catalog.clock_timestamp()", "pg_catalog.clock_timestamp() - interval '1 hour'")
        assert slow != source
        cursor.execute(slow)
    try:
        write(cluster, "node1", "INSERT INTO entry (id, value) VALUES (%s, 'again')", key)
    finally:
        with connection, connection.cursor() as cursor:
            cursor.execute(source)
        connection.close()
    assert cluster.query("node1", "SELECT modified_ts >= %s FROM entry WHERE id = %s", [deleted, key]) == [(True,)]


def test_the_conflict_history_keeps_within_its_limits(cluster, key):
    with replica(cluster, "node1") as cursor:
        cursor.execute("INSERT INTO unison.conflict (schema_name, table_name, key, key_hash, lost_ts, lost_node, lost_row, won_ts, won_node, noticed_at)"
                       " SELECT 'public', 'entry', to_jsonb(n), n, clock_timestamp(), 1, to_jsonb(repeat(md5(n::text), 100)), clock_timestamp(), 2,"
                       " clock_timestamp() - CASE WHEN n <= 100 THEN interval '2 hours' ELSE interval '0' END FROM generate_series(1, 1000) n")

    def kept(**limits: int) -> tuple[int, int]:
        cluster.site.call("node1", "node.maintain", **limits)
        return cluster.query("node1", "SELECT count(*), min((key #>> '{}')::int) FROM unison.conflict WHERE jsonb_typeof(key) = 'number'")[0]

    def becomes(right: Callable[[int, int], bool], **limits: int) -> None:
        # every fifth round looks at it, and the agent makes rounds between ours
        wait_until(lambda: None if right(*(found := kept(**limits))) else str(found), f"the history keeps within {limits}", 30)

    for _ in range(6):
        assert kept() == (1000, 1)
    becomes(lambda count, oldest: (count, oldest) == (900, 101), conflict_retention_s=3600)
    becomes(lambda count, oldest: count == 1001 - oldest and 0 < count < 100, conflict_bytes=10_000)
