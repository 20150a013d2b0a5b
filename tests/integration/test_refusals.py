"""What cannot be replicated is refused with message, detail and hint, and then nothing has changed."""

import pytest
from psycopg2 import sql

from pgunison.errors import OrchestratorError
from tests.convergence.comparison import MARKS

# what there is: tables, columns, keys, triggers, functions, schemas, sequences, privileges, and what pgunison recorded
SNAPSHOT = """
SELECT 'class', c.oid::text, format('%s.%s %s %s %s %s', c.relnamespace::regnamespace, c.relname, c.relkind, c.relpersistence, c.relnatts, c.relacl)
  FROM pg_class c WHERE c.relnamespace::regnamespace::text !~ '^pg_'
UNION ALL SELECT 'column', attrelid::text, format('%s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, atthasdef)
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE c.relnamespace::regnamespace::text !~ '^pg_'
UNION ALL SELECT 'constraint', oid::text, conname FROM pg_constraint
UNION ALL SELECT 'trigger', oid::text, format('%s %s', tgname, tgenabled) FROM pg_trigger
UNION ALL SELECT 'function', oid::text, proname FROM pg_proc
UNION ALL SELECT 'schema', oid::text, format('%s %s', nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL SELECT 'sequence', seqrelid::text, format('%s %s %s', seqmin, seqmax, seqstart) FROM pg_sequence
UNION ALL SELECT 'published', prrelid::text, prpubid::text FROM pg_publication_rel
UNION ALL SELECT 'replicated', table_name, r::text FROM unison.replicated_table r
"""
KEY = {"name": "id", "type": "bigint", "primary_key": True}
HOSTILE = "text); DROP TABLE victim; --"


@pytest.fixture(scope="module")
def cluster(make_cluster):
    cluster = make_cluster(nodes=2, tables=[MARKS]).up()
    cluster.query("node1", "CREATE TABLE victim (id bigint PRIMARY KEY)")
    return cluster


def snapshot(cluster) -> set[tuple]:
    with cluster.superuser("node1") as connection, connection.cursor() as cursor:
        cursor.execute(SNAPSHOT)
        found = set(cursor.fetchall())
    connection.close()
    assert len(found) > 1000 and any(row[0] == "replicated" for row in found)
    return found


def refused(cluster, name: str, columns: list[dict] | None = None, schema: str = "public") -> OrchestratorError:
    """Set the table up, which must be refused and change nothing; returns what is said."""
    before = snapshot(cluster)
    described = {"schema": schema, "name": name} | ({"Column": [{"nullable": not column.get("primary_key")} | column for column in columns]} if columns else {})
    with pytest.raises(OrchestratorError) as error:
        cluster.site.call("node1", "table.setup", Table=described)
    after = snapshot(cluster)
    assert before == after, f"gone: {list(before - after)[:3]}; new: {list(after - before)[:3]}"
    said = error.value
    assert said.message and said.detail and said.hint
    assert "\n" not in said.message
    # a refusal, not an accident
    assert "the service failed" not in said.message and "fault of the agent" not in said.detail
    return said


