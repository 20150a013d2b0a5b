"""The conflict history: what lost to a concurrent change is remembered on every node, and nothing else is."""

import contextlib
import json

import pytest

from tests.convergence.comparison import MARKS, all_links, arrived, everywhere, names, paused, settle
from tests.integration.orchestrator import run

ENTRY = {"name": "entry", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}
SERIES = {"name": "series", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]}


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=3, tables=[ENTRY, SERIES, MARKS]).up()


def write(cluster, node: str, statement: str, *parameters) -> None:
    cluster.query(node, statement, parameters, role="writer")


def insert(cluster, node: str, key: int, value: str) -> None:
    write(cluster, node, "INSERT INTO entry (id, value) VALUES (%s, %s)", key, value)


def update(cluster, node: str, key: int, value: str) -> None:
    write(cluster, node, "UPDATE entry SET value = %s WHERE id = %s", value, key)


def delete(cluster, node: str, key: int) -> None:
    write(cluster, node, "DELETE FROM entry WHERE id = %s", key)


def lost(cluster, key: int) -> list[tuple[str | None, int]]:
    """Settle, assert that every node remembers the same conflicts of the key; return value (None: a deletion) and node of each version that lost."""
    settle(cluster)
    found = everywhere(cluster, lambda node: cluster.query(
        node, "SELECT lost_row ->> 'value', lost_node, lost_ts, won_ts FROM unison.conflict WHERE key = %s::jsonb ORDER BY lost_ts", [json.dumps([key])]))
    versions = {node: [row[:3] for row in rows] for node, rows in found.items()}
    assert versions["node1"] == versions["node2"] == versions["node3"]
    assert all(row[3] > row[2] for row in found["node1"])
    return [row[:2] for row in found["node1"]]


def test_two_concurrent_updates_leave_the_older_one(cluster, key):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        update(cluster, "node1", key, "one")
        update(cluster, "node2", key, "two")
    assert lost(cluster, key) == [("one", 1)]


def test_two_concurrent_inserts_leave_the_older_one(cluster, key):
    with paused(cluster, *all_links(cluster)):
        insert(cluster, "node3", key, "three")
        insert(cluster, "node1", key, "one")
    assert lost(cluster, key) == [("three", 3)]


def test_only_the_last_of_a_chain_is_lost(cluster, key):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        for value in ("a", "b", "c"):
            update(cluster, "node2", key, value)
        update(cluster, "node3", key, "wins")
    assert lost(cluster, key) == [("c", 2)]


def test_changes_that_had_seen_each_other_leave_nothing(cluster, key):
    insert(cluster, "node1", key, "first")
    for node, value in (("node2", "second"), ("node3", "third"), ("node1", "fourth")):
        settle(cluster)
        update(cluster, node, key, value)
    settle(cluster)
    delete(cluster, "node2", key)
    settle(cluster)
    insert(cluster, "node3", key, "again")
    assert lost(cluster, key) == []


def test_changes_that_arrive_in_the_wrong_order_leave_nothing(cluster, key):
    """node3 hears of node2's change, and of node1's of that, before the row that node1 inserted."""
    with paused(cluster, ("node1", "node3")):
        insert(cluster, "node1", key, "first")
        arrived(cluster, "node1", "node2")
        update(cluster, "node2", key, "second")
        arrived(cluster, "node2", "node3")
        arrived(cluster, "node2", "node1")
        with paused(cluster, ("node2", "node3")):
            update(cluster, "node1", key, "third")
    assert lost(cluster, key) == []


def test_a_deletion_that_arrives_before_its_row_leaves_nothing(cluster, key):
    with paused(cluster, ("node1", "node3")):
        insert(cluster, "node1", key, "first")
        arrived(cluster, "node1", "node2")
        delete(cluster, "node2", key)
        arrived(cluster, "node2", "node3")
        insert(cluster, "node2", key, "again")
        arrived(cluster, "node2", "node3")
    assert lost(cluster, key) == []


def test_an_insert_again_that_arrives_before_the_deletion_leaves_nothing(cluster, key):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    with paused(cluster, ("node2", "node3")):
        delete(cluster, "node2", key)
        arrived(cluster, "node2", "node1")
        insert(cluster, "node1", key, "again")
        arrived(cluster, "node1", "node3")
    assert lost(cluster, key) == []


