"""Every way to write, on both nodes at once: each node holds the same rows afterwards, for each row those of the later statement."""

import io

import psycopg2.errors
import pytest

from tests.convergence.comparison import MARKS, all_links, arrived, assert_same, error_counts, names, paused, settle, wait_until
from tests.integration.test_types import set_up

pytestmark = [pytest.mark.process_runtime("statements are a matter of SQL, wherever the node runs"), pytest.mark.usefixtures("no_error_loop")]

MADE = """
CREATE TABLE entry (id bigint PRIMARY KEY, value text, number int DEFAULT 0);
CREATE TABLE ledger (id bigint PRIMARY KEY, value text, number int);
CREATE TABLE note (id text PRIMARY KEY, value jsonb);
CREATE TABLE parent (id bigint PRIMARY KEY, value text);
CREATE TABLE child (id bigint PRIMARY KEY, parent bigint REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, value text);
CREATE TABLE grandchild (id bigint PRIMARY KEY, child bigint REFERENCES child ON DELETE CASCADE);
CREATE TABLE optional (id bigint PRIMARY KEY, parent bigint DEFAULT 0 REFERENCES parent ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TABLE strict (id bigint PRIMARY KEY, value text);
CREATE TABLE follower (id bigint PRIMARY KEY, leader bigint REFERENCES strict);
CREATE TABLE tree (id bigint PRIMARY KEY, above bigint REFERENCES tree)
"""
TABLES = ["entry", "ledger", "note", "parent", "child", "grandchild", "optional", "strict", "follower", "tree"]


@pytest.fixture(scope="module")
def cluster(make_cluster):
    cluster = make_cluster(nodes=2, tables=[MARKS]).up()
    for node in names(cluster):
        cluster.query(node, MADE)
    set_up(cluster, *TABLES)
    return cluster


def write(cluster, node: str, statement: str) -> list[tuple]:
    return cluster.query(node, statement, role="writer")


def both(cluster, *statements: tuple[str, str]) -> None:
    """Execute statements, each on the node beside it, in this order, before any node hears of another's."""
    with paused(cluster, *all_links(cluster)):
        for node, statement in statements:
            write(cluster, node, statement)


def rows(cluster, table: str, key: int, columns: str = "id - {key}, value") -> list[tuple]:
    """Assert that the nodes are the same; return what a reader sees of the thousand keys from ``key`` on, on the node that wrote least."""
    assert_same(cluster, table)
    return cluster.query("node2", f"SELECT {columns.format(key=key)} FROM {table} WHERE id >= {key} AND id < {key + 1000} ORDER BY id", role="reader")


def filled(cluster, key: int, count: int = 4, table: str = "entry") -> None:
    """Give both nodes some rows."""
    write(cluster, "node1", f"INSERT INTO {table} (id, value) SELECT {key} + n, 'old ' || n FROM generate_series(0, {count - 1}) n")
    settle(cluster)


# --- statements ---


def test_upserts(cluster, key):
    filled(cluster, key, 1)
    upsert = "INSERT INTO entry VALUES {} ON CONFLICT (id) DO UPDATE SET value = excluded.value || entry.value, number = entry.number + 1"
    both(cluster, ("node1", upsert.format(f"({key}, 'one '), ({key + 1}, 'one '), ({key + 2}, 'one ')")),
         ("node2", upsert.format(f"({key}, 'two '), ({key + 1}, 'two ')")), ("node1", upsert.format(f"({key + 1}, 'three ')")))
    assert rows(cluster, "entry", key, "id - {key}, value, number") == [(0, "two old 0", 1), (1, "three one ", 1), (2, "one ", 0)]


def test_upserts_that_do_nothing_or_not_always(cluster, key):
    filled(cluster, key, 2)
    both(cluster, ("node1", f"INSERT INTO entry VALUES ({key}, 'never'), ({key + 2}, 'first') ON CONFLICT DO NOTHING"),
         ("node2", f"INSERT INTO entry VALUES ({key}, 'never'), ({key + 1}, 'won'), ({key + 2}, 'second') ON CONFLICT (id) DO UPDATE"
                   f" SET value = excluded.value WHERE entry.id = {key + 1}"))
    assert rows(cluster, "entry", key) == [(0, "old 0"), (1, "won"), (2, "second")]


