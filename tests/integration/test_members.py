"""Nodes come and go while the others are written to: add, remove, replace, scale. Nothing that was acknowledged is lost, and nothing is left behind."""

import contextlib
import threading
from collections.abc import Iterator

import psycopg2
import pytest

from chaos.cluster import Cluster
from pgunison.cluster import removal
from pgunison.commands.call import Call
from pgunison.configuration import members as written
from pgunison.configuration.sysconfig import load
from tests.convergence.comparison import MARKS, assert_same, wait_until
from tests.integration.orchestrator import run
from tests.integration.test_up import TABLE1, status

DEADLINE_S = 120.0
STEPS = ("drain", "let go", "close", "wait", "compare", "write down", "stop", "part", "purge")
BACK = STEPS.index("write down")


@pytest.fixture
def cluster(make_cluster) -> Cluster:
    made = make_cluster(nodes=3, tables=[TABLE1, MARKS])
    run(made, "up")
    return made


def call_of(cluster: Cluster) -> Call:
    return Call(load(cluster.config_path), cluster.config_path, cluster.site.runtime.name)


def members(cluster: Cluster) -> list[str]:
    """Look at the cluster anew: its members are others than before."""
    cluster.reopen()
    return cluster.names()


class Writer(threading.Thread):
    """Insert into whichever of the nodes takes it, update and delete some of it, until told to stop; ``acknowledged`` is what must be there."""

    def __init__(self, cluster: Cluster, node: str):
        super().__init__(name=f"writer of {node}", daemon=True)
        self.acknowledged: dict[int, str] = {}
        self.deleted: set[int] = set()
        self.enough = threading.Event()
        self._dsn = cluster.site.dsn(cluster.site.configuration.role("writer").name, node)

    def run(self) -> None:
        while not self.enough.is_set():
            with contextlib.suppress(psycopg2.Error), contextlib.closing(psycopg2.connect(self._dsn, connect_timeout=3)) as connection:
                connection.autocommit = True
                self._write(connection)

    def _write(self, connection) -> None:
        with connection.cursor() as cursor:
            while not self.enough.is_set():
                cursor.execute("INSERT INTO table1 (col1) VALUES ('new') RETURNING id")
                key = cursor.fetchone()[0]
                self.acknowledged[key] = "new"
                if key % 3 == 1:
                    # until the answer is here it may be either
                    del self.acknowledged[key]
                    cursor.execute("UPDATE table1 SET col1 = 'changed' WHERE id = %s", [key])
                    self.acknowledged[key] = "changed"
                elif key % 3 == 2:
                    del self.acknowledged[key]
                    cursor.execute("DELETE FROM table1 WHERE id = %s", [key])
                    self.deleted.add(key)
            connection.close()


@contextlib.contextmanager
def writing(cluster: Cluster, *nodes: str) -> Iterator[dict[str, Writer]]:
    """Write on these nodes within the block; afterwards every acknowledged row is as it was left, on every member."""
    writers = {node: Writer(cluster, node) for node in nodes}
    for writer in writers.values():
        writer.start()
    try:
        wait_until(lambda: ", ".join(node for node, writer in writers.items() if len(writer.deleted) < 3) or None, "all of them write", DEADLINE_S)
        yield writers
    finally:
        for writer in writers.values():
            writer.enough.set()
        for writer in writers.values():
            writer.join(DEADLINE_S)
    cluster.reopen()
    assert_same(cluster, "table1")
    for node in cluster.names():
        held = dict(cluster.query(node, "SELECT id, col1 FROM table1"))
        for writer in writers.values():
            assert {key: held.get(key) for key in writer.acknowledged} == writer.acknowledged
            assert not writer.deleted & held.keys()


def go_on(writers: dict[str, Writer], *nodes: str) -> None:
    """Wait until these have written more."""
    before = {node: len(writers[node].deleted) for node in nodes}
    wait_until(lambda: ", ".join(node for node in nodes if len(writers[node].deleted) < before[node] + 3) or None, "they write on", DEADLINE_S)


def assert_gone(cluster: Cluster, name: str) -> None:
    """Nothing of the node is left, here or on those who stayed."""
    assert name not in members(cluster) and name not in cluster.site.runtime.nodes()
    for node in cluster.names():
        assert cluster.query(node, "SELECT subname FROM pg_subscription WHERE subname LIKE '%%' || %s || '%%'"
                                   " UNION ALL SELECT slot_name::text FROM pg_replication_slots WHERE slot_name LIKE '%%' || %s || '%%'", [name, name]) == []
        origins = ("SELECT o.roname FROM pg_replication_origin AS o WHERE o.roname LIKE 'pg\\_%' AND NOT EXISTS"
                   " (SELECT FROM pg_subscription AS s WHERE o.roname = 'pg_' || s.oid)")
        with contextlib.closing(cluster.superuser(node)) as connection, connection.cursor() as cursor:
            cursor.execute(origins)
            assert cursor.fetchall() == []
            cursor.execute("SELECT count(*) FROM unison.seeded AS d WHERE NOT EXISTS (SELECT FROM pg_subscription AS s WHERE s.oid = d.subscription)")
            assert cursor.fetchone() == (0,)
    found = status(cluster)
    assert found["healthy"], found["sentence"]
    assert name not in {node["name"] for node in found["nodes"]}


