"""The merge on real nodes: each scenario names the order in which changes arrive, and what every node must hold then."""

import itertools

import psycopg2
import pytest

from tests.convergence.comparison import (
    MARKS,
    all_links,
    arrived,
    assert_same,
    blocked,
    error_counts,
    names,
    paused,
    replica,
    settle,
    wait_until,
)
from tests.convergence.session import Session

ENTRY = {"name": "entry", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"},
                                      {"name": "other", "type": "text"}]}
SERIES = {"name": "series", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]}
PARENT = {"name": "parent", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}
CHILD = {"name": "child", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "parent", "type": "bigint"}]}
FUTURE = "2100-01-01 00:00:00+00"
numbers = itertools.count(1000, 1000)


@pytest.fixture(scope="module")
def cluster(make_cluster):
    made = make_cluster(nodes=3, tables=[ENTRY, SERIES, PARENT, CHILD, MARKS]).up()
    for node in names(made):
        made.query(node, "ALTER TABLE child ADD FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE")
    return made


@pytest.fixture
def key() -> int:
    """The first of a thousand keys that no other test uses."""
    return next(numbers)


@pytest.fixture(autouse=True)
def no_error_loop(cluster):
    """A worker may fail and try again; it may not do so for ever."""
    yield
    before = error_counts(cluster)
    settle(cluster)
    assert error_counts(cluster) == before, "an apply worker fails again and again"


def write(cluster, node: str, statement: str, parameters=None) -> list[tuple]:
    return cluster.query(node, statement, parameters, role="writer")


def insert(cluster, node: str, key: int, value: str, other: str | None = None) -> None:
    write(cluster, node, "INSERT INTO entry (id, value, other) VALUES (%s, %s, %s)", [key, value, other])


def update(cluster, node: str, key: int, value: str) -> None:
    write(cluster, node, "UPDATE entry SET value = %s WHERE id = %s", [value, key])


def delete(cluster, node: str, key: int) -> None:
    write(cluster, node, "DELETE FROM entry WHERE id = %s", [key])


def values(cluster, low: int, table: str = "entry") -> dict[int, str]:
    """Assert that all nodes are the same; return the values of the thousand keys from ``low`` on."""
    assert_same(cluster, table)
    return dict(cluster.query("node1", f"SELECT id, value FROM {table} WHERE id >= %s AND id < %s ORDER BY id", [low, low + 1000]))


def from_the_future(cluster, key: int) -> None:
    """Give the row of this key, on every node, a version that a clock far ahead would have made."""
    for node in names(cluster):
        with replica(cluster, node) as cursor:
            cursor.execute("UPDATE entry SET modified_ts = %s WHERE id = %s", [FUTURE, key])
            assert cursor.rowcount == 1


# --- two nodes at once ---


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


# --- changes that overtake each other ---


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


# --- a clock that is slow ---


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_an_update_of_a_row_of_the_future_wins(cluster, key, isolation):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    from_the_future(cluster, key)
    with cluster.connect("node2", "writer") as connection, connection.cursor() as cursor:
        cursor.execute(f"BEGIN ISOLATION LEVEL {isolation}; UPDATE entry SET value = 'new' WHERE id = {key}; COMMIT")
    assert values(cluster, key) == {key: "new"}


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_a_delete_of_a_row_of_the_future_wins(cluster, key, isolation):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    from_the_future(cluster, key)
    with cluster.connect("node2", "writer") as connection, connection.cursor() as cursor:
        cursor.execute(f"BEGIN ISOLATION LEVEL {isolation}; DELETE FROM entry WHERE id = {key}; COMMIT")
    assert values(cluster, key) == {}


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
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


# --- one transaction, one statement ---


def test_two_updates_in_one_transaction(cluster, key):
    insert(cluster, "node1", key, "old")
    write(cluster, "node1", f"BEGIN; UPDATE entry SET value = 'one' WHERE id = {key}; UPDATE entry SET value = 'two' WHERE id = {key}; COMMIT")
    assert values(cluster, key) == {key: "two"}


def test_insert_update_and_delete_in_one_transaction(cluster, key):
    write(cluster, "node1", f"BEGIN; INSERT INTO entry (id, value) VALUES ({key}, 'one'), ({key + 1}, 'stays');"
                            f" UPDATE entry SET value = 'two' WHERE id = {key}; DELETE FROM entry WHERE id = {key}; COMMIT")
    assert values(cluster, key) == {key + 1: "stays"}


