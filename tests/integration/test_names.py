"""Whatever tables, schemas and columns are called, and whatever types they have: the rows end the same on every node."""

import pytest
from psycopg2 import sql

from tests.convergence.comparison import MARKS, all_links, assert_same, names, paused, settle

pytestmark = pytest.mark.process_runtime("names and types are a matter of SQL, wherever the node runs")

KEYWORDS = [{"name": "select", "type": "bigint", "primary_key": True}, {"name": "Order", "type": "text"}, {"name": "NEW", "type": "text"}]
HOSTILE = "'); DROP TABLE mark; --"


def plain(name: str, schema: str = "public") -> dict:
    return {"schema": schema, "name": name, "columns": KEYWORDS}


NAMED = [plain("Order; --"), plain("ж" * 31 + "x"), plain("日" * 21), plain('double"quo""tes"'), plain("100%s %(x)s %"),
         plain("$body$"), plain("{table}"), plain("'"),
         plain("back\\slash"), plain("table"), plain("x" * 63), plain("x" * 62 + "y"),
         plain("t", "Schema; --"), plain('"', 'double"quotes'), plain("{key}", "{names}"), plain("%", "%I"), plain("'", "$body$"),
         plain("a.b", "select"), plain("b", "public.a"),
         {"name": "columns", "columns": [
             {"name": 'id"; --', "type": "bigint", "primary_key": True}, {"name": "{columns}", "type": "text"}, {"name": "%s", "type": "text"},
             {"name": "$1", "type": "text"}, {"name": "$body$", "type": "text"}, {"name": "'", "type": "text"}, {"name": "ж" * 31, "type": "text"},
             {"name": "user", "type": "text"}, {"name": "old", "type": "text"}, {"name": "excluded", "type": "text"}, {"name": "modified", "type": "text"},
             {"name": " ", "type": "text"}, {"name": "Id", "type": "text"}, {"name": "n", "type": "text"}, {"name": "t", "type": "text"},
             {"name": "d", "type": "text"}, {"name": "r", "type": "text"}, {"name": "o", "type": "text"}, {"name": "ctid_", "type": "text"}]},
         {"name": "wide", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, *({"name": f"c{n}", "type": "text"} for n in range(200))]},
         {"name": "defaults", "columns": [
             {"name": "id", "type": "uuid", "primary_key": True, "default": {"function": "gen_random_uuid"}},
             {"name": "text", "type": "text", "default": HOSTILE}, {"name": "number", "type": "numeric", "default": -1.5},
             {"name": "flag", "type": "boolean", "default": False}, {"name": "time", "type": "timestamptz", "default": {"function": "clock_timestamp"}}]}]

# key type: four keys, of which the last takes the place of the first; as SQL
KEYS = {
    "text": ["'a'", "''", "E'\\'; -- \"\\\\ \\n'", "'ж'"],
    "uuid": [f"'{digit * 8}-0000-0000-0000-000000000000'" for digit in "1234"],
    "timestamptz": ["'2026-01-01 00:00:00.000001+00'", "'infinity'", "'-infinity'", "'2026-07-01 12:00+02'"],
    "numeric": ["1.50", "'NaN'", "'Infinity'", "123456789012345678901234567890.5"],
    "bytea": ["'\\x'", "'\\x00'", "'\\xff00'", "'\\x27'"],
    "date": ["'2026-01-01'", "'infinity'", "'0044-03-15 BC'", "'5874897-12-31'"],
    "public.mood": ["'sad'", "'it''s \"ok\"'", "'happy'", "'}'"],
    "public.positive": ["1", "2", "9223372036854775807", "4"],
    "varchar(5)": ["'a'", "'b '", "'c'", "'d'"],
    "character(4)": ["'a'", "'b'", "'c'", "'d'"],
    "boolean": ["true", "false", None, None],
    "inet": ["'10.0.0.1'", "'::1'", "'10.0.0.0/8'", "'10.0.0.2'"],
    "integer[]": ["'{}'", "'{1,NULL}'", "'{{1,2},{3,4}}'", "'[0:1]={1,2}'"],
    "int4range": ["'empty'", "'[1,5)'", "'(,)'", "'[7,7]'"],
    "double precision": ["0.1", "'NaN'", "'-Infinity'", "5e-324"],
    "interval": ["'1 month'", "'-1 day'", "'1 year 2 days 3 hours'", "'0'"],
    "jsonb": ["'{}'", "'null'", "'[1, \"a\"]'", "'{\"a\": {\"b\": 1}}'"],
}
TYPED = [f"key_{position}" for position in range(len(KEYS))]

