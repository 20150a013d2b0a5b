"""The three tests by hand: they hold on a sound cluster, any number of times, and do not hold on one that is not."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from byhand.history import Operation, fault
from byhand.run import Row

from pgunison.contract.waiting import wait_until
from tests.integration import orchestrator

TESTS = Path(__file__).resolve().parents[1]
SCRIPT_TIMEOUT_S = 120


def call(cluster, name: str, *options: str) -> subprocess.CompletedProcess:
    """Run one of the scripts, from a directory that is not the project's."""
    return subprocess.run([sys.executable, TESTS / f"test-{name}.py", *orchestrator.options(cluster), *options],
                          cwd="/", capture_output=True, text=True, timeout=SCRIPT_TIMEOUT_S)


def execute(cluster, node: str, *statements: str) -> None:
    """Execute statements as the node's superuser, each in a transaction of its own."""
    connection = cluster.superuser(node)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def assert_fails(done: subprocess.CompletedProcess, *texts: str) -> None:
    """The script must end with status 1 and an error that holds the texts, without a traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert "\nok" not in done.stdout
    for text in texts:
        assert text in done.stderr


def ready(cluster, node: str) -> bool:
    """Ask the node's agent as a load balancer does."""
    spec, site = cluster.site.spec(node), cluster.site
    trust = site.runtime.certificates.trust() if site.runtime.certificates else False
    url = f"{'https' if trust else 'http'}://{site.runtime.address(spec)}:{site.configuration.agent_port}/ready"
    return httpx.get(url, verify=trust, trust_env=False, timeout=30).status_code == 200


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster().up()


def test_select_says_that_the_insert_test_comes_first(cluster):
    assert_fails(call(cluster, "select"), "public.table1 has no rows yet", "tests/test-insert.py")


@pytest.mark.parametrize("repetition", [1, 2])
@pytest.mark.parametrize("name", ["insert", "update", "select"])
def test_holds_on_a_sound_cluster_again_and_again(cluster, repetition, name):
    done = call(cluster, name)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.endswith("\nok\n")
    for node in ("node1", "node2", "node3"):
        for group in ("writer1", "writer2") if name != "select" else ("reader1", "reader2"):
            assert any(line.split()[:2] == [group, node] for line in done.stdout.splitlines()), f"{group} did not use {node}"
    assert not any(password in done.stdout for password in cluster.site.credentials.passwords.values())


def test_update_draws_by_the_seed_that_it_is_given(cluster):
    done = call(cluster, "update", "--seed", "4711")
    assert done.returncode == 0 and ", seed 4711\n" in done.stdout, done.stdout + done.stderr
    assert call(cluster, "insert", "--seed", "1").returncode == 2


def test_insert_fails_when_a_subscription_is_paused(cluster):
    execute(cluster, "node2", "ALTER SUBSCRIPTION unison_node1_to_node2 DISABLE")
    try:
        assert_fails(call(cluster, "insert", "--timeout", "2"), "the nodes have not caught up after 2 s", "node2 is", "behind node1")
    finally:
        execute(cluster, "node2", "ALTER SUBSCRIPTION unison_node1_to_node2 ENABLE")
        cluster.site.await_links("node2", ("node1",))


def test_insert_fails_when_a_node_forges_a_row(cluster):
    """The row that node3 gets is not the row that was written: a trigger of somebody else's changes it there."""
    execute(cluster, "node3", "CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.col2 := 'forged'; RETURN NEW; END$$",
            "CREATE TRIGGER forge BEFORE INSERT ON table1 FOR EACH ROW WHEN (NEW.col2 = 'writer1 7') EXECUTE FUNCTION forge()",
            "ALTER TABLE table1 ENABLE REPLICA TRIGGER forge")
    try:
        assert_fails(call(cluster, "insert"), "node3 does not hold the rows that were written", "'writer1 7'", "'forged'")
        # the node's agent looks for such triggers now and then; then readers are not sent there
        wait_until(lambda: "it takes work" if ready(cluster, "node3") else None, "node3 is not ready", SCRIPT_TIMEOUT_S)
        assert_fails(call(cluster, "select"), "node3 cannot serve", "trigger that fires on arrival forge is new")
    finally:
        execute(cluster, "node3", "DROP FUNCTION forge() CASCADE", "DELETE FROM table1 WHERE col2 = 'forged'")