def test_what_a_savepoint_rolls_back_stays_nowhere(cluster, key):
    insert(cluster, "node1", key, "old")
    write(cluster, "node1", f"BEGIN; UPDATE entry SET value = 'kept' WHERE id = {key}; SAVEPOINT s; DELETE FROM entry WHERE id = {key};"
                            f" INSERT INTO entry (id, value) VALUES ({key}, 'never'), ({key + 1}, 'never'); ROLLBACK TO s;"
                            f" INSERT INTO entry (id, value) VALUES ({key + 2}, 'also kept'); COMMIT")
    assert values(cluster, key) == {key: "kept", key + 2: "also kept"}


def test_insert_on_conflict_do_update(cluster, key):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    write(cluster, "node2", "INSERT INTO entry (id, value) VALUES (%s, 'upserted'), (%s, 'inserted') ON CONFLICT (id)"
                            " DO UPDATE SET value = excluded.value", [key, key + 1])
    assert values(cluster, key) == {key: "upserted", key + 1: "inserted"}


def test_merge_inserts_updates_and_deletes(cluster, key):
    insert(cluster, "node1", key, "update me")
    insert(cluster, "node1", key + 1, "delete me")
    settle(cluster)
    write(cluster, "node3", "MERGE INTO entry AS t USING (VALUES (%s, 'updated'), (%s, NULL), (%s, 'inserted')) AS s (id, value) ON t.id = s.id"
                            " WHEN MATCHED AND s.value IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET value = s.value"
                            " WHEN NOT MATCHED THEN INSERT (id, value) VALUES (s.id, s.value)", [key, key + 1, key + 2])
    assert values(cluster, key) == {key: "updated", key + 2: "inserted"}


def test_merge_that_deletes_a_key_and_inserts_it_again(cluster, key):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    write(cluster, "node3", "MERGE INTO entry AS t USING (VALUES (%s, true), (%s, false)) AS s (id, goes) ON t.id = s.id AND s.goes"
                            " WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, value) VALUES (s.id, 'new')", [key, key])
    assert values(cluster, key) == {key: "new"}


def test_copy(cluster, key, tmp_path):
    lines = tmp_path / "lines"
    lines.write_text("".join(f"{key + n}\tcopied {n}\t\\N\n" for n in range(300)))
    with cluster.connect("node2", "writer") as connection, connection.cursor() as cursor, lines.open() as file:
        cursor.copy_expert("COPY entry (id, value, other) FROM STDIN", file)
    assert values(cluster, key) == {key + n: f"copied {n}" for n in range(300)}


def test_update_from(cluster, key):
    write(cluster, "node1", "INSERT INTO entry (id, value) SELECT %s + n, 'old' FROM generate_series(0, 99) n", [key])
    settle(cluster)
    write(cluster, "node2", "UPDATE entry SET value = 'new ' || s.n FROM generate_series(0, 49) AS s (n) WHERE id = %s + s.n", [key])
    assert values(cluster, key) == {key + n: f"new {n}" if n < 50 else "old" for n in range(100)}


def test_one_statement_that_writes_in_several_places(cluster, key):
    insert(cluster, "node1", key, "goes")
    insert(cluster, "node1", key + 1, "changes")
    settle(cluster)
    write(cluster, "node2", "WITH gone AS (DELETE FROM entry WHERE id = %s RETURNING id), changed AS (UPDATE entry SET value = 'changed'"
                            " WHERE id = %s RETURNING id) INSERT INTO entry (id, value) SELECT id + 10, 'copied' FROM gone UNION ALL"
                            " SELECT id + 10, 'copied' FROM changed", [key, key + 1])
    assert values(cluster, key) == {key + 1: "changed", key + 10: "copied", key + 11: "copied"}


@pytest.mark.parametrize("tail", ["", "LIMIT 1"])
def test_one_statement_that_deletes_a_key_and_inserts_it_again(cluster, key, tail):
    """With LIMIT the INSERT ends before the DELETE, and its AFTER trigger fires first."""
    insert(cluster, "node1", key, "old")
    settle(cluster)
    write(cluster, "node2", "WITH gone AS (DELETE FROM entry WHERE id = %s RETURNING id) INSERT INTO entry (id, value)"
                            f" SELECT id, 'new' FROM gone {tail}", [key])
    assert write(cluster, "node2", "SELECT value FROM entry WHERE id = %s", [key]) == [("new",)]
    assert values(cluster, key) == {key: "new"}


