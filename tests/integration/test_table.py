"""Tables of every kind: what cannot be replicated is refused, what is set up is replicated whatever its names and types are."""

import random

import pytest

from host.errors import OrchestratorError
from tests.convergence.comparison import MARKS, assert_same, differences, names, settle

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
    set_up(single, "node1", "long_key", "CREATE TABLE long_key (id text PRIMARY KEY)")
    choice = random.Random(1)
    # just below what an index row of one column takes
    for length in range(2640, 2696, 4):
        key = "".join(chr(choice.randrange(33, 127)) for _ in range(length))
        single.query("node1", "INSERT INTO long_key VALUES (%s)", [key])
        single.query("node1", "DELETE FROM long_key WHERE id = %s", [key])


def test_columns_that_somebody_added_are_replicated_or_a_fault(cluster):
    for node in names(cluster):
        set_up(cluster, node, "altered", "CREATE TABLE altered (id bigint PRIMARY KEY, value text)")
    for node in names(cluster):
        cluster.site.call(node, "publication.setup", Publication={})
    for node in names(cluster):
        peer = "node2" if node == "node1" else "node1"
        cluster.site.call(node, "subscription.setup", Subscription=cluster.site.subscription(peer))
    for node in names(cluster):
        cluster.query(node, "ALTER TABLE altered ADD COLUMN extra text")
    cluster.query("node1", "INSERT INTO altered (id, extra) VALUES (1, 'a')")
    settle(cluster)
    cluster.query("node1", "UPDATE altered SET extra = 'b'")
    settle(cluster)
    faults = [table["fault"] for node in names(cluster) for table in cluster.site.call(node, "node.describe")["tables"] if table["name"] == "altered"]
    assert all(faults) or not differences(cluster, "altered"), (faults, differences(cluster, "altered"))