def test_select_fails_when_a_row_was_changed_past_the_merge(cluster):
    past = "SET session_replication_role = replica"
    execute(cluster, "node3", past, "UPDATE table1 SET col2 = col2 || ' past the merge'")
    try:
        assert_fails(call(cluster, "select"), "node1 and node3 answer differently", "asked for the ", "past the merge")
    finally:
        execute(cluster, "node3", past, "UPDATE table1 SET col2 = replace(col2, ' past the merge', '')")


@pytest.mark.parametrize(("grant", "what"), [
    ("INSERT ON table1", "INSERT"), ("TRUNCATE ON table1", "TRUNCATE"), ("USAGE ON SEQUENCE table1_id_seq", "nextval"),
    ("CREATE ON SCHEMA public", "CREATE TABLE"),
])
def test_select_fails_when_a_reader_may_write(cluster, grant, what):
    execute(cluster, "node2", f"GRANT {grant} TO reader2")
    try:
        assert_fails(call(cluster, "select"), "reader2 may write on node2", f"{what} was not refused")
    finally:
        execute(cluster, "node2", f"REVOKE {grant} FROM reader2")


def test_names_the_nodes_that_do_not_answer(cluster):
    node2 = cluster.site.spec("node2")
    cluster.site.runtime.stop(node2)
    try:
        assert_fails(call(cluster, "insert"), "error: node2 cannot be reached", cluster.site.runtime.address(node2), "python3 orchestrator.py up")
    finally:
        cluster.up()


def test_update_fails_when_a_node_does_not_merge(make_cluster):
    """A node stores what arrives, without asking which version is newer."""
    cluster = make_cluster().up()
    (tables,) = cluster.query("node2", "SELECT 'table1', format('unison.%I', image_name), format('unison.%I', tombstone_name) FROM unison.replicated_table")
    execute(cluster, "node2", *(f"ALTER TABLE {table} DISABLE TRIGGER zzz_unison_merge" for table in tables))
    assert_fails(call(cluster, "update"), "the nodes hold different rows of this run", "keys differ", "node2")


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def written(value: str | None, second: int, node: int, outcome: str = "ok") -> Operation:
    version = (NOW + timedelta(seconds=second), node) if outcome == "ok" and value is not None else None
    return Operation(1, f"node{node}", outcome, value, version)


def row(value: str, second: int, node: int) -> Row:
    return Row(1, "run", value, NOW + timedelta(seconds=second), node)


@pytest.mark.parametrize(("operations", "found", "expected"), [
    ([written("a", 1, 1), written("b", 2, 2)], row("b", 2, 2), None),
    ([written("b", 2, 2), written("a", 1, 1)], row("a", 1, 1), "the last of 2 versions is 'b'"),
    ([written("a", 1, 1), written("b", 1, 2)], row("a", 1, 1), "the last of 2 versions is 'b'"),
    ([written("a", 1, 1), written("b", 2, 2)], row("a", 2, 2), "the last of 2 versions is 'b'"),
    ([written("a", 1, 1), written("b", 1, 1)], row("b", 1, 1), "2 writes share 1 versions"),
    ([written("a", 1, 1)], None, "nobody deleted it"),
    ([written("a", 1, 1), written(None, 2, 2)], None, None),
    ([written("a", 1, 1), written(None, 2, 2, "unknown")], None, None),
    ([written("a", 1, 1), written(None, 2, 2, "missed")], None, "nobody deleted it"),
    ([written("a", 1, 1), written(None, 2, 2, "failed")], None, "nobody deleted it"),
    ([written("a", 1, 1), written("b", 2, 2, "unknown")], row("b", 2, 2), None),
    ([written("a", 1, 1), written("b", 2, 2, "failed")], row("b", 2, 2), "the last of 1 versions is 'a'"),
    ([written("a", 3, 1), written("b", 2, 2, "unknown")], row("b", 2, 2), "the last of 1 versions is 'a'"),
])
def test_a_row_must_be_what_its_history_demands(operations, found, expected):
    said = fault(operations, found)
    assert said is None if expected is None else expected in said