@pytest.mark.parametrize("tail", ["", "LIMIT 1"])
def test_one_statement_that_moves_a_key_and_inserts_the_old_one(cluster, key, tail):
    insert(cluster, "node1", key, "old")
    settle(cluster)
    write(cluster, "node2", "WITH moved AS (UPDATE entry SET id = id + 1 WHERE id = %s RETURNING id) INSERT INTO entry (id, value)"
                            f" SELECT id - 1, 'new' FROM moved {tail}", [key])
    assert values(cluster, key) == {key: "new", key + 1: "old"}


def test_a_trigger_of_the_user_that_puts_a_deleted_row_back(cluster, key):
    with cluster.connect("node2") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE FUNCTION put_back() RETURNS trigger LANGUAGE plpgsql AS"
                       " $$ BEGIN INSERT INTO public.entry (id, value) VALUES (OLD.id, 'back'); RETURN NULL; END $$")
        cursor.execute("CREATE TRIGGER put_back AFTER DELETE ON entry FOR EACH ROW EXECUTE FUNCTION put_back()")
    try:
        insert(cluster, "node2", key, "old")
        settle(cluster)
        delete(cluster, "node2", key)
        assert values(cluster, key) == {key: "back"}
    finally:
        cluster.query("node2", "DROP FUNCTION put_back CASCADE")


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


def test_a_version_that_a_client_sends_is_overwritten(cluster, key):
    insert(cluster, "node1", key, "old")
    write(cluster, "node1", "INSERT INTO entry (id, value, modified_ts, modified_node) VALUES (%s, 'x', 'infinity', 77)", [key + 1])
    write(cluster, "node1", "UPDATE entry SET modified_ts = 'infinity', modified_node = 77 WHERE id = %s", [key])
    assert_same(cluster, "entry")
    found = write(cluster, "node2", "SELECT modified_node, modified_ts <= clock_timestamp() + interval '1 minute' FROM entry WHERE id IN (%s, %s)",
                  [key, key + 1])
    assert found == [(1, True), (1, True)]


# --- races on one node ---


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


ISOLATIONS = ["read committed", "repeatable read", "serializable"]


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


# --- the race that the sweep is for ---