@pytest.mark.parametrize(("name", "ddl", "why"), [
    ("no_key", "CREATE TABLE no_key (id bigint NOT NULL)", "no primary key"),
    ("deferring", "CREATE TABLE deferring (id bigint PRIMARY KEY DEFERRABLE)", "deferrable"),
    ("deferred", "CREATE TABLE deferred (id bigint, PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED)", "deferrable"),
    ("second_key", "CREATE TABLE second_key (id bigint PRIMARY KEY, mail text UNIQUE)", "second_key_mail_key"),
    ("unique_index", "CREATE TABLE unique_index (id bigint PRIMARY KEY, mail text); CREATE UNIQUE INDEX lowered ON unique_index (lower(mail))", "lowered"),
    ("partly_unique", "CREATE TABLE partly_unique (id bigint PRIMARY KEY, n int); CREATE UNIQUE INDEX partly ON partly_unique (n) WHERE id > 5", "partly"),
    ("excluding", "CREATE TABLE excluding (id bigint PRIMARY KEY, span int4range, EXCLUDE USING gist (span WITH &&))", "excluding_span_excl"),
    ("unlogged", "CREATE UNLOGGED TABLE unlogged (id bigint PRIMARY KEY)", "unlogged"),
    ("partitioned", "CREATE TABLE partitioned (id bigint PRIMARY KEY) PARTITION BY RANGE (id)", "partitioned"),
    ("a_partition", "CREATE TABLE whole (id bigint PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE a_partition PARTITION OF whole DEFAULT", "hierarchy"),
    ("parent", "CREATE TABLE parent (id bigint PRIMARY KEY); CREATE TABLE parents_child () INHERITS (parent)", "hierarchy"),
    ("child", "CREATE TABLE childs_parent (id bigint); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (childs_parent)", "hierarchy"),
    ("a_view", "CREATE VIEW a_view AS SELECT 1 AS id", "a view"),
    ("stored_view", "CREATE MATERIALIZED VIEW stored_view AS SELECT 1 AS id", "a materialized view"),
    ("a_sequence", "CREATE SEQUENCE a_sequence", "a sequence"),
    ("own_version", "CREATE TABLE own_version (id bigint PRIMARY KEY, modified_ts timestamptz)", "modified_ts"),
    ("own_versions", "CREATE TABLE own_versions (id bigint PRIMARY KEY, modified_ts timestamptz, modified_node smallint)", "modified_node"),
    ("narrow", "CREATE TABLE narrow (id serial PRIMARY KEY)", "integer"),
    ("narrowest", "CREATE TABLE narrowest (id smallserial PRIMARY KEY)", "smallint"),
    ("narrow_other", "CREATE TABLE narrow_other (id bigint PRIMARY KEY, number serial)", "integer"),
    ("narrow_identity", "CREATE TABLE narrow_identity (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)", "integer"),
    ("always_other", "CREATE TABLE always_other (id bigint PRIMARY KEY, number bigint GENERATED ALWAYS AS IDENTITY)", "number"),
    ("drawing", "CREATE SEQUENCE drawn; CREATE TABLE drawing (id bigint DEFAULT nextval('drawn') PRIMARY KEY)", "drawn, which it does not own"),
    ("drawing_other", "CREATE SEQUENCE dr; CREATE TABLE drawing_other (id bigint PRIMARY KEY, n bigint DEFAULT 1 + nextval('dr'))", "dr, which it does not"),
    ("ruled", "CREATE TABLE ruled (id bigint PRIMARY KEY); CREATE RULE also AS ON INSERT TO ruled DO ALSO NOTHING", "rules"),
    ("forced", "CREATE TABLE forced (id bigint PRIMARY KEY); ALTER TABLE forced FORCE ROW LEVEL SECURITY", "is forced"),
    ("always", "CREATE TABLE always (id bigint PRIMARY KEY);"
               " CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
               " CREATE TRIGGER one BEFORE INSERT ON always FOR EACH ROW EXECUTE FUNCTION nothing();"
               " ALTER TABLE always ENABLE ALWAYS TRIGGER one", "trigger one fires"),
    ("behind", "CREATE TABLE behind (id bigint PRIMARY KEY);"
               " CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
               " CREATE TRIGGER zzzz BEFORE UPDATE ON behind FOR EACH ROW EXECUTE FUNCTION late()", "fires behind those of the merge"),
    ("replica", "CREATE TABLE replica (id bigint PRIMARY KEY);"
                " CREATE FUNCTION little() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
                " CREATE TRIGGER one AFTER INSERT ON replica FOR EACH ROW EXECUTE FUNCTION little();"
                " ALTER TABLE replica ENABLE REPLICA TRIGGER one", "trigger one fires"),
    ("too_wide", f"CREATE TABLE too_wide (id bigint PRIMARY KEY, {', '.join(f'c{n} int' for n in range(1596))})", "1597 columns"),
    ("computed", "CREATE DOMAIN given AS int NOT NULL; CREATE TABLE computed (id bigint PRIMARY KEY, n given GENERATED ALWAYS AS (1) STORED)", "given"),
    ("named", "CREATE TABLE named (id bigint PRIMARY KEY, other regclass)", "regclass"),
    ("named_many", "CREATE TABLE named_many (id bigint PRIMARY KEY, others regrole[])", "regrole"),
    ("named_domain", "CREATE DOMAIN config AS regconfig; CREATE TABLE named_domain (id bigint PRIMARY KEY, search config)", "regconfig"),
    ("named_deep", "CREATE TYPE deep AS (a int, names regtype[]); CREATE DOMAIN deeper AS deep;"
                   " CREATE TABLE named_deep (id bigint PRIMARY KEY, d deeper[])", "regtype"),
    ("named_range", "CREATE TYPE oids AS RANGE (subtype = regproc); CREATE TABLE named_range (id bigint PRIMARY KEY, n oids_multirange)", "regproc"),
    ("with_rows", "CREATE TABLE with_rows (id bigint PRIMARY KEY); INSERT INTO with_rows VALUES (1)", "peers")])
def test_a_table_that_cannot_be_replicated(cluster, name, ddl, why):
    cluster.query("node1", ddl)
    said = refused(cluster, name)
    assert why in f"{said.message} {said.detail}"


def test_a_table_that_is_not_there(cluster):
    assert "no table" in refused(cluster, "absent").message


