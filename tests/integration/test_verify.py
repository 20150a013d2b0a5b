"""verify on a real cluster: it finds what differs, names it, and it ends."""

import subprocess
import threading

import psycopg2
import pytest

from pgunison.cluster.verify import verify
from pgunison.errors import NotConverged
from tests.convergence.comparison import MARKS, assert_same, link, names, paused, replica, settle, wait_until
from tests.integration.orchestrator import command_line

MANY = {"name": "many", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}


CHILD = {"name": "child", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "many", "type": "bigint"},
                                      {"name": "Other; --", "type": "bigint"}]}


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[MANY, CHILD, MARKS]).up()


def run_verify(cluster) -> subprocess.CompletedProcess:
    done = subprocess.run(command_line(cluster, "verify"), capture_output=True, text=True, timeout=200)
    assert "Traceback" not in done.stderr
    return done


def test_differences_behind_more_equal_rows_than_are_compared_at_once_are_found(cluster):
    cluster.query("node1", "INSERT INTO many SELECT n, 'x' FROM generate_series(1, 30000) n")
    settle(cluster)
    with replica(cluster, "node2") as cursor:
        cursor.execute("DELETE FROM many WHERE id > 15000")
    ended: list[object] = []

    def look() -> None:
        try:
            ended.append(verify(cluster.site))
        except NotConverged as error:
            ended.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(45)
    late = thread.is_alive()
    for node in ("node1", "node2"):
        with replica(cluster, node) as cursor:
            cursor.execute("DELETE FROM many")
    thread.join(45)
    assert not late, "verify does not end"
    assert isinstance(ended[0], NotConverged), ended


@pytest.fixture
def rows(cluster):
    """Three rows that are the same on both nodes, and no others; made the same again behind the test."""
    cluster.query("node1", "INSERT INTO many VALUES (1, 'one'), (2, 'two'), (3, 'three')")
    settle(cluster)
    yield
    for node in names(cluster):
        with replica(cluster, node) as cursor:
            cursor.execute("DELETE FROM many")
    assert_same(cluster, "many")


def versions(cluster, key: int) -> dict[str, str | None]:
    """Return what verify should show of the key on each node."""
    found = {node: cluster.query(node, "SELECT modified_ts::text || ' node ' || modified_node FROM many WHERE id = %s", [key]) for node in names(cluster)}
    return {node: held[0][0] if held else "has no row" for node, held in found.items()}


def test_the_same_rows_are_counted(cluster, rows):
    done = run_verify(cluster)
    assert (done.returncode, done.stderr) == (0, "")
    assert "public.many: 3 rows, the same on 2 nodes" in done.stdout.splitlines()


@pytest.mark.parametrize(("node", "statement", "key"), [
    ("node2", "DELETE FROM many WHERE id = 2", 2),
    ("node1", "INSERT INTO many (id, value, modified_ts, modified_node) VALUES (4711, 'forged', '2020-01-01', 1)", 4711),
    ("node2", "UPDATE many SET value = 'other, of the same version' WHERE id = 3", 3),
    ("node2", "UPDATE many SET value = NULL WHERE id = 3", 3),
    ("node1", "UPDATE many SET modified_ts = modified_ts + interval '1 microsecond' WHERE id = 1", 1)],
    ids=["a missing row", "an extra row", "another value", "no value", "another version"])
def test_a_difference_is_shown_with_its_key_and_versions(cluster, rows, node, statement, key):
    forge(cluster, node, statement)
    done = run_verify(cluster)
    assert done.returncode == 3
    assert "error: the nodes hold different rows of public.many" in done.stderr
    shown = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("[")]
    assert shown == [f"[{key}]: " + ", ".join(f"{each} {version}" for each, version in versions(cluster, key).items())]
    assert "1 key differs" in done.stderr and "hint: " in done.stderr
    assert "public.many" not in done.stdout


def forge(cluster, node: str, statement: str) -> None:
    """Execute a statement past the merge, and past the peers."""
    with replica(cluster, node) as cursor:
        # what has an origin goes to no peer
        cursor.execute("SELECT pg_replication_origin_create('forger'), pg_replication_origin_session_setup('forger')")
        cursor.execute(statement)

    def in_use() -> str | None:
        # a session that was closed a moment ago may be there still
        try:
            with replica(cluster, node) as cursor:
                cursor.execute("SELECT pg_replication_origin_drop('forger')")
        except psycopg2.errors.ObjectInUse as error:
            return str(error)
        return None

    wait_until(in_use, "nobody uses the origin")


