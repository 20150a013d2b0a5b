"""Every type that PostgreSQL ships, as column, as array and, where it has an order, as key: the nodes write against each other, then hold the same rows.

All types are written in a few transactions, because every link has to be paused only once; what became of each type is a test of its own.
"""

import pytest
from psycopg2 import sql

from tests.convergence.comparison import MARKS, all_links, assert_same, error_counts, names, paused, settle

pytestmark = pytest.mark.process_runtime("types are a matter of SQL, wherever the node runs")

RANGES = {"int4": ("[1,5)", "(,7]", "empty"), "int8": ("[9223372036854775806,)", "(,)", "empty"), "num": ("[1.50,NaN]", "(,-1e-9)", "empty"),
          "ts": ("['2026-01-01 BC',infinity)", "(-infinity,2026-01-01]", "empty"), "tstz": ("['0044-03-15 00:00+00 BC',infinity]", "(,)", "empty"),
          "date": ("[2026-01-01,2026-02-01)", "[4713-01-01 BC,infinity)", "empty")}
WORD = "E'\\\\; -- \"{,}' NULL ж \U0001f600"
# type, as format_type() writes it: texts of values; any two beside each other differ
SAMPLES = {
    "boolean": ("t", "f"),
    "bytea": (r"\x00ff27", r"\x", r"\x5c785c"),
    '"char"': ("a", r"\377", "'"),
    "name": ("x" * 63, "", WORD),
    "bigint": ("-9223372036854775808", "9223372036854775807", "0"),
    "smallint": ("-32768", "32767"),
    "integer": ("-2147483648", "2147483647"),
    "int2vector": ("1 -2 3", "", "32767"),
    "oidvector": ("1 4294967295", "", "0"),
    "text": (WORD, "", "\n\t\r\\.\\N", "z" * 5000),
    "character": ("'", " ", "ж"),
    "character varying": (WORD, "", "  "),
    "oid": ("4294967295", "0"),
    "tid": ("(4294967295,65535)", "(0,1)"),
    "xid": ("4294967295", "3"),
    "xid8": ("18446744073709551615", "3"),
    "cid": ("4294967295", "0"),
    "json": ('{"a": 1,  "a": [null, "\\u0000"]}', "null", " 1.50 "),
    "jsonb": ('{"a": [1.50, null, "\\u017e"], "b": {}}', "null", '"x"', "[]", "1e-1000"),
    "jsonpath": ('$."a"[*]?(@ > 1.5)', "strict $"),
    "xml": ("<a b='1'>\u017e</a>", "text<b/>", "<!DOCTYPE a><a/>"),
    "point": ("(NaN,-Infinity)", "(1e-300,-0)", "(5e-324,1.7976931348623157e+308)"),
    "lseg": ("[(0,0),(1,NaN)]", "[(1,1),(1,1)]"),
    "path": ("[(0,0),(1,1),(2,0)]", "((0,0),(1,1))"),
    "box": ("(2,2),(-1,-1)", "(Infinity,0),(0,0)"),
    "polygon": ("((0,0),(1,1),(2,0))", "((5,5))"),
    "line": ("{1,-1,0.3}", "{0,1,NaN}"),
    "circle": ("<(0.1,0.2),0.3>", "<(0,0),NaN>"),
    "real": ("NaN", "-Infinity", "1e-45", "-0", "0.1"),
    "double precision": ("NaN", "Infinity", "5e-324", "-0", "0.1"),
    "numeric": ("NaN", "-Infinity", "1.500", "1e-1000", "9" * 300),
    "money": ("-92233720368547758.08", "0.01"),
    "macaddr": ("08:00:2b:01:02:03", "00:00:00:00:00:00"),
    "macaddr8": ("08:00:2b:ff:fe:01:02:03", "00:00:00:00:00:00:00:00"),
    "inet": ("::ffff:1.2.3.4/128", "10.0.0.1/8", "::/0"),
    "cidr": ("10.0.0.0/8", "::/0", "2001:db8::/32"),
    "date": ("4713-01-01 BC", "infinity", "-infinity", "5874897-12-31"),
    "time without time zone": ("24:00:00", "00:00:00.000001"),
    "time with time zone": ("24:00:00-15:59", "00:00:00.000001+15:59"),
    "timestamp without time zone": ("4713-01-01 00:00:00 BC", "infinity", "294276-12-31 23:59:59.999999"),
    "timestamp with time zone": ("4713-01-01 00:00:00+00 BC", "-infinity", "294276-12-31 23:59:59.999999+00", "2026-07-01 12:00:00.000001+02"),
    "interval": ("-178000000 years", "1 mon -1 day 00:00:00.000001", "1 day", "24:00:01"),
    "bit": ("1", "0"),
    "bit varying": ("", "10101", "0"),
    "refcursor": (WORD, ""),
    "uuid": ("ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-0000-0000-000000000000"),
    "txid_snapshot": ("10:20:10,14,15", "1:1:"),
    "pg_snapshot": ("10:20:10,14,15", "1:1:"),
    "pg_lsn": ("FFFFFFFF/FFFFFFFF", "0/0"),
    "tsvector": ("'a':1A,16383 'fat ''cat''':2", "", "a b:1"),
    "tsquery": ("'fat' <-> ( !'rat' | 'c':*AB )", "", "x"),
    **{f"{kind}range": texts for kind, texts in RANGES.items()},
    **{f"{kind}multirange": ("{" + f"{first},{second}" + "}", "{}", "{" + second + "}") for kind, (first, second, _) in RANGES.items()},
    "information_schema.cardinal_number": ("0", "2147483647"),
    "information_schema.character_data": (WORD, ""),
    "information_schema.sql_identifier": (WORD, ""),
    "information_schema.time_stamp": ("2026-07-01 12:00:00.12+02", "infinity"),
    "information_schema.yes_or_no": ("YES", "NO"),
    # of a user, over and over each other
    "public.mood": ("sad", "it's \"ok\"", "}"),
    "public.pair": ("(1,\"x,\"\"y\"\"\")", "(,)", "(-1,\"\")"),
    "public.word": ("a", "zz"),
    "public.short_word": ("b", "yy"),
    "public.knot": ("(\"{sad,NULL}\",\"(2,\"\"a b\"\")\",a,\"[1.5,2)\")", "({},,,)"),
    "public.wordrange": ("[a,b)", "empty", "(,)"),
    "public.wordmultirange": ("{[a,b),(c,]}", "{}"),
}
USERS = """
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', '}'); CREATE TYPE pair AS (number int, "Word" text);
CREATE DOMAIN word AS text CHECK (VALUE <> ''); CREATE DOMAIN short_word AS word CHECK (length(VALUE) < 3);
CREATE TYPE knot AS (moods mood[], pair pair, word short_word, span numrange);
CREATE TYPE wordrange AS RANGE (subtype = text, multirange_type_name = wordmultirange)
"""
# what no other node could read, or would read as something else
REFUSED = ["regproc", "regprocedure", "regoper", "regoperator", "regclass", "regtype", "regconfig", "regdictionary", "regnamespace", "regrole", "regcollation",
           "aclitem", "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "gtsvector"]
# no order, or none that a btree index keeps
NO_KEYS = {"xid", "cid", "json", "jsonpath", "xml", "point", "lseg", "path", "box", "polygon", "line", "circle", "refcursor", "txid_snapshot", "pg_snapshot"}
KEYS = [kind for kind in SAMPLES if kind not in NO_KEYS and not kind.startswith("public.")]
KEYS += ["public.mood", "public.short_word"]
# at most 32 columns make a key
KEY_TABLES = {f"keys_{part}": KEYS[part::2] for part in (0, 1)}
TYPES = """
SELECT format_type(t.oid, NULL) FROM pg_type t WHERE t.typnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
AND t.typtype NOT IN ('p', 'c') AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
"""
ROWS = 100


def column(kind: str) -> str:
    return f"the {kind}"[:63]


def array(kind: str) -> str:
    return f"many {kind}"[:63]


def literal(kind: str, text: str) -> sql.Composable:
    return sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(kind if kind != "bit varying" else "varbit"))


