"""The merge on real nodes: each test names the order in which changes arrive that overtake each other."""

from tests.convergence.comparison import all_links, arrived, paused, settle
from tests.integration.merge.entries import delete, from_the_future, insert, update, values, write


def test_an_update_that_arrives_before_its_insert(cluster, key):
    with paused(cluster, ("node1", "node3")):
        insert(cluster, "node1", key, "inserted", "kept")
        arrived(cluster, "node1", "node2")
        update(cluster, "node2", key, "updated")
        arrived(cluster, "node2", "node3")
        assert write(cluster, "node3", "SELECT value, other FROM entry WHERE id = %s", [key]) == [("updated", "kept")]
    assert values(cluster, key) == {key: "updated"}


def test_a_delete_that_arrives_before_its_insert(cluster, key):
    with paused(cluster, ("node1", "node3")):
        insert(cluster, "node1", key, "inserted")
        arrived(cluster, "node1", "node2")
        delete(cluster, "node2", key)
        arrived(cluster, "node2", "node3")
    assert values(cluster, key) == {}


def test_an_update_of_before_a_delete_arrives_after_it(cluster, key):
    insert(cluster, "node1", key, "inserted")
    settle(cluster)
    with paused(cluster, ("node1", "node3")):
        update(cluster, "node1", key, "updated")
        arrived(cluster, "node1", "node2")
        delete(cluster, "node2", key)
        arrived(cluster, "node2", "node3")
    assert values(cluster, key) == {}


def test_a_later_update_brings_a_row_back_that_was_deleted_elsewhere(cluster, key):
    insert(cluster, "node1", key, "inserted")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        delete(cluster, "node2", key)
        update(cluster, "node1", key, "updated")
    assert values(cluster, key) == {key: "updated"}


def test_a_deleted_key_is_inserted_again_elsewhere(cluster, key):
    insert(cluster, "node1", key, "first")
    settle(cluster)
    with paused(cluster, ("node1", "node3"), ("node1", "node2")):
        delete(cluster, "node3", key)
        arrived(cluster, "node3", "node2")
        insert(cluster, "node2", key, "again")
        update(cluster, "node2", key, "again and again")
    assert values(cluster, key) == {key: "again and again"}


def test_a_changed_key_against_an_update_of_the_old_key(cluster, key):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        write(cluster, "node1", "UPDATE entry SET id = id + 1, value = 'moved' WHERE id = %s", [key])
        update(cluster, "node2", key, "later")
    assert values(cluster, key) == {key: "later", key + 1: "moved"}


def test_a_changed_key_after_an_update_of_the_old_key(cluster, key):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        update(cluster, "node2", key, "earlier")
        write(cluster, "node1", "UPDATE entry SET id = id + 1, value = 'moved' WHERE id = %s", [key])
    assert values(cluster, key) == {key + 1: "moved"}


def test_keys_that_move_up_by_one(cluster, key):
    # each key is free when its turn comes: the rows lie on disk from the highest down
    for offset in (3, 2, 1, 0):
        insert(cluster, "node1", key + offset, f"row {offset}")
    settle(cluster)
    write(cluster, "node1", "UPDATE entry SET id = id + 1 WHERE id >= %s AND id < %s", [key, key + 1000])
    assert values(cluster, key) == {key + offset + 1: f"row {offset}" for offset in range(4)}


def test_keys_that_move_onto_a_key_of_the_future(cluster, key):
    insert(cluster, "node1", key, "moves")
    insert(cluster, "node1", key + 1, "goes")
    settle(cluster)
    from_the_future(cluster, key + 1)
    with cluster.connect("node2", "writer", autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM entry WHERE id = %s", [key + 1])
        cursor.execute("UPDATE entry SET id = id + 1 WHERE id = %s", [key])
        connection.commit()
    assert values(cluster, key) == {key + 1: "moves"}


def test_keys_that_move_on_a_chain_with_a_version_of_the_future(cluster, key):
    for offset in (2, 1, 0):
        insert(cluster, "node1", key + offset, f"row {offset}")
    settle(cluster)
    from_the_future(cluster, key + 1)
    write(cluster, "node2", "UPDATE entry SET id = id + 1 WHERE id >= %s AND id < %s", [key, key + 1000])
    assert values(cluster, key) == {key + 1: "row 0", key + 2: "row 1", key + 3: "row 2"}


def test_a_large_value_stays_whole_when_another_column_changes_elsewhere(cluster, key):
    old, new = ("old" + "x" * 200_000), ("new" + "y" * 200_000)
    insert(cluster, "node1", key, "small", old)
    # incompressible, so that it is stored out of line whatever the compression
    write(cluster, "node1", "UPDATE entry SET other = %s || (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 5000) i) WHERE id = %s", [old, key])
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        write(cluster, "node1", "UPDATE entry SET other = %s || (SELECT string_agg(md5(i::text), '') FROM generate_series(5000, 10000) i) WHERE id = %s",
              [new, key])
        update(cluster, "node2", key, "changed")
    assert values(cluster, key) == {key: "changed"}
    assert write(cluster, "node3", "SELECT left(other, 3) FROM entry WHERE id = %s", [key]) == [("old",)]


def test_a_large_value_that_is_the_last_change_wins_whole(cluster, key):
    insert(cluster, "node1", key, "small")
    write(cluster, "node1", "UPDATE entry SET other = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 9000) i) WHERE id = %s", [key])
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        update(cluster, "node2", key, "changed")
        write(cluster, "node3", "UPDATE entry SET other = (SELECT string_agg(md5(i::text), '') FROM generate_series(9000, 18000) i) WHERE id = %s", [key])
    assert values(cluster, key) == {key: "small"}
