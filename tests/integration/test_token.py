"""services/sql/token.sql and GET /ready: what was written on one node is waited for on another, and how far behind a node is."""

import time

import httpx
import psycopg2
import pytest

from pgunison.contract.waiting import wait_until

DEADLINE_S = 30


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster().up()


@pytest.fixture
def paused(cluster):
    """The link from node1 to node2 is paused."""
    alter(cluster, "DISABLE")
    worker = "SELECT FROM pg_stat_subscription WHERE subname = 'unison_node1_to_node2' AND pid > 0"
    wait_until(lambda: "it is running" if cluster.query("node2", worker) else None, "the worker has ended", DEADLINE_S)
    yield
    alter(cluster, "ENABLE")
    cluster.site.await_links("node2", ("node1",))


def alter(cluster, how: str) -> None:
    cluster.query("node2", f"ALTER SUBSCRIPTION unison_node1_to_node2 {how}")


def insert(cluster, node: str, text: str) -> str:
    """Insert a row as a writer and return the token behind it."""
    with cluster.connect(node, "writer") as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO table1 (col1) VALUES (%s)", [text])
        cursor.execute("SELECT unison.token()")
        return cursor.fetchone()[0]


def ready(cluster, node: str, query: str = "") -> httpx.Response:
    trust = cluster.site.runtime.certificates
    address = cluster.site.runtime.address(cluster.site.spec(node))
    return httpx.get(f"{'https' if trust else 'http'}://{address}:{cluster.site.configuration.agent_port}/ready{query}",
                     verify=trust.trust() if trust else False, timeout=5)


def test_what_was_written_is_there_after_the_wait(cluster):
    """Again and again, from each node to each other one, as writer and as reader: the row must be there at once after the wait."""
    for number in range(30):
        source, target = (cluster.names()[k % 3] for k in (number, number + 1 + number % 2))
        token = insert(cluster, source, f"seen {number}")
        with cluster.connect(target, "reader" if number % 3 else "writer") as connection, connection.cursor() as cursor:
            began = time.monotonic()
            cursor.execute("SELECT unison.wait_for(%s, 20)", [token])
            assert time.monotonic() - began < 10
            cursor.execute("SELECT count(*) FROM table1 WHERE col1 = %s", [f"seen {number}"])
            assert cursor.fetchone() == (1,), number


def test_the_node_that_wrote_has_it_at_once(cluster, paused):
    token = insert(cluster, "node1", "here")
    assert cluster.query("node1", "SELECT unison.behind(%s)", [token], role="reader") == [(None,)]


def test_a_node_that_lacks_it_says_how_far_it_is_behind(cluster, paused):
    token = insert(cluster, "node1", "not there")
    (missing,), = cluster.query("node2", "SELECT unison.behind(%s)", [token], role="reader")
    assert missing.endswith(" bytes of node1") and int(missing.split()[0]) > 0
    with pytest.raises(psycopg2.errors.QueryCanceled, match="node2 has not applied everything within 0.3 s") as caught:
        cluster.query("node2", "SELECT unison.wait_for(%s, 0.3)", [token], role="reader")
    assert "bytes of node1" in caught.value.diag.message_detail
    # another reader, who came by node3, has seen it: node2 lacks it for that one, too
    (seen,), = cluster.query("node3", "SELECT unison.wait_for(%s, 20), unison.token()", [token], role="reader")[0][1:],
    (missing,), = cluster.query("node2", "SELECT unison.behind(%s)", [seen], role="reader")
    assert "bytes of node1" in missing


@pytest.mark.parametrize("token", ["", "1", "1.", "2.node1-00000000-0", "1.node1-00000000", "1.node1-00000000-0'", "1.node1-xyz-0", None,
                                   "1.node1-00000000-00000000000000001", "1.node1-0-0\n", "1." + "a" * 20000])
def test_what_is_no_token_is_refused(cluster, token):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="this is no token of pgunison"):
        cluster.query("node1", "SELECT unison.wait_for(%s)", [token], role="reader")


def test_a_former_life_of_a_node_brings_nothing_more(cluster):
    former = f"1.node1-{'0' * 8}-ffffffffffff"
    for node in cluster.names():
        wait_until(lambda node=node: cluster.query(node, "SELECT unison.behind(%s)", [former], role="reader")[0][0], f"{node} knows", DEADLINE_S)


def test_a_node_that_nobody_knows_is_waited_for(cluster):
    assert cluster.query("node1", "SELECT unison.behind('1.node9-00000000-1')", role="reader") == [("what node9 has written",)]


def test_ready_says_how_far_a_node_is_behind(cluster):
    def lag(node: str) -> dict[str, float]:
        return {one["origin"]: one["seconds"] for one in ready(cluster, node).json()["lag"]}

    for node in cluster.names():
        answer = ready(cluster, node, "?role=reader&max_lag_s=30")
        assert answer.status_code == 200 and answer.json()["node"] == node, answer.text
        assert set(lag(node)) == set(cluster.names()) - {node}


def test_a_node_that_is_cut_off_from_one_peer_is_too_old(cluster, paused):
    """node3 hears node1 still, so node2 learns that it lacks what node1 says; other nodes go on, and whoever asks for no age gets node2."""
    wait_until(lambda: None if ready(cluster, "node2", "?role=reader&max_lag_s=3").status_code == 503 else "ready", "node2 is too old", DEADLINE_S)
    answer = ready(cluster, "node2", "?max_lag_s=3").json()
    assert answer["reason"].startswith("it is more than 3 s behind: node1 by ")
    assert ready(cluster, "node2").status_code == 200
    assert ready(cluster, "node3", "?max_lag_s=3").status_code == 200


def test_a_peer_that_is_down_makes_nobody_too_old(cluster):
    cluster.site.runtime.stop(cluster.site.spec("node3"))
    try:
        stopped = time.monotonic()
        # longer than the age that is asked for, and than a heartbeat takes
        while time.monotonic() - stopped < 6:
            time.sleep(0.5)
        for node in ("node1", "node2"):
            answer = ready(cluster, node, "?max_lag_s=3")
            assert answer.status_code == 200, answer.text
    finally:
        cluster.up()