def arrays(kind: str) -> list[sql.Composable]:
    """Return an array with NULL, an empty one, one of two dimensions and one whose first subscript is not 1."""
    one, two = (literal(kind, text) for text in SAMPLES[kind][:2])
    flat = sql.SQL("ARRAY[{}, NULL, {}]").format(one, two)
    return [flat, sql.SQL("{}[1:0]").format(sql.SQL("({})").format(flat)), sql.SQL("ARRAY[[{}, {}], [NULL, {}]]").format(one, two, one),
            sql.SQL("array_fill({}, ARRAY[2], ARRAY[-5])").format(two)]


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[MARKS]).up()


@pytest.fixture(scope="module")
def kinds(cluster) -> list[str]:
    """The types that this server can store."""
    return [kind for kind in SAMPLES if can_store(cluster, kind)]


def can_store(cluster, kind: str) -> bool:
    with cluster.superuser("node1") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regtype(%s) IS NOT NULL", [kind])
        known = cursor.fetchone()[0]
        cursor.execute("SELECT EXISTS (SELECT FROM pg_config WHERE name = 'CONFIGURE' AND setting LIKE '%%--with-libxml%%')")
        libxml = cursor.fetchone()[0]
    connection.close()
    return kind.startswith("public.") or (known and (libxml or kind != "xml"))


