"""A node leaves service for a while and comes back: drain NODE, resume NODE."""

import signal

import httpx
import psycopg2
import pytest

from tests.convergence.comparison import MARKS, administer, all_links, assert_same, wait_until
from tests.integration.orchestrator import run
from tests.integration.test_up import TABLE1, assert_up, keys, read_until, started, status, write


@pytest.fixture(scope="module")
def three(make_cluster):
    cluster = make_cluster(nodes=3, tables=[TABLE1, MARKS])
    run(cluster, "up")
    return cluster


def ready(cluster, node: str) -> tuple[int, dict]:
    """Ask the node's agent as a load balancer does."""
    spec, site = cluster.site.spec(node), cluster.site
    trust = site.runtime.certificates.trust() if site.runtime.certificates else False
    url = f"{'https' if trust else 'http'}://{site.runtime.address(spec)}:{site.configuration.agent_port}/ready"
    answer = httpx.get(url, verify=trust, trust_env=False, timeout=30)
    return answer.status_code, answer.json()


def assert_drained(cluster, node: str) -> None:
    """It is out of service for everybody who looks, and its links go on in both directions."""
    code, said = ready(cluster, node)
    assert code == 503 and said["drained"] is True and "drained by " in said["reason"], said
    found = status(cluster)
    assert {each["name"]: each["state"] for each in found["nodes"]} == dict.fromkeys(cluster.names(), "ready") | {node: "drained"}
    assert {(each["source"], each["target"]): each["state"] for each in found["links"]} == dict.fromkeys(all_links(cluster), "streaming")
    assert not found["healthy"] and f"{node}: drained by " in found["sentence"]
    assert [fault["next"] for fault in found["faults"]] == [f"python3 orchestrator.py resume {node}"]
    write(cluster)
    assert_same(cluster, "table1")


def assert_in_service(cluster, node: str) -> None:
    wait_until(lambda: None if ready(cluster, node)[0] == 200 else str(ready(cluster, node)), f"{node} is ready")
    assert_up(cluster)


@pytest.mark.parametrize("words", [["drain", "node9"], ["resume", "node9"], ["drain"], ["drain", "node1", "--grace", "-1"]])
def test_a_wrong_name_or_option_changes_nothing(three, words):
    run(three, *words, status=2)
    assert_up(three)


def test_a_drained_node_stays_so_through_restarts_and_up(three):
    assert "node2 is drained" in run(three, "drain", "node2").stderr
    assert_drained(three, "node2")
    since = ready(three, "node2")[1]["reason"]
    run(three, "drain", "node2")
    run(three, "restart", "node2")
    wait_until(lambda: None if ready(three, "node2")[1]["reason"] == since else str(ready(three, "node2")), "it says the same")
    assert_drained(three, "node2")
    run(three, "up")
    assert_drained(three, "node2")
    run(three, "resume", "node2")
    assert_in_service(three, "node2")
    assert "node2 was not drained" in run(three, "resume", "node2").stderr
    write(three)


def test_clients_are_asked_to_go_and_new_ones_may_come(three):
    with three.connect("node2", "writer", autocommit=False) as running, three.connect("node2", "reader") as idle, three.connect("node2", "owner") as owner:
        with running.cursor() as cursor:
            cursor.execute("INSERT INTO table1 (col1) VALUES ('before the end of the grace') RETURNING id::text")
            kept = cursor.fetchone()[0]
        with started(three, "drain", "node2", "--grace", "1") as process:
            wait_until(lambda: None if _ended(idle) else "it stands", "the idle connection is ended")
            # a transaction that runs has some time more
            running.commit()
            errors = process.stderr.read()
            assert process.wait(60) == 0, errors
        assert _ended(running), "it became idle, and was not ended"
        assert not _ended(owner)
    assert kept in keys(three, "node2")
    assert_drained(three, "node2")
    run(three, "resume", "node2")
    assert_in_service(three, "node2")


def test_an_owner_in_the_writers_group_is_no_client_and_nor_is_the_agent(three):
    owner = three.site.configuration.role("owner").name
    administer(three, "node2", f'GRANT unison_writers TO "{owner}"')
    try:
        with three.connect("node2", "owner") as kept, three.connect("node2", "writer") as client:
            found = three.site.call("node2", "node.disconnect", end="none")
            assert (found["done"], found["idle"], found["running"]) == ([], 1, 0)
            assert three.site.call("node2", "node.disconnect", end="all")["done"] == ["ended 1 connections"]
            wait_until(lambda: None if _ended(client) else "it stands", "the client's connection is ended")
            assert not _ended(kept)
    finally:
        administer(three, "node2", f'REVOKE unison_writers FROM "{owner}"')


def test_a_transaction_that_does_not_end_is_ended(three):
    with three.connect("node3", "writer", autocommit=False) as running:
        with running.cursor() as cursor:
            cursor.execute("INSERT INTO table1 (col1) VALUES ('never committed')")
        run(three, "drain", "node3", "--grace", "0")
        with pytest.raises(psycopg2.OperationalError), running.cursor() as cursor:
            cursor.execute("SELECT 1")
    assert three.query("node3", "SELECT count(*) FROM table1 WHERE col1 = 'never committed'") == [(0,)]
    run(three, "resume", "node3")
    assert_in_service(three, "node3")


def test_the_last_node_is_drained_by_force_only(three):
    run(three, "drain", "node1")
    run(three, "drain", "node2")
    said = run(three, "drain", "node3", status=1).stderr
    assert "error: node3 is the last node that is ready" in said and "node1 is drained, node2 is drained" in said and "--force" in said
    assert ready(three, "node3")[0] == 200
    run(three, "drain", "node3", "--force")
    assert {ready(three, name)[0] for name in three.names()} == {503}
    write(three)
    for name in three.names():
        run(three, "resume", name)
    for name in three.names():
        assert_in_service(three, name)


def test_a_drain_that_is_interrupted_goes_on(three):
    with three.connect("node1", "writer") as idle, started(three, "drain", "node1", "--grace", "60") as process:
        read_until(process, "take node1 out of service")
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(60) == 1
        assert not _ended(idle)
        assert_drained(three, "node1")
        run(three, "drain", "node1", "--grace", "0")
        assert _ended(idle)
    run(three, "resume", "node1")
    assert_in_service(three, "node1")


def test_a_node_that_does_not_answer_is_not_drained(three):
    run(three, "down", "node2")
    assert "node2 cannot be drained: it is stopped" in run(three, "drain", "node2", status=1).stderr
    run(three, "resume", "node2", status=1)
    run(three, "up", "node2")
    assert_in_service(three, "node2")


def _ended(connection) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        return True
    return False