# made by the owner on each node; then table.setup
BY_HAND = {
    "composite": "CREATE TABLE composite (a text, b int, c date, value text, PRIMARY KEY (c, a))",
    "always": "CREATE TABLE always (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, value text)",
    "generated": "CREATE TABLE generated (id bigint PRIMARY KEY, value int, twice int GENERATED ALWAYS AS (value * 2) STORED,"
                 " said text DEFAULT 'it''s ' || current_date || random())",
    "values": 'CREATE TABLE "values" (id bigint PRIMARY KEY, many text[], document jsonb, number numeric, span int4range, spans nummultirange,'
              " pair pair, raw bytea,"
              " mood mood, moods mood[], pairs pair[], text_of_json json, real real, span_of_time interval, bits bit varying(9), search tsvector, money money)",
}
VALUES = [
    "ARRAY['a', NULL, '', 'NULL', '\"', '{}'], '{\"a\": [1, null, \"\\u017e\"]}', 'NaN', '[1,5)', '{[1.5,2],(7,)}', ROW(1, 'x,\"y\"'), '\\x00ff', 'sad',"
    " '{sad,NULL}',"
    " ARRAY[ROW(1, 'a')::pair, NULL], '{\"a\": 1,  \"a\": 2}', 'NaN', '1 mon -1 day', B'101', 'a:1A fat', 1.5",
    "'[2:3]={a,b}', 'null', 'Infinity', 'empty', '{}', ROW(NULL, NULL), '', 'it''s \"ok\"', '{}', '{}', 'null', 1e-45, '-infinity', B'', '', -1",
    ", ".join(["NULL"] * 16),
    "'{}', '[]', '-Infinity', '(,)', '{(,)}', ROW(-1, ''), '\\x27', 'happy', '{{sad},{happy}}', NULL, '[]', '-0', '0', B'000', '''a'' b', 0",
    "ARRAY[repeat('z', 300000)], to_jsonb(repeat('y', 300000)), 1e-1000, NULL, NULL, NULL, '\\x5c'" + ", NULL" * 9,
]


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[MARKS, *NAMED]).up()


@pytest.fixture(scope="module")
def typed(cluster):
    """Tables of types that the owner made on each node, set up through the services, on all nodes before any is open."""
    tables = TYPED + list(BY_HAND)
    for node in names(cluster):
        cluster.query(node, "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"', 'happy', '}'); CREATE TYPE pair AS (number int, \"Word\" text);"
                            " CREATE DOMAIN positive AS bigint CHECK (VALUE > 0)")
        for ddl in BY_HAND.values():
            cluster.query(node, ddl)
        for name, kind in zip(TYPED, KEYS, strict=True):
            cluster.site.call(node, "table.setup", Table={"schema": "public", "name": name, "Column": [
                {"name": "key", "type": kind, "primary_key": True, "nullable": False}, {"name": "value", "type": "text"}]})
        for name in BY_HAND:
            cluster.site.call(node, "table.setup", Table={"schema": "public", "name": name})
        cluster.site.call(node, "publication.setup", Publication={})
    for target, source in (("node1", "node2"), ("node2", "node1")):
        cluster.site.call(target, "subscription.setup", Subscription=cluster.site.subscription(source))
    for node in names(cluster):
        for name in tables:
            cluster.site.call(node, "table.open", Table={"schema": "public", "name": name})
    return cluster


@pytest.mark.parametrize("table", [table for table in NAMED if table["columns"] is KEYWORDS], ids=lambda table: repr((table["schema"], table["name"])))
def test_a_table_of_that_name(cluster, table):
    schema, name = table["schema"], table["name"]

    def write(node: str, statement: str) -> None:
        cluster.query(node, sql.SQL(statement).format(t=sql.Identifier(schema, name)), role="writer")

    write("node1", """INSERT INTO {t} VALUES (1, 'one', NULL), (2, 'two', ''), (3, 'three', '''')""")
    write("node2", """INSERT INTO {t} VALUES (11, '{{t}}', '$body$'), (12, '"', NULL)""")
    assert_same(cluster, name, schema=schema)
    write("node2", """UPDATE {t} SET "Order" = "Order" || ' of node2' WHERE "select" = 1""")
    write("node1", """DELETE FROM {t} WHERE "select" IN (2, 11)""")
    write("node2", """UPDATE {t} SET "select" = 33 WHERE "select" = 3""")
    assert_same(cluster, name, schema=schema)
    write("node2", """INSERT INTO {t} VALUES (2, 'two again', NULL)""")
    write("node1", """UPDATE {t} SET "NEW" = 'x' WHERE "select" = 33""")
    assert_same(cluster, name, schema=schema)
    for node in names(cluster):
        assert cluster.query(node, sql.SQL('SELECT "select", "Order", "NEW" FROM {} ORDER BY 1').format(sql.Identifier(schema, name)), role="reader") == [
            (1, "one of node2", None), (2, "two again", None), (12, '"', None), (33, "three", "x")]