def set_up(cluster, *tables: str, schema: str = "public") -> None:
    """Set up tables that the owner made on every node, and open them."""
    for node in names(cluster):
        for table in tables:
            cluster.site.call(node, "table.setup", Table={"schema": schema, "name": table})
        cluster.site.call(node, "publication.setup", Publication={})
    for target, source in all_links(cluster):
        cluster.site.call(target, "subscription.setup", Subscription=cluster.site.subscription(source))
    for node in names(cluster):
        for table in tables:
            cluster.site.call(node, "table.open", Table={"schema": schema, "name": table})


def write(cluster, node: str, statements: list[sql.Composable]) -> None:
    """Execute statements in one transaction of a writer."""
    with cluster.connect(node, "writer", autocommit=False) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


@pytest.fixture(scope="module")
def columns(cluster, kinds) -> dict[str, int]:
    """Write values of every type on both nodes at once; returns the first of a hundred keys of each type."""
    made = sql.SQL(", ").join([sql.SQL("{} {}, {} {}[]").format(sql.Identifier(column(kind)), sql.SQL(kind), sql.Identifier(array(kind)), sql.SQL(kind))
                               for kind in kinds])
    for node in names(cluster):
        cluster.query(node, USERS)
        cluster.query(node, sql.SQL("CREATE TABLE every (id bigint PRIMARY KEY, {}, other text)").format(made))
    set_up(cluster, "every")
    first = {kind: ROWS * number for number, kind in enumerate(kinds, 1)}

    def insert(kind: str, key: int, value: sql.Composable, many: sql.Composable) -> sql.Composable:
        return sql.SQL("INSERT INTO every (id, {}, {}) VALUES ({}, {}, {})").format(
            sql.Identifier(column(kind)), sql.Identifier(array(kind)), sql.Literal(first[kind] + key), value, many)

    def update(kind: str, key: int, value: sql.Composable, many: sql.Composable) -> sql.Composable:
        return sql.SQL("UPDATE every SET {} = {}, {} = {} WHERE id = {}").format(
            sql.Identifier(column(kind)), value, sql.Identifier(array(kind)), many, sql.Literal(first[kind] + key))

    def other(kind: str, key: int) -> sql.Composable:
        return sql.SQL("UPDATE every SET other = 'changed' WHERE id = {}").format(sql.Literal(first[kind] + key))

    def moved(kind: str, key: int) -> sql.Composable:
        return sql.SQL("UPDATE every SET id = id + 10 WHERE id = {}").format(sql.Literal(first[kind] + key))

    def deleted(kind: str, key: int) -> sql.Composable:
        return sql.SQL("DELETE FROM every WHERE id = {}").format(sql.Literal(first[kind] + key))

    def each(act, key: int, *which: int) -> list[sql.Composable]:
        """``which`` are the numbers of value and array; None is NULL."""
        return [act(kind, key, *([] if not which else [value(kind, which[0]), sql.NULL if which[1] is None else arrays(kind)[which[1]]])) for kind in kinds]

    write(cluster, "node1", each(insert, 0, 0, 0) + each(insert, 1, 1, 1) + each(insert, 2, None, None) + each(insert, 3, 0, 2) + each(insert, 4, -1, 3)
          + each(insert, 5, 1, 2))
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        write(cluster, "node1", each(update, 0, 1, 1) + each(update, 1, None, None) + each(deleted, 2) + each(moved, 4) + each(insert, 7, 0, 0))
        write(cluster, "node2", each(update, 0, -1, 2) + each(other, 1) + each(update, 2, 0, 3) + each(deleted, 3) + each(other, 5) + each(insert, 7, 1, 3))
        write(cluster, "node1", each(update, 3, 1, 0) + each(update, 5, -1, None) + each(insert, 8, 1, 1) + each(deleted, 8) + each(insert, 8, 0, 2))
    settle(cluster)
    return first