def test_merge(cluster, key):
    filled(cluster, key)
    merge = ("MERGE INTO entry AS t USING (VALUES {}) AS s (id, value) ON t.id = s.id WHEN MATCHED AND s.value = 'delete' THEN DELETE"
             " WHEN MATCHED AND s.value = 'move' THEN UPDATE SET id = t.id + 10 WHEN MATCHED AND s.value = 'nothing' THEN DO NOTHING"
             " WHEN MATCHED THEN UPDATE SET value = s.value WHEN NOT MATCHED THEN INSERT (id, value) VALUES (s.id, s.value)")
    both(cluster, ("node1", merge.format(f"({key}, 'one'), ({key + 1}, 'delete'), ({key + 2}, 'one'), ({key + 3}, 'move'), ({key + 4}, 'one')")),
         ("node2", merge.format(f"({key}, 'delete'), ({key + 1}, 'two'), ({key + 2}, 'nothing'), ({key + 3}, 'two'), ({key + 4}, 'two')")))
    assert rows(cluster, "entry", key) == [(1, "two"), (2, "one"), (3, "two"), (4, "two"), (13, "old 3")]


def test_merge_by_source(cluster, key):
    if cluster.query("node1", "SELECT current_setting('server_version_num')::int < 170000")[0][0]:
        pytest.skip("PostgreSQL 17 has it first")
    filled(cluster, key)
    merge = (f"WITH t AS (MERGE INTO entry AS t USING (VALUES ({key + 1}, '{{0}}'), ({key + 9}, '{{0}}')) AS s (id, value) ON t.id = s.id"
             " WHEN MATCHED THEN UPDATE SET value = s.value WHEN NOT MATCHED THEN INSERT (id, value) VALUES (s.id, s.value)"
             f" WHEN NOT MATCHED BY SOURCE AND t.id BETWEEN {key} AND {key + 99} AND t.id % 2 = 0 THEN DELETE RETURNING merge_action() AS act, t.id)"
             " INSERT INTO ledger (id, value) SELECT id + {1}, act FROM t")
    both(cluster, ("node1", merge.format("one", 0)), ("node2", merge.format("two", 100)))
    assert rows(cluster, "entry", key) == [(1, "two"), (3, "old 3"), (9, "two")]
    acts = [(0, "DELETE"), (1, "UPDATE"), (2, "DELETE"), (9, "INSERT")]
    assert rows(cluster, "ledger", key) == acts + [(100 + n, act) for n, act in acts]


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_copy(cluster, key, form):
    def copy(node: str, first: int, last: int, value: str, table: str = "entry") -> None:
        data = io.BytesIO()
        with cluster.connect(node, "writer") as connection, connection.cursor() as cursor:
            cursor.copy_expert(f"COPY (SELECT n::bigint, NULLIF('{value} ' || n, '{value} {last}'), n FROM generate_series({first}, {last}) n)"
                               f" TO STDOUT (FORMAT {form})", data)
            data.seek(0)
            cursor.copy_expert(f"COPY {table} (id, value, number) FROM STDIN (FORMAT {form})", data)

    with paused(cluster, *all_links(cluster)):
        copy("node1", key, key + 199, "one")
        copy("node2", key + 100, key + 299, "two")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            copy("node2", key + 250, key + 399, "never")
    assert rows(cluster, "entry", key) == [(n, None if n == 299 else f"{'one' if n < 100 else 'two'} {key + n}") for n in range(300)]


def test_update_from_and_delete_using(cluster, key):
    filled(cluster, key, 100)
    filled(cluster, key, 50, "ledger")
    both(cluster, ("node1", f"UPDATE entry AS e SET value = 'one ' || l.value FROM ledger AS l WHERE l.id = e.id AND l.id >= {key} AND l.id < {key + 1000}"),
         ("node2", f"DELETE FROM entry AS e USING ledger AS l WHERE l.id = e.id AND l.id >= {key} AND l.id < {key + 20}"),
         ("node2", f"UPDATE entry AS e SET value = 'two' FROM ledger AS l WHERE l.id + 10 = e.id AND l.id >= {key + 40} AND l.id < {key + 1000}"))
    assert rows(cluster, "entry", key) == [(n, f"one old {n}" if n < 50 else "two" if n < 60 else f"old {n}") for n in range(20, 100)]