def test_values_that_differ_under_one_version_are_the_same_after_the_update_that_is_told(cluster, rows):
    forge(cluster, "node2", "UPDATE many SET value = 'other, of the same version' WHERE id = 3")
    done = run_verify(cluster)
    assert done.returncode == 3 and "hint: an UPDATE of such a row, on the node whose values shall stay" in done.stderr
    cluster.query("node2", "UPDATE many SET value = value WHERE id = 3")
    assert run_verify(cluster).returncode == 0
    assert cluster.query("node1", "SELECT value FROM many WHERE id = 3") == [("other, of the same version",)]
    forge(cluster, "node2", "DELETE FROM many WHERE id = 2")
    assert "hint: see docs/convergence.md" in run_verify(cluster).stderr


def test_a_disabled_subscription_is_named_with_what_it_holds_back(cluster, rows):
    with paused(cluster, ("node1", "node2")):
        assert run_verify(cluster).returncode == 0, "nothing is held back yet"
        cluster.query("node1", "UPDATE many SET value = 'held back' WHERE id = 2")
        done = run_verify(cluster)
        shown = versions(cluster, 2)
    assert done.returncode == 3
    assert f"[2]: node1 {shown['node1']}, node2 {shown['node2']}" in done.stderr
    assert "node1 to node2 is disabled" in done.stderr and "node2 to node1" not in done.stderr
    assert_same(cluster, "many")
    assert run_verify(cluster).returncode == 0


def test_a_stopped_node_cannot_be_compared(cluster, rows):
    cluster.site.runtime.stop(cluster.site.spec("node2"))
    try:
        done = run_verify(cluster)
    finally:
        cluster.up()
    assert done.returncode == 1
    assert "node2 is stopped" in done.stderr and "python3 orchestrator.py up starts what is down" in done.stderr
    assert run_verify(cluster).returncode == 0


def test_it_ends_under_continuous_writes(cluster, rows):
    stop, failed, written = threading.Event(), [], dict.fromkeys(names(cluster), 0)

    def write(node: str) -> None:
        try:
            with cluster.connect(node, "writer") as connection, connection.cursor() as cursor:
                while not stop.is_set():
                    cursor.execute("INSERT INTO many VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET value = excluded.value",
                                   [10 + written[node] % 500, f"{node} {written[node]}"])
                    written[node] += 1
        except psycopg2.Error as error:
            failed.append(f"{node}: {error}")

    threads = [threading.Thread(target=write, args=(node,)) for node in names(cluster)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: None if min(written.values()) > 100 else f"{written}, {failed}", "the writers have begun")
        done = run_verify(cluster)
        during = dict(written)
        wait_until(lambda: None if min(written[node] - during[node] for node in written) > 0 else f"{written}, {failed}", "the writers still write")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert done.returncode == 0, done.stderr
    assert_same(cluster, "many")
    assert run_verify(cluster).returncode == 0


def test_a_lost_slot_is_named(cluster, rows):
    """verify does not wait for a link that cannot carry anything."""
    name = link("node1", "node2")
    with paused(cluster, ("node1", "node2")):
        active = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
        wait_until(lambda: "in use" if cluster.query("node1", active, [name]) else None, "nobody uses the slot")
        with cluster.superuser("node1") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_drop_replication_slot(%s)", [name])
        connection.close()
        cluster.query("node1", "DELETE FROM many WHERE id = 1")
    done = run_verify(cluster)
    cluster.up()
    assert done.returncode == 3 and "node1 to node2 is slot lost" in done.stderr
    assert "[1]: node1 has no row, node2 " in done.stderr
    assert_same(cluster, "many")


def test_rows_that_refer_to_no_row_are_counted(cluster, rows):
    """Two nodes race, and no apply worker checks a foreign key: the nodes are the same, and something is wrong all the same."""
    for node in names(cluster):
        cluster.query(node, 'ALTER TABLE child ADD CONSTRAINT whose FOREIGN KEY (many) REFERENCES many,'
                            ' ADD CONSTRAINT "2nd; --" FOREIGN KEY ("Other; --") REFERENCES many')
    cluster.query("node1", "INSERT INTO child VALUES (1, 1, 1), (2, 2, NULL)")
    settle(cluster)
    done = run_verify(cluster)
    assert (done.returncode, done.stderr) == (0, "")
    with paused(cluster, ("node1", "node2"), ("node2", "node1")):
        cluster.query("node1", "DELETE FROM many WHERE id = 3")
        cluster.query("node2", "INSERT INTO child VALUES (3, 3, 3), (4, 3, 2), (5, NULL, NULL)")
    done = run_verify(cluster)
    assert done.returncode == 0
    assert "public.child: 5 rows, the same on 2 nodes" in done.stdout.splitlines()
    assert done.stderr.splitlines() == ["warning: public.child: 1 row refers to no row of public.many (foreign key 2nd; --, on node1)",
                                        "warning: public.child: 2 rows refer to no row of public.many (foreign key whose, on node1)"]
    cluster.query("node2", "DELETE FROM child")
    assert_same(cluster, "child", "many")
    assert run_verify(cluster).stderr == ""
