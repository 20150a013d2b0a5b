"""The merge on real nodes: one transaction, or one statement, writes rows in several ways."""

import pytest

from tests.convergence.comparison import assert_same, settle
from tests.integration.merge.entries import delete, insert, values, write


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


def test_a_version_that_a_client_sends_is_overwritten(cluster, key):
    insert(cluster, "node1", key, "old")
    write(cluster, "node1", "INSERT INTO entry (id, value, modified_ts, modified_node) VALUES (%s, 'x', 'infinity', 77)", [key + 1])
    write(cluster, "node1", "UPDATE entry SET modified_ts = 'infinity', modified_node = 77 WHERE id = %s", [key])
    assert_same(cluster, "entry")
    found = write(cluster, "node2", "SELECT modified_node, modified_ts <= clock_timestamp() + interval '1 minute' FROM entry WHERE id IN (%s, %s)",
                  [key, key + 1])
    assert found == [(1, True), (1, True)]
