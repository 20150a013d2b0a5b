"""Statements that change a row more than once: by cascades, by triggers of the user's, by parts of one statement. The nodes hold the same rows."""

import psycopg2.errors
import pytest

from tests.convergence.comparison import MARKS, assert_same, blocked, names
from tests.convergence.session import Session
from tests.integration.test_types import set_up

pytestmark = [pytest.mark.process_runtime("statements are a matter of SQL, wherever the node runs"), pytest.mark.usefixtures("no_error_loop")]

MADE = """
CREATE TABLE tree (id bigint PRIMARY KEY, parent bigint REFERENCES tree ON UPDATE CASCADE ON DELETE CASCADE, value text);
CREATE TABLE forest (id bigint PRIMARY KEY, parent bigint REFERENCES forest ON UPDATE SET NULL ON DELETE SET NULL,
                     guardian bigint REFERENCES forest ON UPDATE CASCADE ON DELETE CASCADE,
                     home bigint DEFAULT 1 REFERENCES forest ON UPDATE SET DEFAULT ON DELETE SET DEFAULT);
CREATE TABLE branch (id bigint PRIMARY KEY REFERENCES tree ON UPDATE CASCADE ON DELETE CASCADE, value text);
CREATE TABLE leaf (branch bigint REFERENCES branch ON UPDATE CASCADE ON DELETE CASCADE, number int, value text, PRIMARY KEY (branch, number));
CREATE TABLE entry (id bigint PRIMARY KEY, value text);
CREATE TABLE slow (id bigint PRIMARY KEY, value text);
CREATE TABLE fixed (id bigint PRIMARY KEY, value text);
CREATE TRIGGER z_min_update BEFORE UPDATE ON slow FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a row of % stays as it is', TG_TABLE_NAME; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON fixed FOR EACH ROW EXECUTE FUNCTION refuse()
"""
TABLES = ["tree", "forest", "branch", "leaf", "entry", "slow", "fixed"]


@pytest.fixture(scope="module")
def cluster(make_cluster):
    cluster = make_cluster(nodes=2, tables=[MARKS]).up()
    for node in names(cluster):
        cluster.query(node, MADE)
    set_up(cluster, *TABLES)
    cluster.query("node1", "INSERT INTO forest (id) VALUES (1)", role="writer")
    return cluster


def write(cluster, *statements: str, node: str = "node1") -> None:
    for statement in statements:
        cluster.query(node, statement, role="writer")


def rows(cluster, table: str, key: int, columns: str = "*", by: str = "id") -> list[tuple]:
    """Assert that the nodes are the same; return what the node that did not write holds of the thousand keys from ``key`` on."""
    assert_same(cluster, table)
    return cluster.query("node2", f"SELECT {columns} FROM {table} WHERE {by} >= {key} AND {by} < {key + 1000} ORDER BY 1", role="reader")


# --- cascades ---


def test_a_row_that_is_its_own_parent_gets_another_key(cluster, key):
    write(cluster, f"INSERT INTO tree VALUES ({key}, {key}, 'root')", f"UPDATE tree SET id = {key + 10} WHERE id = {key}")
    assert rows(cluster, "tree", key, "id, parent") == [(key + 10, key + 10)]


def test_a_circle_of_rows_gets_other_keys(cluster, key):
    write(cluster, f"INSERT INTO tree VALUES ({key}, NULL), ({key + 1}, {key}), ({key + 2}, {key + 1})", f"UPDATE tree SET parent = {key + 2} WHERE id = {key}",
          f"UPDATE tree SET id = id + 100 WHERE id BETWEEN {key} AND {key + 2}")
    assert rows(cluster, "tree", key, "id, parent") == [(key + 100, key + 102), (key + 101, key + 100), (key + 102, key + 101)]


def test_a_key_cascades_through_keys_of_other_tables(cluster, key):
    write(cluster, f"INSERT INTO tree VALUES ({key}, {key})", f"INSERT INTO branch VALUES ({key}, 'b')", f"INSERT INTO leaf VALUES ({key}, 1), ({key}, 2)",
          f"UPDATE tree SET id = {key + 5} WHERE id = {key}", f"UPDATE tree SET id = {key + 7} WHERE id = {key + 5}")
    assert rows(cluster, "tree", key, "id, parent") == [(key + 7, key + 7)]
    assert rows(cluster, "branch", key, "id, value") == [(key + 7, "b")]
    assert rows(cluster, "leaf", key, "branch, number", "branch") == [(key + 7, 1), (key + 7, 2)]
    write(cluster, f"DELETE FROM tree WHERE id = {key + 7}")
    assert rows(cluster, "leaf", key, by="branch") == rows(cluster, "branch", key) == rows(cluster, "tree", key) == []