def test_a_node_is_added_and_others_removed_under_load(cluster):
    with writing(cluster, "node1", "node2", "node3") as writers:
        done = run(cluster, "add")
        assert done.stdout.splitlines()[-1].startswith("node4 holds the same ") and done.stdout.endswith(" rows\n")
        assert "4 nodes are more than max_nodes, which is 3" in done.stderr
        go_on(writers, "node1", "node2", "node3")
        assert members(cluster) == ["node1", "node2", "node3", "node4"]
        done = run(cluster, "remove", "node2", "--grace", "0")
        assert done.stdout.startswith("node1, node3, node4 hold the same ") and done.stdout.endswith(" rows; node2 is gone\n")
        go_on(writers, "node1", "node3")
    assert_gone(cluster, "node2")
    # nobody brings it back, and nobody gets its name or its index
    run(cluster, "up")
    assert_gone(cluster, "node2")
    assert "a name is never used again" in run(cluster, "add", "node2", status=2).stderr
    run(cluster, "add", "frankfurt")
    assert [(node.name, node.index) for node in reopened(cluster)] == [("node1", 1), ("node3", 3), ("node4", 4), ("frankfurt", 5)]
    run(cluster, "verify")


def reopened(cluster: Cluster) -> tuple:
    cluster.reopen()
    return cluster.site.configuration.nodes


@pytest.mark.process_runtime("the steps are the same")
@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
def test_a_removal_that_was_interrupted_is_gone_on_with(cluster, step):
    with writing(cluster, "node1", "node2", "node3") as writers:
        with call_of(cluster).widened_site() as site:
            for _, one in zip(range(step + 1), removal.steps(site, site.spec("node2"), 0), strict=False):
                one.run()
        if BACK <= step < len(STEPS) - 1:
            assert "the removal of node2 has not ended" in run(cluster, "up", status=1).stderr
            assert not status(cluster)["healthy"]
        assert run(cluster, "remove", "node2", "--grace", "0").stdout.endswith("; node2 is gone\n")
        go_on(writers, "node1", "node3")
    assert_gone(cluster, "node2")
    # repeated, it says the same
    assert run(cluster, "remove", "node2").stdout.endswith("; node2 is gone\n")


@pytest.mark.process_runtime("the steps are the same")
@pytest.mark.parametrize("way", ["resume", "up"])
def test_a_removal_is_taken_back(cluster, way):
    with call_of(cluster).widened_site() as site:
        for _, one in zip(range(BACK), removal.steps(site, site.spec("node2"), 0), strict=False):
            one.run()
    for connect in (lambda: cluster.superuser("node2"), lambda: psycopg2.connect(cluster.site.dsn(cluster.site.configuration.role("owner").name, "node2"))):
        for statement in ("INSERT INTO table1 (col1) VALUES ('late')", "UPDATE table1 SET col1 = 'late'", "DELETE FROM table1", "TRUNCATE table1"):
            with contextlib.closing(connect()) as connection, connection.cursor() as cursor, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction) as raised:
                cursor.execute(statement)
            assert "table \"table1\" is closed: node2 is being removed" in str(raised.value)
    with cluster.connect("node2", "writer") as connection, connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("INSERT INTO table1 (col1) VALUES ('late')")
    # what others write arrives
    cluster.query("node1", "INSERT INTO table1 (col1) VALUES ('from node1')", role="writer")
    wait_until(lambda: None if cluster.query("node2", "SELECT 1 FROM table1 WHERE col1 = 'from node1'") else "no row", "it arrives", DEADLINE_S)
    run(cluster, way, *(["node2"] if way == "resume" else []))
    if way == "up":
        assert {node["name"]: node["state"] for node in status(cluster)["nodes"]}["node2"] == "drained"
        run(cluster, "resume", "node2")
    assert status(cluster)["healthy"]
    cluster.query("node2", "INSERT INTO table1 (col1) VALUES ('in service')", role="writer")
    assert_same(cluster, "table1")


@pytest.mark.process_runtime("the same on both")
def test_what_cannot_be_removed_stays_as_it_is(cluster):
    assert 'no node is named "node9"' in run(cluster, "remove", "node9", status=2).stderr
    cluster.stop("node3")
    assert "node3: it is stopped" in run(cluster, "remove", "node2", status=1).stderr
    assert "node3 cannot be removed: it is stopped" in run(cluster, "remove", "node3", status=1).stderr
    run(cluster, "up")
    cluster.query("node1", "ALTER SUBSCRIPTION unison_node2_to_node1 DISABLE")
    assert "node2 to node1: it is disabled" in run(cluster, "remove", "node2", status=1).stderr
    assert "node2 to node1 is disabled" in run(cluster, "add", status=1).stderr
    run(cluster, "up")
    assert status(cluster)["healthy"]