# key: number of the value, of the array, and the text beside them, as the last writer left them
LEFT = {0: (-1, 2, None), 1: (1, 1, "changed"), 2: (0, 3, None), 3: (1, 0, None), 5: (-1, None, None), 7: (1, 3, None), 8: (0, 2, None), 14: (-1, 3, None)}


def value(kind: str, number: int | None) -> sql.Composable:
    return sql.NULL if number is None else literal(kind, SAMPLES[kind][number])


def test_no_type_is_left_out(cluster):
    found = {row[0] for row in cluster.query("node1", TYPES)}
    assert found - set(SAMPLES) - set(REFUSED) == set()
    assert len(found) > 70


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_column_of_that_type(cluster, kinds, columns, kind):
    if kind not in kinds:
        pytest.skip("this server cannot store it")
    expected = [cluster.query("node1", sql.SQL("SELECT {}::bigint, {}::text, {}::text, {}").format(
        sql.Literal(key), value(kind, one), sql.NULL if many is None else arrays(kind)[many], sql.Literal(other)))[0]
        for key, (one, many, other) in LEFT.items()]
    assert len({row[1] for row in expected}) > 1, "the values are all alike"
    for node in names(cluster):
        held = cluster.query(node, sql.SQL(
            "SELECT id - {first}, {}::text, {}::text, other FROM every WHERE id BETWEEN {first} AND {first} + 99 ORDER BY id").format(
                sql.Identifier(column(kind)), sql.Identifier(array(kind)), first=sql.Literal(columns[kind])), role="reader")
        assert held == expected, node


@pytest.mark.parametrize("kind", ["json", "jsonb", "text", "point", "xml", "numeric", "bytea", "public.knot", "tstzmultirange"])
def test_what_lost_is_in_the_history(cluster, kinds, columns, kind):
    """The row is written down as JSON, whatever is in it; what JSON cannot hold does not stop the link."""
    if kind not in kinds:
        pytest.skip("this server cannot store it")
    lost = cluster.query("node1", "SELECT lost_row, lost_row ? 'unison_error' FROM unison.conflict"
                                  " WHERE table_name = 'every' AND key = %s::jsonb AND lost_node = 1", [f"[{columns[kind] + 7}]"])
    assert len(lost) == 1
    row, failed = lost[0]
    assert failed == (kind == "json"), row
    assert failed or (row["id"] == columns[kind] + 7 and row[column(kind)] is not None)


# --- as keys ---