def begin_insert(cluster, connection, key: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO entry (id, value) VALUES (%s, 'raced')", [key])


def later_tombstone(cluster, key: int) -> None:
    """Make a later tombstone of the key on node2, where there was no row of it, and wait until node1 has it."""
    connection = cluster.superuser("node2")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT tombstone_name, image_name FROM unison.replicated_table WHERE table_name = 'entry'")
        tombstone = cursor.fetchone()[0]
        cursor.execute(f'INSERT INTO unison."{tombstone}" (id, modified_ts, modified_node) VALUES (%s, clock_timestamp(), 2)', [key])
    connection.close()
    arrived(cluster, "node2", "node1")


def raced(cluster, key: int) -> bool:
    return bool(cluster.query("node1", "SELECT 1 FROM entry WHERE id = %s", [key]))


def test_a_row_that_raced_with_a_tombstone_is_swept(cluster, key):
    with cluster.connect("node1", "writer", autocommit=False) as connection:
        begin_insert(cluster, connection, key)
        later_tombstone(cluster, key)
        connection.commit()
    assert values(cluster, key) == {}


def test_a_row_that_raced_with_a_tombstone_is_swept_by_the_agent(cluster, key):
    with cluster.connect("node1", "writer", autocommit=False) as connection:
        begin_insert(cluster, connection, key)
        later_tombstone(cluster, key)
        connection.commit()
    wait_until(lambda: "the row is there" if raced(cluster, key) else None, "the agent sweeps", 15)


def sweeps(cluster, node: str) -> int:
    return cluster.query(node, "SELECT count(*) FROM unison.round")[0][0]


@pytest.mark.parametrize("rounds", [3])
def test_a_row_that_raced_for_several_rounds_of_maintenance_is_swept_by_the_agent(cluster, key, rounds):
    with cluster.connect("node1", "writer", autocommit=False) as connection:
        begin_insert(cluster, connection, key)
        later_tombstone(cluster, key)
        before = sweeps(cluster, "node1")
        wait_until(lambda: None if sweeps(cluster, "node1") >= before + rounds else "too few sweeps", "the agent has swept some times", 30)
        connection.commit()
    wait_until(lambda: "the row is there" if raced(cluster, key) else None, "the agent sweeps", 15)


def test_a_tombstone_whose_transaction_began_long_before_the_row_is_found_by_the_agent(cluster, key):
    """The tombstone is written first, stays uncommitted over some rounds, the row comes and commits meanwhile, and the tombstone commits last."""
    holder = cluster.superuser("node1")
    try:
        with holder.cursor() as cursor:
            cursor.execute("SELECT tombstone_name FROM unison.replicated_table WHERE table_name = 'entry'")
            cursor.execute(f'INSERT INTO unison."{cursor.fetchone()[0]}" (id, modified_ts, modified_node) VALUES (%s, %s, 2)', [key, FUTURE])
        before = sweeps(cluster, "node1")
        wait_until(lambda: None if sweeps(cluster, "node1") >= before + 3 else "too few sweeps", "the agent has swept some times", 30)
        insert(cluster, "node1", key, "raced")
        before = sweeps(cluster, "node1")
        wait_until(lambda: None if sweeps(cluster, "node1") >= before + 2 else "too few sweeps", "the agent has swept some times", 30)
        holder.commit()
    finally:
        holder.close()
    wait_until(lambda: "the row is there" if raced(cluster, key) else None, "the agent sweeps", 15)


def test_a_row_and_its_tombstone_both_long_open_are_found_by_the_agent(cluster, key):
    """Tombstone's transaction begins, rounds pass, the row's begins, rounds pass, the tombstone's ends, rounds pass, the row's ends."""
    def some_rounds() -> None:
        before = sweeps(cluster, "node1")
        wait_until(lambda: None if sweeps(cluster, "node1") >= before + 2 else "too few sweeps", "the agent has swept some times", 30)

    holder = cluster.superuser("node1")
    try:
        with cluster.connect("node1", "writer", autocommit=False) as connection:
            with holder.cursor() as cursor:
                cursor.execute("SELECT tombstone_name FROM unison.replicated_table WHERE table_name = 'entry'")
                cursor.execute(f'INSERT INTO unison."{cursor.fetchone()[0]}" (id, modified_ts, modified_node) VALUES (%s, %s, 2)', [key, FUTURE])
            some_rounds()
            begin_insert(cluster, connection, key)
            some_rounds()
            holder.commit()
            some_rounds()
            connection.commit()
    finally:
        holder.close()
    wait_until(lambda: "the row is there" if raced(cluster, key) else None, "the agent sweeps", 15)


def test_images_are_trimmed(cluster, key):
    insert(cluster, "node1", key, "old")
    update(cluster, "node1", key, "new")
    image = cluster.query("node1", "SELECT image_name FROM unison.replicated_table WHERE table_name = 'entry'")[0][0]

    def left() -> str | None:
        count = cluster.query("node1", f'SELECT count(*) FROM unison."{image}"')[0][0]
        return f"{count} images" if count else None

    wait_until(left, "the images are trimmed", 15)
    assert values(cluster, key) == {key: "new"}


# --- the agent's maintenance goes on ---


def complaints(cluster, node: str) -> int:
    """Count the rounds of maintenance that failed, as the agent logged them."""
    return sum("maintenance: " in line for _, lines in cluster.site.runtime.logs(cluster.site.spec(node)) for line in lines)


def test_maintenance_goes_on_after_a_lock_kept_it_waiting(cluster, key):
    with cluster.connect("node3", autocommit=False) as connection, connection.cursor() as cursor:
        # a deletion that node3 still has to look at
        insert(cluster, "node1", key, "doomed")
        delete(cluster, "node1", key)
        settle(cluster)
        cursor.execute("LOCK TABLE entry IN ACCESS EXCLUSIVE MODE")
        before = complaints(cluster, "node3")
        # it gives up after a second
        wait_until(lambda: None if complaints(cluster, "node3") > before else "nothing logged", "the maintenance gives up waiting", 25)
    before = sweeps(cluster, "node3")
    wait_until(lambda: None if sweeps(cluster, "node3") > before else "no sweep since", "the agent sweeps again", 15)


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
