"""Tables of every kind: what cannot be replicated is refused, what is set up is replicated whatever its names and types are."""

import random
import re
from contextlib import closing

import psycopg2
import psycopg2.errors
import pytest

from pgunison.errors import OrchestratorError
from services import documentation, shape
from tests.convergence.comparison import MARKS, assert_same

FINDS = {"name": "finds", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "found", "type": "text"},
                                      {"name": "new", "type": "text"}]}


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[FINDS, MARKS]).up()


@pytest.fixture(scope="module")
def single(make_cluster):
    """A node without peers: a table that is set up here only disturbs nobody."""
    return make_cluster(nodes=1, tables=[MARKS]).up()


def set_up(cluster, node: str, table: str, ddl: str, *, schema: str = "public") -> dict:
    """Make a table by SQL on one node and set it up there."""
    cluster.query(node, ddl)
    return cluster.site.call(node, "table.setup", Table={"schema": schema, "name": table})


@pytest.mark.parametrize(("key", "column"), [(1, "found"), (2, "new")])
def test_columns_that_have_the_names_of_variables(cluster, key, column):
    cluster.query("node1", "INSERT INTO finds (id) VALUES (%s)", [key])
    cluster.query("node1", f'UPDATE finds SET "{column}" = \'changed\' WHERE id = %s', [key])
    assert_same(cluster, "finds")
    assert cluster.query("node2", f'SELECT "{column}" FROM finds WHERE id = %s', [key]) == [("changed",)]


def test_a_generated_column_that_is_not_null(single):
    set_up(single, "node1", "computed", "CREATE TABLE computed (id bigint PRIMARY KEY, a int, b int GENERATED ALWAYS AS (coalesce(a, 0) * 2) STORED NOT NULL)")
    single.query("node1", "INSERT INTO computed VALUES (1, 2)")
    single.query("node1", "UPDATE computed SET a = 3")
    assert single.query("node1", "SELECT b FROM computed") == [(6,)]


def test_a_generated_key_is_refused(single):
    """The key is not in the stream and not yet computed where the merge looks for it."""
    with pytest.raises(OrchestratorError) as refused:
        set_up(single, "node1", "computed_key", "CREATE TABLE computed_key (a bigint, id bigint GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY)")
    assert refused.value.detail and refused.value.hint


def test_every_key_that_can_be_inserted_can_be_deleted(single):
    """The tombstones' index takes a little less than the primary key does."""
    set_up(single, "node1", "long_key", "CREATE TABLE long_key (id text PRIMARY KEY)")
    choice, refused = random.Random(1), []
    # just below what an index row of one column takes
    for length in (2400, *range(2640, 2696, 4)):
        key = "".join(chr(choice.randrange(33, 127)) for _ in range(length))
        try:
            single.query("node1", "INSERT INTO long_key VALUES (%s)", [key])
        except psycopg2.errors.CheckViolation as error:
            assert error.diag.constraint_name == "unison_key_fits"
            refused.append(length)
            continue
        single.query("node1", "DELETE FROM long_key WHERE id = %s", [key])
    assert refused == list(range(2640, 2696, 4))


@pytest.mark.parametrize("change", ["ALTER TABLE finds ADD COLUMN extra text", "ALTER TABLE finds DROP COLUMN found", "ALTER TABLE finds RENAME found TO lost",
                                    "ALTER TABLE finds ALTER COLUMN found TYPE varchar(50)", "ALTER TABLE finds DROP CONSTRAINT finds_pkey",
                                    "CREATE UNIQUE INDEX ON finds (found)", "CREATE RULE nothing AS ON INSERT TO finds DO INSTEAD NOTHING",
                                    "ALTER TABLE finds SET UNLOGGED", "DROP TABLE finds", "DROP TABLE finds CASCADE",
                                    "ALTER TABLE finds RENAME TO losses", "ALTER TABLE finds SET SCHEMA unison"])
def test_a_change_of_a_replicated_table_is_refused(cluster, change):
    # some of these PostgreSQL itself refuses, because of the publication or the merge's functions
    with pytest.raises((psycopg2.errors.FeatureNotSupported, psycopg2.errors.DependentObjectsStillExist,
                        psycopg2.errors.ObjectNotInPrerequisiteState)) as refused:
        cluster.query("node1", change)
    assert refused.value.diag.message_detail
    assert not [table["fault"] for table in cluster.site.call("node1", "node.describe")["tables"] if table["fault"]]


@pytest.mark.parametrize("change", ["CREATE INDEX ON finds (found)", "COMMENT ON TABLE finds IS 'a table'", "ALTER TABLE finds SET (fillfactor = 80)",
                                    "CREATE TABLE own (id int); ALTER TABLE own ADD COLUMN more int; DROP TABLE own"])
def test_what_does_not_touch_the_rows_is_allowed(cluster, change):
    cluster.query("node1", change)


def test_a_superuser_gets_past_the_guard_and_is_found_out(cluster):
    with cluster.superuser("node2") as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE public.finds ADD COLUMN extra text")
    connection.commit()
    try:
        faults = [table["fault"] for table in cluster.site.call("node2", "node.describe")["tables"] if table["name"] == "finds"]
        assert faults == ["column extra is new, its order of columns was changed"]
        assert cluster.site.observe().node("node2").state == "faulty"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE public.finds DROP COLUMN extra")
        connection.commit()
        connection.close()


def test_a_table_that_a_superuser_has_dropped_is_named(single):
    set_up(single, "node1", "gone", "CREATE TABLE gone (id bigint PRIMARY KEY)")
    with single.superuser("node1") as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE public.gone CASCADE")
    connection.commit()
    connection.close()
    with pytest.raises(OrchestratorError, match="there is no table public.gone"):
        single.site.call("node1", "table.digest", Table={"schema": "public", "name": "gone"})


def test_the_merge_in_the_documents_is_the_one_that_a_node_has(single):
    set_up(single, "node1", "table1", "CREATE TABLE table1 (id bigserial PRIMARY KEY, col1 text, col2 text)")
    with closing(single.superuser("node1")) as connection, connection.cursor() as cursor:
        assert shape.read(cursor, "public", "table1") == documentation.TABLE1
        prefix = documentation.TABLE1.companion("")
        cursor.execute("SELECT proname, prosrc FROM pg_proc WHERE starts_with(proname, %s)", [prefix])
        installed = dict(cursor.fetchall())
        cursor.execute("SELECT array_agg(tgname::text ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 'table1'::regclass")
        triggers = cursor.fetchone()[0]
    text = documentation.text()
    written = dict(re.findall(r'CREATE OR REPLACE FUNCTION "unison"\."(\w+)"\(.*?AS \$body\$(.*?)\$body\$', text, re.DOTALL))
    assert written == installed
    assert sorted(set(re.findall(r'CREATE OR REPLACE TRIGGER (\w+) .* ON "public"\."table1"', text))) == triggers