@pytest.mark.parametrize("statement", ["UPDATE forest SET id = id + 100 WHERE id = {key}", "DELETE FROM forest WHERE id = {key}",
                                       "DELETE FROM forest WHERE id IN ({key}, {key} + 1)"])
def test_several_foreign_keys_of_one_row_act_at_once(cluster, key, statement):
    write(cluster, f"INSERT INTO forest (id) VALUES ({key})", f"UPDATE forest SET parent = {key}, guardian = {key}, home = {key} WHERE id = {key}",
          f"INSERT INTO forest VALUES ({key + 1}, {key}, NULL, {key}), ({key + 2}, {key + 1}, {key + 1}, {key}), ({key + 3}, {key}, {key}, {key + 1}),"
          f" ({key + 4}, {key}, NULL, {key})",
          statement.format(key=key))
    left = rows(cluster, "forest", key, "id, parent, guardian, home")
    assert left == cluster.query("node1", f"SELECT id, parent, guardian, home FROM forest WHERE id >= {key} AND id < {key + 1000} ORDER BY 1")
    assert left


# --- parts of one statement ---


@pytest.mark.parametrize(("statement", "expected"), [
    ("WITH gone AS (DELETE FROM entry WHERE id = {key} RETURNING id) INSERT INTO entry SELECT id, 'new' FROM gone", [(0, "new"), (1, "one")]),
    ("WITH gone AS (DELETE FROM entry WHERE id = {key} RETURNING id) UPDATE entry AS e SET id = gone.id, value = 'new' FROM gone WHERE e.id = {key} + 1",
     [(0, "new")]),
    ("WITH gone AS (DELETE FROM entry WHERE id = {key} RETURNING id),"
     " moved AS (UPDATE entry AS e SET id = gone.id FROM gone WHERE e.id = {key} + 1 RETURNING e.id)"
     " INSERT INTO entry SELECT id + 1, 'new' FROM moved", [(0, "one"), (1, "new")]),
    ("MERGE INTO entry AS e USING (VALUES ({key}), ({key} + 1), ({key} + 2)) AS s (id) ON e.id = s.id WHEN MATCHED AND e.id = {key} THEN DELETE"
     " WHEN MATCHED THEN UPDATE SET value = 'new' WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'new')", [(1, "new"), (2, "new")]),
    ("MERGE INTO entry AS e USING (VALUES ({key}), ({key} + 1)) AS s (id) ON e.id = s.id WHEN MATCHED AND e.id = {key} THEN DELETE"
     " WHEN MATCHED THEN UPDATE SET id = e.id + 8", [(9, "one")]),
])
def test_one_statement_deletes_and_puts_back(cluster, key, statement, expected):
    write(cluster, f"INSERT INTO entry VALUES ({key}, 'zero'), ({key + 1}, 'one')", statement.format(key=key))
    assert rows(cluster, "entry", key, f"(id - {key})::int, value") == expected


# --- a key that was deleted, and triggers of the user's ---


@pytest.mark.parametrize(("table", "refused"), [("slow", False), ("fixed", True)])
def test_an_insert_that_waited_for_the_deletion_of_its_key_stays_or_fails(cluster, key, table, refused):
    """The row must be later than the tombstone; a trigger that keeps it from that makes the INSERT fail, never get lost."""
    write(cluster, f"INSERT INTO {table} VALUES ({key}, 'old')")
    insert = f"INSERT INTO {table} VALUES ({key}, 'new')"
    with cluster.connect("node1", "writer", autocommit=False) as first, cluster.connect("node1", "writer") as second:
        with first.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE id = {key}")
            waiting = Session(second, insert)
            blocked(cluster, "node1", second.info.backend_pid)
            # once more in this transaction, so that the tombstone is later than the stamp of the row that waits
            cursor.execute(f"INSERT INTO {table} VALUES ({key}, 'between'); DELETE FROM {table} WHERE id = {key}")
        first.commit()
        error = waiting.end()
    if refused:
        assert isinstance(error, psycopg2.errors.SerializationFailure)
        assert "stays as it is" in error.diag.message_detail
        write(cluster, insert)
    else:
        assert error is None
    assert rows(cluster, table, key, "value") == [("new",)]
