"""The merge on real nodes: races of sessions on one node, and snapshots that are old."""

import psycopg2
import pytest

from tests.convergence.comparison import arrived, blocked, settle
from tests.convergence.session import Session
from tests.integration.merge.entries import ISOLATIONS, delete, from_the_future, insert, values


def race(cluster, first: str, second: str, isolation: str = "read committed", slow: str = "") -> Exception | None:
    """On node1: the first statement, the second waits for it, the first commits; returns the second's error."""
    with cluster.connect("node1", "writer", autocommit=False) as a, cluster.connect("node1", "writer", autocommit=False) as b:
        with b.cursor() as cursor:
            cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
            cursor.execute("SELECT pg_backend_pid(), count(*) FROM entry")
            pid = cursor.fetchone()[0]
        with a.cursor() as cursor:
            cursor.execute(first)
        session = Session(b, second)
        blocked(cluster, "node1", pid)
        if slow:
            with a.cursor() as cursor:
                cursor.execute(slow)
        a.commit()
        error = session.end()
        if error is None:
            b.commit()
        return error


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("future", [False, True], ids=["now", "future"])
def test_an_insert_that_waited_for_a_delete_of_its_key(cluster, key, isolation, future):
    """An INSERT that was acknowledged is there, or it was refused."""
    insert(cluster, "node1", key, "old")
    settle(cluster)
    if future:
        from_the_future(cluster, key)
    error = race(cluster, f"DELETE FROM entry WHERE id = {key}", f"INSERT INTO entry (id, value) VALUES ({key}, 'new')", isolation)
    assert error is None or error.pgcode == "40001", error
    assert values(cluster, key) == ({key: "new"} if error is None else {})


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_an_insert_that_waited_for_a_second_delete_of_its_key(cluster, key, isolation):
    """The tombstone is stamped after the INSERT was: the key was put in and deleted again while the INSERT waited."""
    insert(cluster, "node1", key, "old")
    settle(cluster)
    error = race(cluster, f"DELETE FROM entry WHERE id = {key}", f"INSERT INTO entry (id, value) VALUES ({key}, 'new')", isolation,
                 slow=f"INSERT INTO entry (id, value) VALUES ({key}, 'between'); DELETE FROM entry WHERE id = {key}")
    assert error is None or error.pgcode == "40001", error
    assert values(cluster, key) == ({key: "new"} if error is None else {})


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_an_upsert_that_waited_for_a_delete_of_its_key(cluster, key, isolation):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    from_the_future(cluster, key)
    error = race(cluster, f"DELETE FROM entry WHERE id = {key}",
                 f"INSERT INTO entry (id, value) VALUES ({key}, 'new') ON CONFLICT (id) DO UPDATE SET value = excluded.value", isolation)
    assert error is None or error.pgcode == "40001", error
    assert values(cluster, key) == ({key: "new"} if error is None else {})


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_an_insert_that_waited_for_a_key_to_move_away(cluster, key, isolation):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    from_the_future(cluster, key)
    error = race(cluster, f"UPDATE entry SET id = {key + 1} WHERE id = {key}", f"INSERT INTO entry (id, value) VALUES ({key}, 'new')", isolation)
    assert error is None or error.pgcode == "40001", error
    assert values(cluster, key) == {key + 1: "old"} | ({key: "new"} if error is None else {})


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("second", ["DELETE FROM entry WHERE id = {key}", "UPDATE entry SET value = 'new' WHERE id = {key}",
                                    "UPDATE entry SET id = id + 1 WHERE id = {key}"], ids=["delete", "update", "move"])
@pytest.mark.parametrize("first", ["DELETE FROM entry WHERE id = {key}", "UPDATE entry SET value = 'other' WHERE id = {key}",
                                   "UPDATE entry SET id = id + 2 WHERE id = {key}"], ids=["delete", "update", "move"])
def test_two_sessions_change_one_row(cluster, key, first, second, isolation):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    error = race(cluster, first.format(key=key), second.format(key=key), isolation)
    assert error is None or error.pgcode == "40001", error
    local = dict(cluster.query("node1", "SELECT id, value FROM entry WHERE id BETWEEN %s AND %s", [key, key + 999]))
    assert values(cluster, key) == local


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_key_moves_onto_one_that_was_deleted_since_the_snapshot(cluster, key, isolation):
    """An old snapshot still shows the deleted row under that key, beside the moved one: what is sent must be the moved one, or the statement fails."""
    insert(cluster, "node1", key, "deleted")
    insert(cluster, "node1", key + 1, "moved")
    settle(cluster)
    with cluster.connect("node3", "writer", autocommit=False) as connection, connection.cursor() as cursor:
        connection.set_session(isolation_level=isolation)
        cursor.execute("SELECT count(*) FROM entry")
        delete(cluster, "node1", key)
        arrived(cluster, "node1", "node3")
        if isolation == "read committed":
            cursor.execute("UPDATE entry SET id = %s WHERE id = %s", [key, key + 1])
            connection.commit()
        else:
            with pytest.raises(psycopg2.errors.SerializationFailure):
                cursor.execute("UPDATE entry SET id = %s WHERE id = %s", [key, key + 1])
            connection.rollback()
    assert values(cluster, key) == ({key: "moved"} if isolation == "read committed" else {key + 1: "moved"})


def test_a_row_and_a_deletion_of_one_version(cluster, key):
    """A snapshot that has seen neither the row nor its deletion: what it puts there may get the deletion's very version, and every node must decide alike."""
    insert(cluster, "node1", key + 1, "moved")
    settle(cluster)
    from_the_future(cluster, key + 1)
    with cluster.connect("node1", "writer", autocommit=False) as connection, connection.cursor() as cursor:
        connection.set_session(isolation_level="repeatable read")
        cursor.execute("SELECT count(*) FROM entry")
        insert(cluster, "node1", key, "passing")
        settle(cluster)
        from_the_future(cluster, key)
        delete(cluster, "node1", key)
        cursor.execute("UPDATE entry SET id = %s WHERE id = %s", [key, key + 1])
        connection.commit()
    assert values(cluster, key) == {}