def test_one_statement_that_writes_to_three_tables(cluster, key):
    filled(cluster, key, 6)
    statement = (f"WITH gone AS (DELETE FROM entry WHERE id IN ({key + 1}, {{1}}) RETURNING *), changed AS (UPDATE entry SET value = '{{0}}'"
                 f" WHERE id IN ({key}, {key + 2}) RETURNING id), kept AS (INSERT INTO ledger SELECT id, '{{0}}', number FROM gone RETURNING id)"
                 " INSERT INTO note SELECT '{0} ' || count(*), to_jsonb(array_agg(id ORDER BY id))"
                 " FROM (SELECT id FROM kept UNION SELECT id FROM changed) AS all_of")
    both(cluster, ("node1", statement.format("one", key + 4)), ("node2", statement.format("two", key + 5)))
    assert rows(cluster, "entry", key) == [(0, "two"), (2, "two"), (3, "old 3")]
    assert rows(cluster, "ledger", key) == [(1, "two"), (4, "one"), (5, "two")]
    assert_same(cluster, "note")
    assert cluster.query("node2", "SELECT id, value FROM note ORDER BY id") == [
        ("one 4", [key, key + 1, key + 2, key + 4]), ("two 4", [key, key + 1, key + 2, key + 5])]


def test_values_to_null_and_back(cluster, key):
    filled(cluster, key)
    both(cluster, ("node1", f"UPDATE entry SET value = NULL, number = NULL WHERE id >= {key}"), ("node2", f"UPDATE entry SET number = 5 WHERE id = {key}"),
         ("node2", f"INSERT INTO entry VALUES ({key + 9}, NULL, NULL)"), ("node1", f"INSERT INTO entry VALUES ({key + 9}, 'null', NULL)"))
    settle(cluster)
    write(cluster, "node2", f"UPDATE entry SET value = 'back' WHERE id = {key + 1}")
    assert rows(cluster, "entry", key, "id - {key}, value, number") == [
        (0, "old 0", 5), (1, "back", None), (2, None, None), (3, None, None), (9, "null", None)]


def test_keys_that_change_against_an_insert_of_the_new_key(cluster, key):
    filled(cluster, key)
    both(cluster, ("node1", f"UPDATE entry SET id = id + 100, value = 'moved' WHERE id BETWEEN {key} AND {key + 3}"),
         ("node2", f"INSERT INTO entry VALUES ({key + 100}, 'inserted')"), ("node2", f"UPDATE entry SET id = {key + 101} WHERE id = {key + 2}"),
         ("node1", f"UPDATE entry SET value = 'last' WHERE id = {key + 103}"), ("node2", f"DELETE FROM entry WHERE id = {key + 3}"))
    assert rows(cluster, "entry", key) == [(100, "inserted"), (101, "old 2"), (102, "moved"), (103, "last")]


@pytest.mark.parametrize("table", ["entry", "note"])
def test_a_large_value_that_the_other_node_did_not_touch(cluster, key, table):
    """Neither compressed nor in the row: an UPDATE of another column leaves it where it is, and does not log it."""
    large = "(SELECT string_agg(sha512(n::text::bytea)::text, '') FROM generate_series({}, {} + 2000) n)"
    kind, value = ("text", "to_jsonb({})") if table == "note" else ("bigint", "{}")
    write(cluster, "node1", f"INSERT INTO {table} (id, value) VALUES ({key}::{kind}, {value.format(large.format(1, 1))})")
    settle(cluster)
    stored = f"SELECT md5(value::text), length(value::text) > 200000 FROM {table} WHERE id IN ({key}::{kind}, ({key} + 1)::{kind})"
    before = cluster.query("node1", stored)
    # node2 writes another large value, which is earlier than the change of the key on node1
    both(cluster, ("node2", f"UPDATE {table} SET value = {value.format(large.format(7, 7))} WHERE id = {key}::{kind}"),
         ("node1", f"UPDATE {table} SET id = ({key} + 1)::{kind} WHERE id = {key}::{kind}"))
    assert_same(cluster, table)
    assert [cluster.query(node, stored) for node in names(cluster)] == [before, before]
    assert before[0][1]


