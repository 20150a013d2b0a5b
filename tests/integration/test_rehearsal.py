"""Functions that need a search path, in what an apply worker computes: found when the table is set up, with the statement that mends it."""

import pytest

from pgunison.errors import OrchestratorError
from tests.convergence.comparison import MARKS, assert_same, names

CALLED = "CREATE FUNCTION halved(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n / 2'"
LANGUAGES = {
    "sql": "CREATE FUNCTION {name}(n int) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT halved(n)'",
    "plpgsql": "CREATE FUNCTION {name}(n int) RETURNS int IMMUTABLE STRICT LANGUAGE plpgsql AS 'BEGIN RETURN halved(n); END'",
}
PLACES = {
    "index": "CREATE TABLE {table} (id bigint PRIMARY KEY, n int); CREATE INDEX ON {table} ({name}(n))",
    "partial index": "CREATE TABLE {table} (id bigint PRIMARY KEY, n int); CREATE INDEX ON {table} (n) WHERE {name}(n) > 0",
    "check": "CREATE TABLE {table} (id bigint PRIMARY KEY, n int CHECK ({name}(n) < 1000))",
    "generated": "CREATE TABLE {table} (id bigint PRIMARY KEY, n int, m int GENERATED ALWAYS AS ({name}(n)) STORED)",
    "domain": "CREATE DOMAIN {name}_type AS int CHECK ({name}(VALUE) < 1000); CREATE TABLE {table} (id bigint PRIMARY KEY, n {name}_type)",
}

pytestmark = pytest.mark.process_runtime("what PostgreSQL computes is the same in a container")


@pytest.fixture(scope="module")
def cluster(make_cluster):
    made = make_cluster(nodes=2, tables=[MARKS]).up()
    for node in names(made):
        made.query(node, CALLED)
    return made


def set_up(cluster, node: str, table: str) -> None:
    cluster.site.call(node, "table.setup", Table={"schema": "public", "name": table})


# PostgreSQL itself refuses an index whose function of SQL needs a search path (since 17)
@pytest.mark.parametrize(("place", "language"), [(place, language) for place in PLACES for language in LANGUAGES if "index" not in place or language != "sql"])
def test_it_is_refused_and_the_statement_that_is_told_mends_it(cluster, place, language):
    table, name = f"{place.replace(' ', '_')}_{language}", f"f_{place.replace(' ', '_')}_{language}"
    for node in names(cluster):
        cluster.query(node, LANGUAGES[language].format(name=name))
        cluster.query(node, PLACES[place].format(table=table, name=name))
    with pytest.raises(OrchestratorError) as refused:
        set_up(cluster, "node1", table)
    assert "halved(integer) does not exist" in refused.value.detail and f"{name}(integer)" in refused.value.detail
    for node in names(cluster):
        cluster.query(node, refused.value.hint)
        set_up(cluster, node, table)


def test_what_needs_no_search_path_is_left_alone(cluster):
    ddl = ("CREATE FUNCTION fine(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT public.halved(n)';"
           " CREATE TABLE fine (id bigserial PRIMARY KEY, n int CHECK (fine(n) < 1000), t tsvector, e text[] CHECK (cardinality(e) < 9),"
           " m int GENERATED ALWAYS AS (fine(n)) STORED); CREATE INDEX ON fine (fine(n))")
    for node in names(cluster):
        cluster.query(node, ddl)
        set_up(cluster, node, "fine")
    cluster.query("node1", "INSERT INTO fine (n) VALUES (7)")
    assert cluster.query("node1", "SELECT m FROM fine") == [(3,)]
    assert_same(cluster, "mark")