def test_two_nodes_at_once_write_to_tables_of_every_name(cluster):
    tables = [sql.Identifier(table["schema"], table["name"]) for table in NAMED if table["columns"] is KEYWORDS]

    def write(node: str, statement: str) -> None:
        for table in tables:
            cluster.query(node, sql.SQL(statement).format(t=table), role="writer")

    write("node1", """INSERT INTO {t} VALUES (100, 'old'), (101, 'old'), (102, 'old')""")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        write("node1", """UPDATE {t} SET "Order" = 'one' WHERE "select" >= 100""")
        write("node2", """UPDATE {t} SET "Order" = 'two' WHERE "select" = 100""")
        write("node2", """DELETE FROM {t} WHERE "select" = 101""")
        write("node2", """UPDATE {t} SET "select" = 103 WHERE "select" = 102""")
        write("node2", """INSERT INTO {t} VALUES (104, 'two')""")
        write("node1", """INSERT INTO {t} VALUES (104, 'one')""")
    settle(cluster)
    for node in names(cluster):
        for table in tables:
            found = cluster.query(node, sql.SQL('SELECT "select", "Order" FROM {} WHERE "select" >= 100 ORDER BY 1').format(table), role="reader")
            assert found == [(100, "two"), (103, "old"), (104, "one")], table
        assert cluster.query(node, "SELECT count(DISTINCT (schema_name, table_name)) FROM unison.conflict WHERE lost_row->>'Order' = 'one'") == [(len(tables),)]


def test_columns_of_hostile_names(cluster):
    columns = [column["name"] for column in next(table for table in NAMED if table["name"] == "columns")["columns"]]
    for key, node in ((1, "node1"), (2, "node2")):
        cluster.query(node, sql.SQL("INSERT INTO columns VALUES ({})").format(sql.SQL(", ").join(sql.Literal(v) for v in [key, *columns[1:]])), role="writer")
    assert_same(cluster, "columns")
    for column in columns[1:]:
        for key, node in ((1, "node2"), (2, "node1")):
            cluster.query(node, sql.SQL("UPDATE columns SET {} = {} WHERE {} = {}").format(
                sql.Identifier(column), sql.Literal(f"changed {column}"), sql.Identifier(columns[0]), sql.Literal(key)), role="writer")
    cluster.query("node1", sql.SQL("UPDATE columns SET {key} = 22 WHERE {key} = 2").format(key=sql.Identifier(columns[0])), role="writer")
    assert_same(cluster, "columns")
    for node in names(cluster):
        found = cluster.query(node, sql.SQL("SELECT {} FROM columns ORDER BY 1").format(sql.SQL(", ").join(map(sql.Identifier, columns))), role="reader")
        assert found == [(key, *(f"changed {column}" for column in columns[1:])) for key in (1, 22)]


def test_two_hundred_columns(cluster):
    cluster.query("node1", "INSERT INTO wide (id, c0, c199) VALUES (1, 'first', 'last'), (2, 'first', 'last')", role="writer")
    assert_same(cluster, "wide")
    cluster.query("node2", "UPDATE wide SET c100 = 'middle' WHERE id = 1", role="writer")
    cluster.query("node2", "DELETE FROM wide WHERE id = 2", role="writer")
    assert_same(cluster, "wide")
    assert cluster.query("node1", "SELECT id, c0, c1, c100, c199 FROM wide", role="reader") == [(1, "first", None, "middle", "last")]


def test_defaults(cluster):
    for node in names(cluster):
        cluster.query(node, "INSERT INTO defaults DEFAULT VALUES", role="writer")
    assert_same(cluster, "defaults")
    for node in names(cluster):
        found = cluster.query(node, "SELECT text, number::text, flag, time BETWEEN now() - interval '1 hour' AND now() FROM defaults", role="reader")
        assert found == [(HOSTILE, "-1.5", False, True)] * 2