@pytest.fixture(scope="module")
def keys(cluster, columns) -> None:
    """Write, delete and change keys of every type on both nodes at once, each one column of a key of many."""
    for node in names(cluster):
        for table, kinds in KEY_TABLES.items():
            made = sql.SQL(", ").join([sql.SQL("{} {}").format(sql.Identifier(column(kind)), sql.SQL(kind)) for kind in kinds])
            cluster.query(node, sql.SQL("CREATE TABLE {} (which text, value text, {}, PRIMARY KEY ({}))").format(
                sql.Identifier(table), made, sql.SQL(", ").join([sql.Identifier(column(kind)) for kind in reversed(kinds)])))
    set_up(cluster, *KEY_TABLES)

    def insert(table: str, kind: str, number: int, said: str) -> sql.Composable:
        """A key whose columns are all the second of their values, but for this one."""
        row = [value(each, number if each == kind else 1) for each in KEY_TABLES[table]]
        return sql.SQL("INSERT INTO {} (which, value, {}) VALUES ({}, {}, {})").format(
            sql.Identifier(table), sql.SQL(", ").join([sql.Identifier(column(each)) for each in KEY_TABLES[table]]), sql.Literal(kind), sql.Literal(said),
            sql.SQL(", ").join(row))

    def chosen(statement: str, table: str, kind: str, number: int) -> sql.Composable:
        where = sql.SQL("({}) = ({})").format(
            sql.SQL(", ").join([sql.Identifier(column(each)) for each in KEY_TABLES[table]]),
            sql.SQL(", ").join([value(each, number if each == kind else 1) for each in KEY_TABLES[table]]))
        return sql.SQL(statement + " WHERE {where}").format(sql.Identifier(table), column=sql.Identifier(column(kind)), old=value(kind, 1), where=where)

    every = [(table, kind) for table, kinds in KEY_TABLES.items() for kind in kinds]
    write(cluster, "node1", [insert(table, kind, 0, "first") for table, kind in every])
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        write(cluster, "node1", [chosen("UPDATE {} SET value = 'of node1'", *each, 0) for each in every])
        write(cluster, "node2", [chosen("DELETE FROM {}", *each, 0) for each in every])
        write(cluster, "node2", [insert(*each, 0, "again") for each in every])
    settle(cluster)
    # all move onto the one key whose columns are all the second of their values: the last one stays
    with paused(cluster, *all_links(cluster)):
        for table, kinds in KEY_TABLES.items():
            write(cluster, "node2", [chosen("DELETE FROM {}", table, kinds[0], 0), insert(table, kinds[1], 1, "late to go")])
            write(cluster, "node1", [chosen("UPDATE {} SET {column} = {old}, value = 'moved'", table, kinds[0], 0)])
    settle(cluster)


@pytest.mark.parametrize("table", KEY_TABLES)
def test_keys_of_every_type(cluster, keys, table):
    kinds = KEY_TABLES[table]
    for node in names(cluster):
        held = dict(cluster.query(node, sql.SQL("SELECT which, value FROM {}").format(sql.Identifier(table)), role="reader"))
        assert held == {kind: "moved" if kind == kinds[0] else "again" for kind in kinds}, node


def test_no_key_type_is_left_out(cluster, columns):
    """A type of which a primary key can be made is among the keys."""
    possible = set()
    for kind in set(SAMPLES) - set(KEYS):
        if kind.startswith("public."):
            continue
        with cluster.connect("node1", autocommit=False) as connection, connection.cursor() as cursor:
            try:
                cursor.execute(sql.SQL("CREATE TABLE tried (id {} PRIMARY KEY)").format(sql.SQL(kind)))
                possible.add(kind)
            except Exception as error:
                assert "operator class" in str(error), error
    assert possible == set()


def test_the_whole_tables_are_the_same_and_no_link_is_stuck(cluster, keys):
    before = error_counts(cluster)
    assert_same(cluster, "every", *KEY_TABLES)
    assert error_counts(cluster) == before
    assert cluster.query("node1", "SELECT count(*) > 400 FROM every") == [(True,)]