# --- foreign keys ---


def family(cluster, key: int) -> None:
    write(cluster, "node1", f"INSERT INTO parent SELECT {key} + n, 'old' FROM generate_series(0, 2) n")
    write(cluster, "node1", f"INSERT INTO child SELECT {key} + n, {key} + n / 2, 'old' FROM generate_series(0, 5) n")
    write(cluster, "node1", f"INSERT INTO grandchild SELECT {key} + n, {key} + n / 2 FROM generate_series(0, 11) n")
    write(cluster, "node1", f"INSERT INTO optional SELECT {key} + n, {key} + n FROM generate_series(0, 2) n")
    settle(cluster)


def test_on_delete_cascade(cluster, key):
    family(cluster, key)
    both(cluster, ("node1", f"DELETE FROM parent WHERE id = {key}"), ("node2", f"DELETE FROM parent WHERE id IN ({key}, {key + 1})"))
    assert rows(cluster, "parent", key) == [(2, "old")]
    assert rows(cluster, "child", key) == [(4, "old"), (5, "old")]
    assert rows(cluster, "grandchild", key, "id - {key}") == [(n,) for n in range(8, 12)]
    assert rows(cluster, "optional", key, "id - {key}, parent - {key}") == [(0, None), (1, None), (2, 2)]


def test_on_delete_cascade_against_changes_of_the_children(cluster, key):
    """What is later stays, and may refer to nothing then: apply workers do not check foreign keys."""
    family(cluster, key)
    both(cluster, ("node2", f"UPDATE child SET value = 'too early' WHERE id = {key}"), ("node1", f"DELETE FROM parent WHERE id IN ({key}, {key + 1})"),
         ("node2", f"UPDATE child SET value = 'later' WHERE id = {key + 1}"), ("node2", f"INSERT INTO child VALUES ({key + 9}, {key + 1}, 'born later')"),
         ("node2", f"UPDATE parent SET value = 'later' WHERE id = {key + 1}"))
    assert rows(cluster, "parent", key) == [(1, "later"), (2, "old")]
    assert rows(cluster, "child", key, "id - {key}, parent - {key}, value") == [
        (1, 0, "later"), (4, 2, "old"), (5, 2, "old"), (9, 1, "born later")]
    assert rows(cluster, "grandchild", key, "id - {key}") == [(n,) for n in range(8, 12)]


def test_on_update_cascade(cluster, key):
    family(cluster, key)
    both(cluster, ("node1", f"UPDATE parent SET id = id + 100 WHERE id = {key}"), ("node2", f"UPDATE child SET value = 'later' WHERE id = {key}"),
         ("node2", f"UPDATE parent SET id = id + 200 WHERE id = {key + 1}"))
    assert rows(cluster, "parent", key) == [(2, "old"), (100, "old"), (201, "old")]
    assert rows(cluster, "child", key, "id - {key}, parent - {key}, value") == [
        (0, 0, "later"), (1, 100, "old"), (2, 201, "old"), (3, 201, "old"), (4, 2, "old"), (5, 2, "old")]
    assert rows(cluster, "optional", key, "id - {key}, parent - {key}") == [(0, None), (1, None), (2, 2)]


# --- TRUNCATE ---


@pytest.mark.parametrize("statement", ["TRUNCATE strict, follower", "TRUNCATE follower, strict", "TRUNCATE strict CASCADE"])
def test_truncate_of_tables_that_refer_to_each_other(cluster, key, statement):
    write(cluster, "node1", f"INSERT INTO strict SELECT {key} + n FROM generate_series(0, 9) n")
    write(cluster, "node2", f"INSERT INTO strict SELECT {key} + n FROM generate_series(10, 19) n")
    settle(cluster)
    write(cluster, "node1", f"INSERT INTO follower SELECT {key} + n, {key} + n FROM generate_series(0, 19) n")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        write(cluster, "node2", f"UPDATE strict SET value = 'too early' WHERE id = {key}")
        cluster.query("node1", statement)
        write(cluster, "node2", f"INSERT INTO strict VALUES ({key + 20}, 'later')")
        write(cluster, "node1", f"INSERT INTO strict VALUES ({key + 1}, 'again')")
        write(cluster, "node2", f"UPDATE follower SET leader = {key + 20} WHERE id = {key + 5}")
    assert rows(cluster, "strict", key) == [(1, "again"), (20, "later")]
    assert rows(cluster, "follower", key, "id - {key}, leader - {key}") == [(5, 20)]
    cluster.query("node2", "TRUNCATE follower, strict")
    assert rows(cluster, "strict", key) == rows(cluster, "follower", key, "*") == []