@pytest.mark.process_runtime("the same on both")
def test_a_transaction_that_is_prepared_is_not_lost(make_cluster):
    cluster = make_cluster(nodes=2, tables=[TABLE1, MARKS], postgresql={"max_prepared_transactions": 5})
    run(cluster, "up")
    with contextlib.closing(psycopg2.connect(cluster.site.dsn(cluster.site.configuration.role("writer").name, "node2"))) as connection:
        connection.tpc_begin("promised")
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO table1 (col1) VALUES ('promised')")
        connection.tpc_prepare()
        said = run(cluster, "remove", "node2", "--grace", "0", status=1).stderr
        assert "a transaction is prepared there" in said and "'promised'" in said
    with contextlib.closing(cluster.superuser("node2")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("COMMIT PREPARED 'promised'")
    run(cluster, "remove", "node2", "--grace", "0")
    assert members(cluster) == ["node1"]
    assert cluster.query("node1", "SELECT count(*) FROM table1 WHERE col1 = 'promised'") == [(1,)]
    assert "too few nodes" in run(cluster, "remove", "node1", status=2).stderr


@pytest.mark.process_runtime("the same on both")
def test_rows_that_differ_stop_a_removal(cluster):
    cluster.query("node1", "INSERT INTO table1 (col1) VALUES ('written')", role="writer")
    assert_same(cluster, "table1")
    with contextlib.closing(cluster.superuser("node2")) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE table1 SET col1 = 'past the merge'")
    said = run(cluster, "remove", "node2", "--grace", "0", status=3).stderr
    assert "the nodes hold different rows of public.table1" in said
    assert members(cluster) == ["node1", "node2", "node3"]


@pytest.mark.process_runtime("the same on both")
def test_nobody_waits_for_what_a_token_says_of_a_node_that_is_gone(cluster):
    (token,), = cluster.query("node2", "SELECT unison.token()", role="writer")
    run(cluster, "remove", "node2", "--grace", "0")
    run(cluster, "add")
    for node in members(cluster):
        # a new node waits for the first beat of the others
        assert cluster.query(node, "SELECT unison.behind(%s, 60)", [token], role="reader") == [(None,)]


@pytest.mark.process_runtime("the same on both")
def test_scale_goes_up_and_down_one_after_another(cluster):
    assert run(cluster, "scale", "5", "--dry-run").stdout == "3 nodes; add 2\n"
    run(cluster, "scale", "5")
    assert members(cluster) == ["node1", "node2", "node3", "node4", "node5"]
    assert run(cluster, "scale", "2", "--dry-run").stdout == "5 nodes; remove node5, then node4, then node3\n"
    run(cluster, "scale", "2", "--grace", "0")
    assert members(cluster) == ["node1", "node2"]
    assert status(cluster)["healthy"]
    run(cluster, "scale", "2")
    run(cluster, "verify")


@pytest.mark.process_runtime("the same on both")
def test_a_smaller_max_nodes_changes_nothing_and_names_scale(cluster, monkeypatch):
    text = cluster.config_path.read_text()
    cluster.config_path.write_text(text.replace('"max_nodes": 3', '"max_nodes": 2'))
    assert "scale 2" in run(cluster, "up", status=1).stderr
    run(cluster, "scale", "2", "--grace", "0")
    assert members(cluster) == ["node1", "node2"]
    assert status(cluster)["healthy"]


@pytest.mark.process_runtime("the same on both")
def test_replace_goes_on_with_the_node_that_it_has_begun_with(cluster):
    assert run(cluster, "replace", "node2", "--dry-run").stdout == "add node4, then remove node2\n"
    site = cluster.site
    written.read(site.directory).with_added(site.configuration.node_spec("node4", 4), replaces="node2").write(site.directory)
    assert "node2 is being replaced by node4 already" in run(cluster, "replace", "node2", "other", status=2).stderr
    run(cluster, "replace", "node2", "--grace", "0")
    assert_gone(cluster, "node2")
    assert members(cluster) == ["node1", "node3", "node4"]
    assert "go on with the removal of node2" in run(cluster, "replace", "node2", "--dry-run").stdout


@pytest.mark.process_runtime("the same on both")
def test_a_plan_is_printed_and_nothing_is_done(cluster):
    said = run(cluster, "remove", "node2", "--dry-run").stdout.splitlines()
    assert len(said) == len(STEPS) and said[0] == "take node2 out of service" and said[-1] == "remove the data of node2"
    assert run(cluster, "add", "--dry-run").stdout.splitlines()[-1] == "admit node4"
    assert status(cluster)["healthy"] and members(cluster) == ["node1", "node2", "node3"]


