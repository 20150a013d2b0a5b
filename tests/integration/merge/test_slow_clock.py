"""The merge on real nodes: a clock is slow, or another one was far ahead."""

import pytest

from tests.convergence.comparison import settle
from tests.integration.merge.entries import ISOLATIONS, delete, from_the_future, insert, update, values, write


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_an_update_of_a_row_of_the_future_wins(cluster, key, isolation):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    from_the_future(cluster, key)
    with cluster.connect("node2", "writer") as connection, connection.cursor() as cursor:
        cursor.execute(f"BEGIN ISOLATION LEVEL {isolation}; UPDATE entry SET value = 'new' WHERE id = {key}; COMMIT")
    assert values(cluster, key) == {key: "new"}


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_delete_of_a_row_of_the_future_wins(cluster, key, isolation):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    from_the_future(cluster, key)
    with cluster.connect("node2", "writer") as connection, connection.cursor() as cursor:
        cursor.execute(f"BEGIN ISOLATION LEVEL {isolation}; DELETE FROM entry WHERE id = {key}; COMMIT")
    assert values(cluster, key) == {}


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_key_of_the_future_that_was_deleted_is_inserted_again(cluster, key, isolation):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    from_the_future(cluster, key)
    delete(cluster, "node2", key)
    settle(cluster)
    with cluster.connect("node3", "writer") as connection, connection.cursor() as cursor:
        cursor.execute(f"BEGIN ISOLATION LEVEL {isolation}; INSERT INTO entry (id, value) VALUES ({key}, 'again'); COMMIT")
    assert values(cluster, key) == {key: "again"}
    update(cluster, "node1", key, "last")
    assert values(cluster, key) == {key: "last"}


def test_delete_and_insert_of_a_row_of_the_future_in_one_transaction(cluster, key):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    from_the_future(cluster, key)
    write(cluster, "node2", f"BEGIN; DELETE FROM entry WHERE id = {key}; INSERT INTO entry (id, value) VALUES ({key}, 'again'); COMMIT")
    assert values(cluster, key) == {key: "again"}