@pytest.mark.parametrize("name", ["victim2; DROP TABLE victim; --", 'victim"; DROP TABLE victim; --', "'); DROP TABLE victim; --", "$body$; DROP TABLE victim"])
def test_hostile_names(cluster, name):
    refused(cluster, name)
    refused(cluster, "t", schema=name)
    # the name is fine, the column that it is given to is not
    refused(cluster, name, [{**KEY, "type": "no such type"}])
    refused(cluster, "t", [{**KEY, "name": name, "type": "no such type"}])
    refused(cluster, name, [{**KEY, "primary_key": False}])


@pytest.mark.parametrize("kind", [
    HOSTILE, "text; DROP TABLE victim", "text DEFAULT 'x'", 'text COLLATE "C"', "text NOT NULL", "text /* */", "bigint--", "nothing", "bigint CHECK (id > 1)",
    "bigint, more text", "(SELECT 1)", "text[", '"text', "bigint REFERENCES victim", "numeric(", " "])
def test_a_type_that_is_none(cluster, kind):
    refused(cluster, "typed", [KEY, {"name": "value", "type": kind}])
    refused(cluster, "typed", [{**KEY, "type": kind}])


@pytest.mark.parametrize("kind", ["serial", "smallserial", "serial4", "SERIAL2"])
def test_a_serial_without_room_for_a_range(cluster, kind):
    assert "bigserial" in refused(cluster, "serially", [{**KEY, "type": kind}]).hint


@pytest.mark.parametrize("kind", [
    "regproc", "regprocedure", "regoper", "regoperator", "regclass", "regtype", "regconfig", "regdictionary", "regnamespace", "regrole", "regcollation",
    "aclitem", "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "gtsvector"])
def test_a_type_whose_values_no_other_node_could_read(cluster, kind):
    said = refused(cluster, "local", [KEY, {"name": "value", "type": kind}])
    assert f"column value: it is of type {kind}" in said.detail and "text" in said.hint


def test_a_key_without_overlaps(cluster):
    if cluster.query("node1", "SELECT current_setting('server_version_num')::int < 180000")[0][0]:
        pytest.skip("PostgreSQL 18 has them first")
    cluster.query("node1", "CREATE TABLE temporal (id int4range, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS))")
    assert "WITHOUT OVERLAPS" in refused(cluster, "temporal").detail


@pytest.mark.parametrize(("kind", "default"), [("integer", "'); DROP TABLE victim; --"), ("integer", HOSTILE), ("timestamptz", "'; DROP TABLE victim; --"),
                                               ("bigint", {"function": "pg_sleep"}), ("bigint", {"function": "now(); DROP TABLE victim"}),
                                               ("uuid", {"function": "now"}), ("text", {}), ("bigserial", 5)])
def test_a_default_that_does_not_fit(cluster, kind, default):
    refused(cluster, "defaulted", [KEY, {"name": "value", "type": kind, "default": default}])


@pytest.mark.parametrize("columns", [
    [KEY, {"name": "modified_ts", "type": "timestamptz"}],
    [KEY, {"name": "modified_node", "type": "text"}],
    [KEY, KEY],
    [{**KEY, "primary_key": False}],
    [{**KEY, "type": "json"}]], ids=["modified_ts", "modified_node", "a column twice", "no key", "a key without equality"])
def test_columns_that_make_no_table(cluster, columns):
    refused(cluster, "made", columns)


@pytest.mark.parametrize("asked", [
    [KEY],
    [KEY, {"name": "value", "type": "text"}, {"name": "more", "type": "text"}],
    [KEY, {"name": "other", "type": "text"}],
    [{"name": "value", "type": "text"}, KEY],
    [KEY, {"name": "value", "type": "integer"}],
    [{**KEY, "type": "integer"}, {"name": "value", "type": "text"}],
    [KEY, {"name": "value", "type": "text", "primary_key": True}],
    [KEY, {"name": "value", "type": "text", "nullable": False}]],
    ids=["fewer", "more", "another name", "another order", "another type", "another type of the key", "another key", "not null"])
@pytest.mark.parametrize("known", [False, True], ids=["made by hand", "set up before"])
def test_other_columns_than_there_are(cluster, asked, known):
    name = "known" if known else "by_hand"
    cluster.query("node1", sql.SQL("CREATE TABLE IF NOT EXISTS {} (id bigint PRIMARY KEY, value text)").format(sql.Identifier(name)))
    if known:
        cluster.site.call("node1", "table.setup", Table={"schema": "public", "name": name})
    assert "other columns" in refused(cluster, name, asked).message


def test_the_victim_lives(cluster):
    assert cluster.query("node1", "SELECT count(*) FROM victim") == [(0,)]
    assert not [table["fault"] for table in cluster.site.call("node1", "node.describe")["tables"] if table["fault"]]
