"""Keys that nothing can be known of take a short way (services/sql/know.sql): what makes a key known, and what happens where one was not."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.seed import begin_merging
from services.sequence import node_range
from tests.convergence.comparison import (
    MARKS,
    all_links,
    arrived,
    assert_same,
    blocked,
    error_counts,
    everywhere,
    names,
    pause,
    paused,
    replica,
    settle,
    wait_until,
)

SERIES = {"name": "series", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]}
OTHER = {"name": "other", "columns": SERIES["columns"]}
# further apart than what becomes known at once
STEP = 2048
places = itertools.count(10**6, STEP)


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=3, tables=[SERIES, OTHER, MARKS]).up()


@pytest.fixture
def key(cluster) -> int:
    """A key of node1's range that is fresh on every node, whose apply workers have the first transaction behind them, in which they may take no short cut."""
    settle(cluster)
    key = node_range(1)[0] + next(places)
    assert known(cluster, key) == dict.fromkeys(names(cluster), False)
    return key


def write(cluster, node: str, statement: str, *parameters) -> list[tuple]:
    return cluster.query(node, statement, parameters, role="writer")


def insert(cluster, node: str, key: int, value: str) -> None:
    write(cluster, node, "INSERT INTO series (id, value) VALUES (%s, %s)", key, value)


def known(cluster, key: int) -> dict[str, bool]:
    """Tell on which nodes the key may be known."""
    name = cluster.query("node1", "SELECT relname FROM pg_class WHERE relkind = 'S' AND relname ~ '^series_.*_known$'")[0][0]
    return everywhere(cluster, lambda node: cluster.query(node, f'SELECT last_value >= %s & (2::bigint ^ 31)::bigint - 1 FROM unison."{name}"', [key])[0][0])


def rows(cluster, node: str, key: int) -> list[tuple]:
    return write(cluster, node, "SELECT value, modified_node FROM series WHERE id = %s", key)


def test_what_is_inserted_and_changed_stays_fresh(cluster, key):
    insert(cluster, "node1", key, "drawn here")
    settle(cluster)
    write(cluster, "node2", "UPDATE series SET value = 'changed' WHERE id = %s", key)
    settle(cluster)
    assert known(cluster, key) == dict.fromkeys(names(cluster), False)
    assert_same(cluster, "series")


@pytest.mark.parametrize("statement", ["DELETE FROM series WHERE id = {key}", "UPDATE series SET id = id + 500 WHERE id = {key}",
                                       "TRUNCATE series"])
def test_what_is_deleted_or_moved_is_known_everywhere(cluster, key, statement):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    cluster.query("node2", statement.format(key=key))
    settle(cluster)
    assert known(cluster, key) == dict.fromkeys(names(cluster), True)
    insert(cluster, "node1", key, "again")
    settle(cluster)
    assert everywhere(cluster, lambda node: rows(cluster, node, key)) == dict.fromkeys(names(cluster), [("again", 1)])
    assert_same(cluster, "series")


def test_what_a_node_inserts_into_anothers_range_is_known_everywhere(cluster, key):
    insert(cluster, "node3", key, "of another's range")
    settle(cluster)
    assert known(cluster, key) == dict.fromkeys(names(cluster), True)


