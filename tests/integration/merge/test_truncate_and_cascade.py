"""The merge on real nodes: TRUNCATE, and foreign keys to other tables."""

import psycopg2

from tests.convergence.comparison import assert_same, settle
from tests.integration.merge.entries import write


def test_truncate_deletes_the_rows_of_every_node(cluster):
    cluster.query("node1", "INSERT INTO series (value) SELECT 'old' FROM generate_series(1, 50)")
    cluster.query("node2", "INSERT INTO series (value) SELECT 'old' FROM generate_series(1, 50)")
    settle(cluster)
    cluster.query("node3", "TRUNCATE series")
    assert_same(cluster, "series")
    assert cluster.query("node1", "SELECT count(*) FROM series") == [(0,)]


def test_truncate_restart_identity_uses_keys_again(cluster):
    cluster.query("node1", "INSERT INTO series (value) SELECT 'old' FROM generate_series(1, 50)")
    settle(cluster)
    cluster.query("node1", "TRUNCATE series RESTART IDENTITY")
    cluster.query("node1", "INSERT INTO series (value) SELECT 'new' FROM generate_series(1, 5)")
    assert_same(cluster, "series")
    assert cluster.query("node2", "SELECT id - 2::bigint ^ 31, value FROM series ORDER BY 1") == [(n, "new") for n in range(1, 6)]


def test_truncate_with_an_old_snapshot_leaves_the_same_rows_everywhere(cluster):
    """A row that came after the snapshot is not seen by a DELETE, but TRUNCATE removes it."""
    with cluster.connect("node1", autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT count(*) FROM series")
        cluster.query("node1", "INSERT INTO series (value) VALUES ('after the snapshot')")
        settle(cluster)
        try:
            cursor.execute("TRUNCATE series")
            connection.commit()
        except psycopg2.Error as error:
            connection.rollback()
            assert error.pgcode in ("40001", "0A000"), error
    assert_same(cluster, "series")


def test_truncate_of_parent_and_child(cluster, key):
    cluster.query("node1", "INSERT INTO parent (id) VALUES (%s)", [key])
    cluster.query("node1", "INSERT INTO child (id, parent) VALUES (%s, %s)", [key, key])
    settle(cluster)
    cluster.query("node2", "TRUNCATE parent, child")
    assert_same(cluster, "parent", "child")
    assert cluster.query("node1", "SELECT count(*) FROM child") == [(0,)]


def test_delete_cascades_to_a_child_table(cluster, key):
    write(cluster, "node1", "INSERT INTO parent (id) SELECT %s + n FROM generate_series(0, 9) n", [key])
    write(cluster, "node1", "INSERT INTO child (id, parent) SELECT %s + n, %s + n %% 10 FROM generate_series(0, 99) n", [key, key])
    settle(cluster)
    write(cluster, "node2", "DELETE FROM parent WHERE id BETWEEN %s AND %s + 4", [key, key])
    assert_same(cluster, "parent", "child")
    assert cluster.query("node3", "SELECT count(*) FROM child WHERE parent BETWEEN %s AND %s", [key, key + 999]) == [(50,)]


def test_a_key_change_cascades_to_a_child_table(cluster, key):
    write(cluster, "node1", "INSERT INTO parent (id) VALUES (%s)", [key])
    write(cluster, "node1", "INSERT INTO child (id, parent) SELECT %s + n, %s FROM generate_series(0, 9) n", [key, key])
    settle(cluster)
    write(cluster, "node2", "UPDATE parent SET id = id + 1 WHERE id = %s", [key])
    assert_same(cluster, "parent", "child")
    assert cluster.query("node3", "SELECT DISTINCT parent FROM child WHERE id BETWEEN %s AND %s", [key, key + 999]) == [(key + 1,)]
