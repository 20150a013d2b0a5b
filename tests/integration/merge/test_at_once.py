"""The merge on real nodes: two nodes write at once."""

import pytest

from tests.convergence.comparison import all_links, names, paused, replica, settle, wait_until
from tests.integration.merge.entries import insert, update, values, write


def test_two_inserts_of_one_key_end_with_the_later_one(cluster, key):
    with paused(cluster, *all_links(cluster)):
        insert(cluster, "node1", key, "one")
        insert(cluster, "node2", key, "two")
        insert(cluster, "node3", key, "three")
    assert values(cluster, key) == {key: "three"}


def test_two_inserts_of_one_key_of_a_sequence_range_end_with_the_later_one(cluster, key):
    own = 2**31 + 10**6 + key
    with paused(cluster, *all_links(cluster)):
        write(cluster, "node1", "INSERT INTO series (id, value) VALUES (%s, 'one')", [own])
        write(cluster, "node3", "INSERT INTO series (id, value) VALUES (%s, 'three')", [own])
    assert values(cluster, own, "series") == {own: "three"}


@pytest.mark.parametrize("extreme", [-2**63, 2**63 - 1, 0, -1])
def test_a_key_at_the_end_of_its_type_is_replicated(cluster, extreme):
    write(cluster, "node1", "INSERT INTO series (id, value) VALUES (%s, 'extreme')", [extreme])
    try:
        wait_until(lambda: None if write(cluster, "node2", "SELECT 1 FROM series WHERE id = %s", [extreme]) else "absent", "node2 has the row", 10)
        assert values(cluster, extreme, "series")[extreme] == "extreme"
    finally:
        # a link that cannot pass this row would hold up every other test
        for node in names(cluster):
            with replica(cluster, node) as cursor:
                cursor.execute("ALTER TABLE series DISABLE TRIGGER zzz_unison_merge")
        settle(cluster)
        for node in names(cluster):
            with replica(cluster, node) as cursor:
                cursor.execute("ALTER TABLE series ENABLE REPLICA TRIGGER zzz_unison_merge")
                cursor.execute("DELETE FROM series WHERE id = %s", [extreme])


def test_two_updates_of_one_row_end_with_the_later_one(cluster, key):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        update(cluster, "node3", key, "first")
        update(cluster, "node1", key, "last")
    assert values(cluster, key) == {key: "last"}


def test_equal_times_are_decided_by_the_node(cluster, key):
    with paused(cluster, *all_links(cluster)):
        for node, value in (("node1", "one"), ("node2", "two"), ("node3", "three")):
            # ordinary role, so that the row is sent; the stamp is disabled to get one time on all
            connection = cluster.superuser(node)
            with connection, connection.cursor() as cursor:
                cursor.execute("ALTER TABLE entry DISABLE TRIGGER zzz_unison_stamp_insert")
                cursor.execute("INSERT INTO entry (id, value, modified_ts, modified_node) VALUES (%s, %s, '2020-01-01 00:00:00+00', %s)",
                               [key, value, int(node[-1])])
                cursor.execute("ALTER TABLE entry ENABLE TRIGGER zzz_unison_stamp_insert")
            connection.close()
    assert values(cluster, key) == {key: "three"}