def test_a_transaction_that_fails_leaves_its_key_known(cluster, key):
    """It is known before anybody can see why, so it cannot be taken back."""
    insert(cluster, "node1", key, "stays")
    settle(cluster)
    with cluster.connect("node1", role="writer", autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM series WHERE id = %s", [key])
        connection.rollback()
    assert known(cluster, key) == {"node1": True, "node2": False, "node3": False}


def test_a_change_that_overtakes_its_insert_is_no_error(cluster, key):
    before = error_counts(cluster)
    with paused(cluster, ("node1", "node3")):
        insert(cluster, "node1", key, "first")
        arrived(cluster, "node1", "node2")
        write(cluster, "node2", "UPDATE series SET value = 'second' WHERE id = %s", key)
        arrived(cluster, "node2", "node3")
        assert rows(cluster, "node3", key) == [("second", 2)]
    settle(cluster)
    assert everywhere(cluster, lambda node: rows(cluster, node, key)) == dict.fromkeys(names(cluster), [("second", 2)])
    assert error_counts(cluster) == before


def test_a_deletion_that_overtakes_its_insert_is_no_error(cluster, key):
    before = error_counts(cluster)
    with paused(cluster, ("node1", "node3")):
        insert(cluster, "node1", key, "first")
        arrived(cluster, "node1", "node2")
        write(cluster, "node2", "DELETE FROM series WHERE id = %s", key)
        arrived(cluster, "node2", "node3")
    settle(cluster)
    assert everywhere(cluster, lambda node: rows(cluster, node, key)) == dict.fromkeys(names(cluster), [])
    assert error_counts(cluster) == before


def test_a_key_that_is_used_again_before_its_deletion_arrives(cluster, key):
    """node3 has the row still, and nothing that told it of the deletion: the worker fails once, and merges the row at its next try."""
    insert(cluster, "node1", key, "first")
    settle(cluster)
    before = sum(error_counts(cluster).values())
    with paused(cluster, ("node2", "node3")):
        write(cluster, "node2", "DELETE FROM series WHERE id = %s", key)
        arrived(cluster, "node2", "node1")
        insert(cluster, "node1", key, "again")
        wait_until(lambda: None if rows(cluster, "node3", key) == [("again", 1)] else str(rows(cluster, "node3", key)), "node3 has the new row", 30)
    settle(cluster)
    assert everywhere(cluster, lambda node: rows(cluster, node, key)) == dict.fromkeys(names(cluster), [("again", 1)])
    assert sum(error_counts(cluster).values()) - before == 1


@pytest.mark.parametrize("at_the_end", [-2**63, -1, 0, node_range(1)[0] - 1, node_range(1)[1], node_range(3)[1], 2**63 - 1])
def test_keys_at_the_ends_of_the_ranges(cluster, key, at_the_end):
    """Those before the first range and behind the last one belong to nobody."""
    insert(cluster, "node1", at_the_end, "first")
    settle(cluster)
    write(cluster, "node2", "DELETE FROM series WHERE id = %s", at_the_end)
    settle(cluster)
    insert(cluster, "node1", at_the_end, "again")
    insert(cluster, "node3", key, "of another's range")
    settle(cluster)
    assert everywhere(cluster, lambda node: rows(cluster, node, at_the_end)) == dict.fromkeys(names(cluster), [("again", 1)])
    assert_same(cluster, "series")
    key = node_range(1)[0] + next(places)
    assert known(cluster, key) == dict.fromkeys(names(cluster), False), "a key of no range takes the short way from all others"


def test_two_nodes_take_one_fresh_key(cluster, key):
    with paused(cluster, *all_links(cluster)):
        insert(cluster, "node1", key, "its own")
        insert(cluster, "node2", key, "another's")
    settle(cluster)
    assert everywhere(cluster, lambda node: rows(cluster, node, key)) == dict.fromkeys(names(cluster), [("another's", 2)])


def test_a_copy_makes_its_keys_known(cluster, key):
    """The stream that follows it may bring the same rows once more."""
    insert(cluster, "node1", key, "copied")
    settle(cluster)
    pause(cluster, "node1", "node3")
    with replica(cluster, "node1") as cursor:
        cursor.execute("SELECT pg_drop_replication_slot('unison_node1_to_node3')")
    cluster.up()
    assert known(cluster, key)["node3"]
    assert_same(cluster, "series")


def test_a_copy_and_the_stream_bring_one_row_at_once(cluster, key):
    """The copy waits for the stream's transaction, whose row it cannot see yet, and goes on."""
    row = "INSERT INTO series (id, value, modified_ts, modified_node) VALUES (%s, 'brought twice', now() - interval '1 hour', 1)"
    with (cluster.superuser("node3") as stream, stream.cursor() as worker, cluster.superuser("node3") as copy, copy.cursor() as seed,
          ThreadPoolExecutor(1) as pool):
        worker.execute("SET session_replication_role = replica; SET unison.careful = 'never'")
        worker.execute(row, [key])
        assert not known(cluster, key)["node3"]
        begin_merging(seed)
        copied = pool.submit(seed.execute, row, [key])
        blocked(cluster, "node3", copy.info.backend_pid)
        stream.commit()
        copied.result()
    settle(cluster)
    assert everywhere(cluster, lambda node: rows(cluster, node, key)) == dict.fromkeys(names(cluster), [("brought twice", 1)])


def test_lastval_is_the_clients_own(cluster, key):
    with cluster.connect("node1", role="writer", autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO other (value) VALUES ('drawn') RETURNING id")
        drawn = cursor.fetchone()[0]
        cursor.execute("INSERT INTO series (id, value) VALUES (%s, 'given')", [key + node_range(1)[0]])
        cursor.execute("DELETE FROM series WHERE id = %s", [key + node_range(1)[0]])
        cursor.execute("SELECT lastval()")
        assert cursor.fetchone() == (drawn,)


def test_a_users_advisory_lock_is_in_nobodys_way(cluster, key):
    """Not even one whose number is that of the sequence."""
    insert(cluster, "node1", key, "doomed")
    with cluster.connect("node1", role="writer", autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(oid::bigint) FROM pg_class WHERE relkind = 'S' AND relname ~ '^series_.*_known$'")
        with cluster.connect("node1", role="writer", autocommit=True) as other, other.cursor() as deleter:
            deleter.execute("SET statement_timeout = '10s'; DELETE FROM series WHERE id = %s", [key])
    assert known(cluster, key)["node1"]


def test_sessions_that_make_keys_known_at_once_lower_nothing(cluster, key):
    """Each tries to set another value; what stands at the end is not below the highest."""
    ends = [key + STEP * n for n in range(8)]
    for end in ends:
        insert(cluster, "node1", end, "doomed")
        next(places)
    with ThreadPoolExecutor(len(ends)) as pool:
        list(pool.map(lambda end: write(cluster, "node1", "DELETE FROM series WHERE id = %s", end), ends))
    assert known(cluster, max(ends))["node1"]