@pytest.mark.parametrize(("name", "kind"), list(zip(TYPED, KEYS, strict=True)), ids=list(KEYS))
def test_a_key_of_that_type(typed, name, kind):
    first, second, third, other = KEYS[kind]

    def write(node: str, statement: str) -> None:
        typed.query(node, statement, role="writer")

    def held(node: str, key: str) -> list[tuple]:
        return typed.query(node, f"SELECT value FROM {name} WHERE key = {key}::{kind}", role="reader")

    write("node1", f"INSERT INTO {name} VALUES ({first}, 'first'), ({second}, 'second')")
    assert_same(typed, name)
    write("node2", f"UPDATE {name} SET value = 'changed' WHERE key = {first}::{kind}")
    write("node1", f"DELETE FROM {name} WHERE key = {second}::{kind}")
    assert_same(typed, name)
    assert (held("node1", first), held("node2", second)) == ([("changed",)], [])
    write("node2", f"INSERT INTO {name} VALUES ({second}, 'again')")
    assert_same(typed, name)
    assert held("node1", second) == [("again",)]
    if third is None:
        return
    # the same key on both
    write("node1", f"INSERT INTO {name} VALUES ({third}, 'third of node1')")
    write("node2", f"INSERT INTO {name} VALUES ({third}, 'third of node2') ON CONFLICT (key) DO UPDATE SET value = excluded.value")
    write("node1", f"UPDATE {name} SET key = {other} WHERE key = {first}::{kind}")
    assert_same(typed, name)
    for node in names(typed):
        assert (held(node, first), held(node, other), held(node, third)) == ([], [("changed",)], [("third of node2",)])
    assert typed.query("node2", f"SELECT count(*) FROM {name}") == [(3,)]


def test_a_key_of_two_columns(typed):
    typed.query("node1", "INSERT INTO composite VALUES ('a', 1, '2026-01-01', 'x'), ('a', 2, '2026-01-02', 'y'), ('b', NULL, '2026-01-01', 'z')", role="writer")
    assert_same(typed, "composite")
    typed.query("node2", "UPDATE composite SET c = '2026-01-03' WHERE c = '2026-01-02'", role="writer")
    typed.query("node2", "DELETE FROM composite WHERE (a, c) = ('b', '2026-01-01')", role="writer")
    assert_same(typed, "composite")
    found = typed.query("node1", "SELECT a, b, c::text, value FROM composite ORDER BY c", role="reader")
    assert found == [("a", 1, "2026-01-01", "x"), ("a", 2, "2026-01-03", "y")]


def test_an_identity_key_that_is_always_generated(typed):
    keys = {node: typed.query(node, "INSERT INTO always (value) VALUES (%s) RETURNING id", [node], role="writer")[0][0] for node in names(typed)}
    assert len(set(keys.values())) == 2
    assert_same(typed, "always")
    typed.query("node2", "UPDATE always SET value = 'changed' WHERE id = %s", [keys["node1"]], role="writer")
    typed.query("node1", "DELETE FROM always WHERE id = %s", [keys["node2"]], role="writer")
    assert_same(typed, "always")
    for node in names(typed):
        assert typed.query(node, "SELECT id, value FROM always", role="reader") == [(keys["node1"], "changed")]


def test_generated_columns_and_defaults_that_are_expressions(typed):
    typed.query("node1", "INSERT INTO generated (id, value) VALUES (1, 1), (2, 2)", role="writer")
    assert_same(typed, "generated")
    typed.query("node2", "UPDATE generated SET value = 21 WHERE id = 1", role="writer")
    typed.query("node2", "UPDATE generated SET id = 22 WHERE id = 2", role="writer")
    assert_same(typed, "generated")
    for node in names(typed):
        found = typed.query(node, "SELECT id, value, twice, said LIKE 'it''s 2%' FROM generated ORDER BY 1", role="reader")
        assert found == [(1, 21, 42, True), (22, 2, 4, True)]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_values_of_every_kind(typed, number):
    key = 10 * number
    typed.query("node1", f'INSERT INTO "values" VALUES ({key}, {VALUES[number]})', role="writer")
    written = typed.query("node1", f'SELECT v::text FROM "values" v WHERE id = {key}')
    assert_same(typed, "values")
    assert typed.query("node2", f'SELECT v::text FROM "values" v WHERE id = {key}') == written
    # a change of the key takes the whole row along
    typed.query("node2", f'UPDATE "values" SET id = {key + 1} WHERE id = {key}', role="writer")
    typed.query("node1", f'INSERT INTO "values" VALUES ({key + 2}, {VALUES[number - 1]})', role="writer")
    assert_same(typed, "values")
    # and one kind of value is replaced by another
    typed.query("node2", f'DELETE FROM "values" WHERE id = {key + 2}', role="writer")
    typed.query("node1", f'INSERT INTO "values" VALUES ({key}, {VALUES[number - 1]})', role="writer")
    assert_same(typed, "values")
    kept = 'SELECT md5(array_agg(to_jsonb(v) - ARRAY[\'id\', \'modified_ts\', \'modified_node\'])::text) FROM "values" v WHERE id = '
    assert typed.query("node1", f'SELECT count(*) FROM "values" WHERE id BETWEEN {key} AND {key + 2}') == [(2,)]
    assert typed.query("node1", kept + str(key + 1)) == typed.query("node2", kept + str(key + 1))