def test_an_update_that_loses_to_a_deletion_is_remembered(cluster, key):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        update(cluster, "node1", key, "one")
        delete(cluster, "node2", key)
    assert lost(cluster, key) == [("one", 1)]


def test_a_deletion_that_loses_to_an_update_is_remembered(cluster, key):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        delete(cluster, "node2", key)
        update(cluster, "node1", key, "one")
    assert lost(cluster, key) == [(None, 2)]


def test_two_deletions_leave_nothing(cluster, key):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        delete(cluster, "node1", key)
        delete(cluster, "node2", key)
    assert lost(cluster, key) == []


def test_a_key_that_moves_away_from_a_concurrent_update(cluster, key):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        update(cluster, "node1", key, "one")
        write(cluster, "node2", "UPDATE entry SET id = %s WHERE id = %s", key + 1, key)
    assert lost(cluster, key) == [("one", 1)]
    assert lost(cluster, key + 1) == []


def test_two_keys_that_swap_leave_nothing(cluster, key):
    insert(cluster, "node1", key, "first")
    insert(cluster, "node1", key + 1, "second")
    settle(cluster)
    for node in ("node2", "node3"):
        write(cluster, node, "UPDATE entry SET id = id + 10 WHERE id IN (%s, %s)", key, key + 1)
        write(cluster, node, "UPDATE entry SET id = CASE WHEN id = %s THEN %s ELSE %s END WHERE id IN (%s, %s)",
              key + 10, key + 1, key, key + 10, key + 11)
        settle(cluster)
    assert [lost(cluster, each) for each in (key, key + 1, key + 10, key + 11)] == [[], [], [], []]


def test_a_row_that_the_sweep_removes_is_remembered(cluster, key):
    """Its transaction is open while a tombstone of its key arrives: neither sees the other."""
    with cluster.connect("node1", "writer", autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO entry (id, value) VALUES (%s, 'raced')", [key])
        with contextlib.closing(cluster.superuser("node2")) as owner, owner, owner.cursor() as other:
            other.execute("SELECT tombstone_name FROM unison.replicated_table WHERE table_name = 'entry'")
            other.execute(f'INSERT INTO unison."{other.fetchone()[0]}" (id, modified_ts, modified_node) VALUES (%s, clock_timestamp(), 2)', [key])
        arrived(cluster, "node2", "node1")
        connection.commit()
    assert lost(cluster, key) == [("raced", 1)]
    assert cluster.query("node1", "SELECT 1 FROM entry WHERE id = %s", [key]) == []


def test_many_concurrent_changes_of_one_statement(cluster, key):
    write(cluster, "node1", "INSERT INTO entry (id, value) SELECT n, 'first' FROM generate_series(%s, %s) n", key, key + 299)
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        write(cluster, "node2", "UPDATE entry SET value = 'two' WHERE id BETWEEN %s AND %s", key, key + 299)
        write(cluster, "node3", "UPDATE entry SET value = 'three' WHERE id BETWEEN %s AND %s AND id %% 2 = 0", key, key + 299)
    settle(cluster)
    counts = everywhere(cluster, lambda node: cluster.query(
        node, "SELECT lost_row ->> 'value', lost_node, count(*) FROM unison.conflict WHERE (key ->> 0)::bigint BETWEEN %s AND %s GROUP BY 1, 2",
        [key, key + 299]))
    assert counts == dict.fromkeys(names(cluster), [("two", 2, 150)])


def test_the_command_shows_each_conflict_once_with_the_nodes_that_know(cluster, key):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        update(cluster, "node1", key, "it's lost\n")
        update(cluster, "node2", key, "two")
    settle(cluster)
    shown = json.loads(run(cluster, "conflicts", "--json", "--table", "entry").stdout)
    ours = [one for one in shown if one["key"] == [key]]
    assert [(one["lost_row"]["value"], one["lost_node"], one["won_node"], one["nodes"]) for one in ours] == [("it's lost\n", 1, 2, names(cluster))]
    assert f"[{key}]" in run(cluster, "conflicts").stdout
    assert "no tables are called nothing" in run(cluster, "conflicts", "--table", "nothing", status=2).stderr
    assert run(cluster, "conflicts", "--table", "series").stdout == "no conflicts\n"