def test_truncate_of_a_table_that_refers_to_itself(cluster, key):
    write(cluster, "node1", f"INSERT INTO tree SELECT {key} + n, CASE WHEN n > 0 THEN {key} + n - 1 END FROM generate_series(0, 9) n")
    settle(cluster)
    cluster.query("node2", "TRUNCATE tree")
    assert rows(cluster, "tree", key, "*") == []


def test_truncate_that_is_refused_or_rolled_back(cluster, key):
    filled(cluster, key, 2, "strict")
    write(cluster, "node1", f"INSERT INTO follower VALUES ({key}, {key})")
    settle(cluster)
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        cluster.query("node1", "TRUNCATE strict")
    with cluster.connect("node1", autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE strict, follower")
        connection.rollback()
        cursor.execute("TRUNCATE follower")
        cursor.execute("SAVEPOINT s; TRUNCATE strict CASCADE; ROLLBACK TO s")
        connection.commit()
    assert rows(cluster, "strict", key) == [(0, "old 0"), (1, "old 1")]
    assert rows(cluster, "follower", key, "*") == []


# --- transactions ---


def test_one_transaction_over_several_tables_and_a_hundred_thousand_rows(cluster, key):
    """Another node sees all of it or nothing, and what that node wrote later stays."""
    first, last = 10**6, 10**6 + 10**5
    seen = ("SELECT (SELECT count(*) FROM entry WHERE id >= {0}), (SELECT count(*) FROM ledger WHERE id >= {0}),"
            " (SELECT count(*) FROM note WHERE id LIKE 'big%')")
    states = set()

    def whole() -> str | None:
        found = cluster.query("node2", seen.format(first))[0]
        states.add(found)
        return None if found == (30_100, 29_900, 20_000) else f"{found}, {error_counts(cluster)}"

    with paused(cluster, *all_links(cluster)):
        with cluster.connect("node1", "writer", autocommit=False) as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO entry SELECT n, 'one', 1 FROM generate_series(%s, %s) n", [first, first + 29_999])
            cursor.execute("INSERT INTO ledger SELECT n, 'one', 1 FROM generate_series(%s, %s) n", [first, first + 29_999])
            cursor.execute("INSERT INTO note SELECT 'big ' || n, to_jsonb(n) FROM generate_series(1, 20000) n")
            cursor.execute("UPDATE entry SET value = 'changed' WHERE id BETWEEN %s AND %s", [first, first + 9_999])
            cursor.execute("DELETE FROM ledger WHERE id BETWEEN %s AND %s", [first, first + 4_999])
            cursor.execute("INSERT INTO ledger SELECT n, 'again', 1 FROM generate_series(%s, %s) n", [first + 100, first + 4_999])
            connection.commit()
        write(cluster, "node2", f"INSERT INTO entry SELECT n, 'two', 2 FROM generate_series({first + 29_950}, {first + 30_099}) n")
        before = cluster.query("node2", seen.format(first))[0]
    wait_until(whole, "node2 has the whole transaction", 120)
    assert states <= {before, (30_100, 29_900, 20_000)}
    assert_same(cluster, "entry", "ledger", "note")
    assert cluster.query("node1", f"SELECT value, count(*) FROM entry WHERE id BETWEEN {first} AND {last} GROUP BY 1 ORDER BY 1") == [
        ("changed", 10_000), ("one", 19_950), ("two", 150)]
    assert cluster.query("node2", f"SELECT value, count(*) FROM ledger WHERE id BETWEEN {first} AND {last} GROUP BY 1 ORDER BY 1") == [
        ("again", 4_900), ("one", 25_000)]


def test_a_transaction_that_is_rolled_back(cluster, key):
    filled(cluster, key)
    filled(cluster, key, 2, "ledger")
    with paused(cluster, *all_links(cluster)):
        with cluster.connect("node1", "writer", autocommit=False) as connection, connection.cursor() as cursor:
            cursor.execute(f"UPDATE entry SET value = 'never' WHERE id >= {key}; DELETE FROM ledger WHERE id >= {key};"
                           f" INSERT INTO entry SELECT {key} + 10 + n, 'never' FROM generate_series(1, 900) n;"
                           f" UPDATE entry SET id = id + 1 WHERE id = {key + 910}")
            connection.rollback()
        write(cluster, "node2", f"UPDATE entry SET value = 'kept' WHERE id = {key}")
    assert rows(cluster, "entry", key) == [(0, "kept"), (1, "old 1"), (2, "old 2"), (3, "old 3")]
    assert rows(cluster, "ledger", key) == [(0, "old 0"), (1, "old 1")]


def test_savepoints_within_savepoints(cluster, key):
    filled(cluster, key, 6)
    both(cluster, ("node2", f"UPDATE entry SET value = 'two' WHERE id >= {key}"), ("node1", f"""
        BEGIN; UPDATE entry SET value = 'one' WHERE id = {key};
        SAVEPOINT a; DELETE FROM entry WHERE id = {key + 1};
            SAVEPOINT b; DELETE FROM entry WHERE id = {key + 2}; INSERT INTO entry VALUES ({key + 1}, 'never'); ROLLBACK TO b;
            SAVEPOINT c; UPDATE entry SET id = {key + 13} WHERE id = {key + 3}; RELEASE c;
        RELEASE a;
        SAVEPOINT d; UPDATE entry SET value = 'never' WHERE id >= {key}; SAVEPOINT e; INSERT INTO ledger VALUES ({key}, 'never'); RELEASE e; ROLLBACK TO d;
        INSERT INTO entry VALUES ({key + 1}, 'one again'); INSERT INTO ledger VALUES ({key + 1}, 'one'); COMMIT"""))
    assert rows(cluster, "entry", key) == [(0, "one"), (1, "one again"), (2, "two"), (4, "two"), (5, "two"), (13, "old 3")]
    assert rows(cluster, "ledger", key) == [(1, "one")]


def test_an_error_within_a_transaction(cluster, key):
    """A block that caught it goes on; a transaction that did not leaves nothing."""
    filled(cluster, key)
    both(cluster, ("node1", f"""
        DO $$ BEGIN
            UPDATE entry SET value = 'one' WHERE id = {key};
            BEGIN DELETE FROM entry WHERE id = {key + 1}; INSERT INTO entry VALUES ({key + 2}, 'twice'); EXCEPTION WHEN unique_violation THEN NULL; END;
            BEGIN UPDATE entry SET id = {key + 9} WHERE id = {key + 3}; PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN
                INSERT INTO entry VALUES ({key + 10}, 'caught'); END;
        END $$"""), ("node2", f"UPDATE entry SET value = 'two' WHERE id = {key + 1}"))
    with pytest.raises(psycopg2.errors.DivisionByZero):
        write(cluster, "node2", f"BEGIN; DELETE FROM entry WHERE id >= {key}; INSERT INTO ledger VALUES ({key}, 'never'); SELECT 1 / 0; COMMIT")
    assert rows(cluster, "entry", key) == [(0, "one"), (1, "two"), (2, "old 2"), (3, "old 3"), (10, "caught")]
    assert rows(cluster, "ledger", key) == []


def test_a_transaction_that_meets_another_nodes_on_every_table(cluster, key):
    """The later one wins row by row, so two transactions may each leave a part."""
    for table in ("entry", "ledger"):
        filled(cluster, key, 3, table)
    both(cluster, ("node1", f"BEGIN; UPDATE entry SET value = 'one' WHERE id >= {key}; UPDATE ledger SET value = 'one' WHERE id >= {key}; COMMIT"),
         ("node2", f"BEGIN; UPDATE ledger SET value = 'two' WHERE id IN ({key}, {key + 1}); DELETE FROM entry WHERE id = {key}; COMMIT"))
    arrived(cluster, "node1", "node2")
    assert rows(cluster, "entry", key) == [(1, "one"), (2, "one")]
    assert rows(cluster, "ledger", key) == [(0, "two"), (1, "two"), (2, "one")]
