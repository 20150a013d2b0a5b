"""An agent with its real PostgreSQL: killed, stopped, in the way of others, attacked, asked twice; and what it keeps to itself."""

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psycopg2
import pytest

from esb_config.definition import services
from esb_config.document import document
from pgunison.cluster.desired import column_description, desired
from pgunison.cluster.execute import bring_up
from pgunison.cluster.plan import plan
from pgunison.cluster.site import Site
from pgunison.cluster.steps import AdmitNode
from pgunison.commands.call import Call
from pgunison.commands.down import down
from pgunison.configuration.sysconfig import load
from pgunison.contract.call import request
from pgunison.errors import OrchestratorError
from pgunison.progress import Progress
from tests.convergence.comparison import wait_until

pytestmark = pytest.mark.process_runtime("it looks at the agent's files and processes; tests/integration/test_docker.py has what differs in containers")

PROJECT = Path(__file__).parents[2]
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=1).up()


@pytest.fixture(scope="module")
def pair(make_cluster):
    return make_cluster(nodes=2).up()


def folder(cluster, node: str = "node1") -> Path:
    return cluster.site.directory / "nodes" / node


def postmaster(cluster) -> int:
    return int((folder(cluster) / "data" / "postmaster.pid").read_text().splitlines()[0])


def agent_process(cluster, node: str = "node1") -> int:
    return int((folder(cluster, node) / "agent.lock").read_text())


def lives(pid: int) -> bool:
    """Tell whether the process runs; one that ended and was not waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def url(cluster, path: str = "", node: str = "node1") -> str:
    configuration = cluster.site.configuration
    return f"http://{cluster.site.runtime.address(cluster.site.spec(node))}:{configuration.agent_port}/{path}"


def get(cluster, path: str) -> httpx.Response:
    return httpx.get(url(cluster, path), timeout=10, trust_env=False)


def post(cluster, **options) -> httpx.Response:
    headers = {"Authorization": f"Bearer {cluster.site.credentials.token}"}
    return httpx.post(url(cluster), timeout=60, trust_env=False, headers=headers, **options)


def control_data(cluster) -> str:
    """Read the cluster state from the control file: 'in production' while it runs, 'shut down' after a clean stop."""
    configuration = json.loads((folder(cluster) / "agent.json").read_text())
    shown = subprocess.run([Path(configuration["binaries"]) / "pg_controldata", folder(cluster) / "data"], capture_output=True, text=True, check=True,
                           env={"LC_ALL": "C", "PATH": os.environ["PATH"]})
    return next(line.partition(":")[2].strip() for line in shown.stdout.splitlines() if line.startswith("Database cluster state"))


# --- life and death ---


def kill_postgresql(cluster) -> None:
    """Kill the server, and wait until another one accepts connections."""
    before = postmaster(cluster)
    os.kill(before, signal.SIGKILL)

    def pending():
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            now = postmaster(cluster)
            problem = cluster.site.agents.problem(cluster.site.spec("node1"))
            return f"the server is process {now}, {problem}" if now == before or problem else None
        return "there is no postmaster.pid"

    wait_until(pending, "another server accepts connections", DEADLINE_S)


def test_a_killed_postgresql_is_seen_and_started_again(cluster):
    cluster.query("node1", "INSERT INTO table1 (col1) VALUES ('survives') RETURNING id", role="writer")
    agent = agent_process(cluster)
    kill_postgresql(cluster)
    assert agent_process(cluster) == agent
    assert cluster.query("node1", "SELECT count(*) FROM table1 WHERE col1 = 'survives'", role="reader") == [(1,)]
    assert "ended unexpectedly" in (folder(cluster) / "agent.log").read_text()
    wait_until(lambda: None if get(cluster, "ready").status_code == 200 else "not ready", "the node is ready", DEADLINE_S)


def test_what_a_killed_postgresql_left_behind_does_not_keep_the_next_from_starting(cluster):
    # one that stands still notices nothing: as one does that waits for a lock which nobody is left to free
    with cluster.connect("node1", "writer") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        left = cursor.fetchone()[0]
        os.kill(left, signal.SIGSTOP)
        kill_postgresql(cluster)
    assert not lives(left)


def test_health_says_so_while_postgresql_is_down(cluster):
    # a server that cannot start again: its data directory is out of the way
    data, aside = folder(cluster) / "data", folder(cluster) / "aside"
    pid = postmaster(cluster)
    (data / "global").rename(aside)
    try:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: None if get(cluster, "health").json()["failures"] else "no start has failed yet", "a start has failed", DEADLINE_S)
        health = get(cluster, "health")
        assert health.status_code == 200 and health.json()["problem"]
        ready = get(cluster, "ready")
        assert ready.status_code == 503 and ready.json()["reason"] == health.json()["problem"]
        assert cluster.site.observe().nodes[0].state == "unavailable"
        answer = post(cluster, json=request(document("node.describe", Cluster=where(cluster)))).json()
        assert answer["error"]["message"] == "PostgreSQL does not answer"
    finally:
        aside.rename(data / "global")
    wait_until(lambda: None if get(cluster, "ready").status_code == 200 else get(cluster, "ready").text, "the node is ready", DEADLINE_S)


def test_a_killed_agent_leaves_its_postgresql_and_the_next_up_takes_it_over(cluster):
    server, agent = postmaster(cluster), agent_process(cluster)
    with cluster.connect("node1", "reader") as connection, connection.cursor() as cursor:
        os.kill(agent, signal.SIGKILL)
        # its last thread may end, and free the lock, a moment after the process shows as a zombie
        wait_until(lambda: None if cluster.site.observe().nodes[0].state == "agent down" else "the agent lives", "the agent is gone", DEADLINE_S)
        cursor.execute("SELECT 1")
        cluster.up()
        cursor.execute("SELECT 1")
    assert postmaster(cluster) == server
    assert agent_process(cluster) != agent
    assert cluster.site.observe().nodes[0].state == "ready"


def test_the_agent_that_took_over_watches_the_server_too(cluster):
    os.kill(agent_process(cluster), signal.SIGKILL)
    wait_until(lambda: "running" if cluster.site.runtime.state(cluster.site.spec("node1")) == "running" else None, "the agent has ended", DEADLINE_S)
    cluster.up()
    before = postmaster(cluster)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: None if get(cluster, "ready").status_code == 200 and postmaster(cluster) != before else "not started again",
               "PostgreSQL was started again", DEADLINE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_agent_stops_postgresql_cleanly(cluster, number):
    server, agent = postmaster(cluster), agent_process(cluster)
    assert control_data(cluster) == "in production"
    # a client that stays connected holds nothing up
    with cluster.connect("node1", "reader"):
        os.kill(agent, number)
        wait_until(lambda: f"process {agent} lives" if lives(agent) else None, "it has ended", 20)
    assert not lives(server)
    assert control_data(cluster) == "shut down"
    cluster.up()
    assert cluster.site.observe().nodes[0].state == "ready"


MOMENTS = {
    "at once": lambda cluster: True,
    "when it has its lock": lambda cluster: cluster.site.runtime.state(cluster.site.spec("node1")) == "running",
    "when it has begun to start PostgreSQL": lambda cluster: (folder(cluster) / "data" / "postmaster.pid").exists(),
    "when it answers": lambda cluster: answers(cluster),
}


def answers(cluster) -> bool:
    try:
        return get(cluster, "health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_agent_that_was_just_started_can_be_stopped(cluster, moment):
    cluster.stop("node1")
    cluster.start("node1")
    wait_until(lambda: None if MOMENTS[moment](cluster) else "not yet", moment, DEADLINE_S, pause_s=0.001)
    began = time.monotonic()
    cluster.stop("node1")
    # it waits for nobody who was never told: that would take two minutes
    assert time.monotonic() - began < 60
    assert cluster.site.runtime.state(cluster.site.spec("node1")) == "stopped"
    assert not cluster.site.runtime.has_server(cluster.site.spec("node1"))
    cluster.up()
    assert control_data(cluster) == "in production"


def test_down_after_a_killed_agent_stops_the_postgresql_that_is_left(cluster):
    server, agent = postmaster(cluster), agent_process(cluster)
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: "the agent lives" if lives(agent) else None, "it has ended", DEADLINE_S)
    assert lives(server)
    down(Call(cluster.site.configuration, cluster.config_path, "process"), purge=False)
    assert not lives(server)
    assert control_data(cluster) == "shut down"
    cluster.up()


def test_a_second_agent_of_the_same_node_does_not_run(cluster):
    agent = agent_process(cluster)
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "container.agent", folder(cluster) / "agent.json"], cwd=PROJECT, capture_output=True,
                          text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.strip() == "another agent keeps this node"
    assert agent_process(cluster) == agent and get(cluster, "ready").status_code == 200


# --- something is in the way ---


@contextlib.contextmanager
def listening(address: str, port: int):
    """Listen there, as a program that has nothing to do with us."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((address, port))
        taken.listen()
        yield


@contextlib.contextmanager
def web_server(address: str, port: int):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer((address, port), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refused_up(cluster) -> OrchestratorError:
    began = time.monotonic()
    with pytest.raises(OrchestratorError) as refused:
        cluster.up()
    assert time.monotonic() - began < 20
    return refused.value


def test_postgresqls_port_is_taken(make_cluster):
    made = make_cluster(nodes=1)
    address, port = made.site.runtime.address(made.site.spec("node1")), made.site.configuration.postgresql_port
    with listening(address, port):
        refused = refused_up(made)
        assert f"port {port} of {address} is not free" in refused.detail
        assert "node1" in refused.message and "logs node1" in refused.hint
    made.up()


def test_the_agents_port_is_taken_by_a_program_that_speaks_http(make_cluster):
    made = make_cluster(nodes=1)
    with web_server(made.site.runtime.address(made.site.spec("node1")), made.site.configuration.agent_port):
        refused = refused_up(made)
        assert "foreign program" in str(refused) or "not free" in str(refused)
        assert str(made.site.configuration.agent_port) in str(refused)
    made.up()


def test_the_agents_port_is_taken_by_a_program_that_says_nothing(make_cluster):
    made = make_cluster(nodes=1)
    with listening(made.site.runtime.address(made.site.spec("node1")), made.site.configuration.agent_port):
        refused = refused_up(made)
        assert str(made.site.configuration.agent_port) in str(refused)
        assert "not free" in str(refused) or "foreign program" in str(refused)
    made.up()


def test_another_clusters_agent_is_at_the_address(make_cluster, cluster):
    written = json.loads(cluster.config_path.read_text())
    written["system"]["id"] = "test-other"
    path = cluster.config_path.with_name("test-other.json")
    path.write_text(json.dumps(written))
    site = Site.of(load(path), "process", make=True)
    try:
        with pytest.raises(OrchestratorError) as refused:
            bring_up(site, Progress())
        assert cluster.site.configuration.id in str(refused.value) or "not free" in str(refused.value)
    finally:
        for name in site.runtime.nodes():
            site.runtime.stop(site.spec(name))
        site.agents.close()
    assert cluster.site.observe().nodes[0].state == "ready"


def test_a_state_directory_with_too_long_a_name(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PGUNISON_STATE", str(tmp_path / ("long" * 25)))
    site = Site.of(load(cluster.config_path), "process", make=True)
    with pytest.raises(OrchestratorError, match="too long a name") as refused:
        bring_up(site, Progress())
    assert "PGUNISON_STATE" in refused.value.hint and "107 bytes" in refused.value.detail
    site.agents.close()


# --- ready ---


def test_ready_only_after_the_node_was_admitted(make_cluster):
    made = make_cluster(nodes=1)
    steps = plan(desired(made.site.configuration), made.site.observe())
    assert isinstance(steps[-1], AdmitNode)
    reasons = []
    for step in steps:
        if made.site.runtime.state(made.site.spec("node1")) == "running":
            with contextlib.suppress(httpx.ConnectError):
                response = get(made, "ready")
                assert response.status_code == 503 and response.json()["ready"] is False
                reasons.append(response.json()["reason"])
        step.run(made.site)
    assert reasons[-1] == "the node has not joined the cluster yet"
    answer = get(made, "ready")
    assert answer.status_code == 200
    assert {key: answer.json()[key] for key in ("ready", "reason", "node", "lag")} == {"ready": True, "reason": None, "node": "node1", "lag": []}


def errors_logged(cluster) -> list[str]:
    return [line for path in sorted((folder(cluster) / "log").iterdir()) for line in path.read_text(errors="replace").splitlines() if "ERROR:" in line]


def test_a_database_of_another_version_is_asked_for_nothing_that_it_lacks(cluster):
    with contextlib.closing(cluster.superuser("node1")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT digest FROM unison.node")
        digest, = cursor.fetchone()
        before = errors_logged(cluster)
        # as if it had been made before there were phases
        cursor.execute("ALTER TABLE unison.node RENAME phase TO serving; UPDATE unison.node SET digest = 'another'; SELECT pg_terminate_backend(pid)"
                       " FROM pg_stat_activity WHERE usename = 'unison_agent'")
        try:
            def unsaid() -> str | None:
                found = get(cluster, "ready").text
                said = (folder(cluster) / "agent.log").read_text()
                return None if "does not say how the node does: its database was prepared by another version" in said else found

            wait_until(unsaid, "the pulse has asked, and says why it has no answer", DEADLINE_S)
            assert errors_logged(cluster) == before
        finally:
            cursor.execute("ALTER TABLE unison.node RENAME serving TO phase")
            cursor.execute("UPDATE unison.node SET digest = %s", [digest])
    cluster.up()
    wait_until(lambda: None if get(cluster, "ready").status_code == 200 else get(cluster, "ready").text, "it is ready again", DEADLINE_S)


def test_not_ready_while_a_part_of_the_merge_is_off(cluster):
    with cluster.superuser("node1") as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE table1 DISABLE TRIGGER zzz_unison_merge")
    connection.close()
    # that all was well is remembered for a moment
    wait_until(lambda: None if get(cluster, "ready").status_code == 503 else "ready", "the node is not ready", DEADLINE_S)
    assert "zzz_unison_merge" in get(cluster, "ready").json()["reason"]
    assert cluster.site.observe().nodes[0].state == "faulty"
    cluster.up()
    assert get(cluster, "ready").status_code == 200


# --- hostile callers ---


def where(cluster, node: str = "node1", **children) -> dict:
    configuration = cluster.site.configuration
    spec = cluster.site.spec(node)
    return {"id": configuration.id, "Node": {"name": spec.name, "index": spec.index, "database": configuration.database} | children}


def raw(cluster, data: bytes, timeout_s: float = 10.0) -> bytes:
    """Send bytes to the agent; returns what it answers until it closes, or says nothing more."""
    address = (cluster.site.runtime.address(cluster.site.spec("node1")), cluster.site.configuration.agent_port)
    with socket.create_connection(address, timeout=timeout_s) as connection:
        connection.sendall(data)
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
    return received


@pytest.fixture
def unharmed(cluster):
    """Afterwards the same agent answers, and its PostgreSQL is the same."""
    before = agent_process(cluster), postmaster(cluster)
    yield
    assert get(cluster, "health").json()["problem"] is None
    assert post(cluster, json=request(document("node.describe", Cluster=where(cluster)))).json()["result"]["serving"] is True
    assert (agent_process(cluster), postmaster(cluster)) == before


@pytest.mark.parametrize("data", [
    b"\0" * 1000 + b"\r\n\r\n", b"\xff" * 70000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"])
def test_garbage_on_the_socket(cluster, unharmed, data):
    assert raw(cluster, data).startswith(b"HTTP/1.1 400")


def test_a_huge_body(cluster, unharmed):
    assert post(cluster, content=b"x" * 50_000_000).status_code == 413


def test_a_huge_body_that_is_only_announced(cluster, unharmed):
    head = f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {cluster.site.credentials.token}\r\nContent-Length: 99999999999\r\n\r\n"
    assert raw(cluster, head.encode() + b"x" * 100).startswith(b"HTTP/1.1 413 ")


def test_without_a_token_and_with_a_wrong_one(cluster, unharmed):
    call = request(document("node.describe", Cluster=where(cluster)))
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {cluster.site.credentials.token}x"}):
        assert httpx.post(url(cluster), json=call, headers=headers, trust_env=False).status_code == 401


def test_slow_half_requests_do_not_keep_others_out(cluster, unharmed):
    address = (cluster.site.runtime.address(cluster.site.spec("node1")), cluster.site.configuration.agent_port)
    with contextlib.ExitStack() as open_connections:
        for _ in range(100):
            connection = open_connections.enter_context(socket.create_connection(address, timeout=5))
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Le")
        wait_until(lambda: None if get(cluster, "health").status_code == 200 else f"health is {get(cluster, 'health').status_code}",
                   "the agent answers")


@pytest.mark.parametrize(("code", "body"), [
    (-32700, b"{"), (-32600, b"[]"), (-32600, b"\xff"), (-32601, b'{"jsonrpc": "2.0", "method": "os.system", "params": ["id"], "id": 1}'),
    (-32602, b'{"jsonrpc": "2.0", "method": "esb.execute", "params": {"SYSServiceID": "none"}, "id": 1}')])
def test_each_wrong_call_gets_its_error(cluster, unharmed, code, body):
    assert post(cluster, content=body).json()["error"]["code"] == code


@pytest.mark.parametrize("change", [{"id": "test-other"}, {"Node": {"name": "node2", "index": 1}}, {"Node": {"name": "node1", "index": 2}}])
def test_a_call_for_another_node_changes_nothing(cluster, unharmed, change):
    call = where(cluster)
    call = call | change | {"Node": call["Node"] | change.get("Node", {})}
    answer = post(cluster, json=request(document("node.admit", Cluster=call))).json()
    assert answer["error"]["message"] == "this is another node"
    assert answer["error"]["data"]["detail"] and answer["error"]["data"]["hint"]


def test_a_number_with_a_point_is_answered(cluster, unharmed):
    cluster.query("node1", "INSERT INTO table1 (col1) VALUES ('digest')", role="writer")
    call = {"SYSServiceID": "table.digest", "data": [{"Cluster": where(cluster, Table={"name": "table1", "buckets": 256.0})}]}
    response = post(cluster, json=request(call))
    assert response.status_code == 200 and set(response.json()) & {"result", "error"}


@pytest.mark.parametrize("name", ['"; DROP TABLE public.table1; --', "x'; DROP TABLE public.table1; --", "%s", "{table}", "$body$"])
def test_a_hostile_name_is_only_a_name(cluster, unharmed, name):
    columns = [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": name, "type": "text", "default": name}]
    for table in (name, "t"):
        call = document("table.setup", Cluster=where(cluster, Table={"schema": name, "name": table, "Column": columns}))
        assert post(cluster, json=request(call)).json()["result"]["changed"] is True
        assert post(cluster, json=request(call)).json()["result"]["changed"] is False
    assert cluster.query("node1", "SELECT to_regclass('public.table1') IS NOT NULL") == [(True,)]


@pytest.mark.parametrize("kind", ["int); DROP TABLE public.table1; --", "int DEFAULT pg_sleep(1)", "int /*", "no_such_type", "serial", "record"])
def test_a_hostile_type_is_refused(cluster, unharmed, kind):
    columns = [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "x", "type": kind}]
    call = document("table.setup", Cluster=where(cluster, Table={"name": "hostile", "Column": columns}))
    assert post(cluster, json=request(call)).json()["error"]["data"]["hint"]
    assert cluster.query("node1", "SELECT to_regclass('public.table1') IS NOT NULL, to_regclass('public.hostile') IS NULL") == [(True, True)]


# --- asked twice ---


def children(cluster, service_id: str) -> dict:
    """Return what the service is asked for on node1 of a cluster that is up."""
    site = cluster.site
    table = site.configuration.tables[0]
    named = {"schema": table.schema, "name": table.name}
    return {
        "node.prepare": {"Role": site.roles()},
        "table.setup": {"Table": named | {"Column": [column_description(column) for column in table.columns]}},
        "node.drain": {"by": "ops@host1"},
        "node.resume": {"by": "ops@host1"},
        "node.part": {"peer": "node9"},
        "node.record": {"Entry": services()["node.record"].example()["data"][0]["Cluster"]["Node"]["Entry"]},
        "publication.setup": {"Publication": {}},
        "subscription.setup": {"Subscription": site.subscription("node2")},
        "table.open": {"Table": named},
        "table.conflicts": {"Table": named},
        "table.orphans": {"Table": named},
        "table.digest": {"Table": named},
        "table.versions": {"Table": named | {"wanted": [0]}},
    }.get(service_id, {})


@pytest.mark.parametrize("service_id", services())
def test_every_service_finds_everything_done_when_it_is_called_again(pair, service_id):
    if service_id in ("node.close", "node.drain", "node.record"):
        # what a pair that is up has not been told yet
        assert pair.site.call("node1", service_id, **children(pair, service_id))["changed"]
    for _ in range(2):
        found = pair.site.call("node1", service_id, **children(pair, service_id))
        assert (found["changed"], found["done"]) == (False, [])
    pair.site.call("node1", "node.resume", by="ops@host1")
    if service_id == "node.close":
        for table in pair.site.configuration.tables:
            assert pair.site.call("node1", "table.open", Table={"schema": table.schema, "name": table.name})["changed"]
    assert {link.state for link in pair.site.observe().links} == {"streaming"}


def test_a_service_that_did_something_says_so_and_the_second_call_does_not(pair):
    with pair.connect("node1") as connection, connection.cursor() as cursor:
        cursor.execute("ALTER SUBSCRIPTION unison_node2_to_node1 DISABLE")
    first, second = (pair.site.call("node1", "subscription.setup", **children(pair, "subscription.setup")) for _ in range(2))
    assert (first["changed"], first["done"]) == (True, ["enabled unison_node2_to_node1"])
    assert (second["changed"], second["done"]) == (False, [])
    pair.up()


# --- who may what ---


def refused(cluster, role: str, statement: str) -> str:
    with pytest.raises(psycopg2.Error) as error:
        cluster.query("node1", statement, role=role)
    assert isinstance(error.value, psycopg2.errors.InsufficientPrivilege), error.value
    return str(error.value)


def test_the_owner_may_pause_a_subscription_and_up_resumes_it(pair):
    pair.query("node1", "ALTER SUBSCRIPTION unison_node2_to_node1 DISABLE")
    assert pair.site.observe().link("node2", "node1").state == "disabled"
    pair.query("node2", "INSERT INTO table1 (col1) VALUES ('paused')", role="writer")
    pair.up()
    assert pair.site.observe().link("node2", "node1").state == "streaming"
    wait_until(lambda: None if pair.query("node1", "SELECT 1 FROM table1 WHERE col1 = 'paused'", role="reader") else "the row has not arrived",
               "the row is on node1")


@pytest.mark.parametrize("statement", [
    "SELECT * FROM unison.node", "SELECT * FROM unison.replicated_table", "UPDATE unison.node SET phase = 'joining'", "SELECT subconninfo FROM pg_subscription",
    "SELECT rolpassword FROM pg_authid", "ALTER TABLE table1 DISABLE TRIGGER ALL", "SET session_replication_role = replica", "CREATE TABLE public.mine ()",
    "CREATE SCHEMA mine", "TRUNCATE table1", "DROP TABLE table1", "ALTER SUBSCRIPTION unison_node2_to_node1 DISABLE", "SELECT pg_read_file('/etc/passwd')",
    "COPY table1 TO PROGRAM 'true'", "CREATE TEMPORARY TABLE mine ()"])
@pytest.mark.parametrize("role", ["writer1", "reader1"])
def test_writers_and_readers_may_not(pair, role, statement):
    refused(pair, role, statement)


def test_writers_cannot_see_what_the_merge_keeps(pair):
    rows = pair.query("node1", "SELECT format('%I', relname) FROM pg_class WHERE relnamespace = 'unison'::regnamespace AND relkind = 'r'")
    assert len(rows) >= 6
    for (name,) in rows:
        refused(pair, "writer1", f"SELECT * FROM unison.{name}")
        refused(pair, "reader1", f"SELECT * FROM unison.{name}")


@pytest.mark.parametrize("statement", ["INSERT INTO table1 (col1) VALUES ('x')", "UPDATE table1 SET col1 = 'x'", "DELETE FROM table1",
                                       "SELECT nextval('table1_id_seq')"])
def test_readers_cannot_write(pair, statement):
    refused(pair, "reader1", statement)


def test_writers_and_readers_do_what_they_are_for(pair):
    pair.query("node1", "INSERT INTO table1 (col1) VALUES ('a'); UPDATE table1 SET col2 = 'b' WHERE col1 = 'a'", role="writer2")
    assert ("a", "b") in pair.query("node1", "SELECT col1, col2 FROM table1", role="reader2")
    pair.query("node1", "DELETE FROM table1 WHERE col1 = 'a'", role="writer2")


@pytest.mark.parametrize("statement", ["INSERT INTO table1 (col1) VALUES ('x')", "SELECT * FROM unison.node", "DELETE FROM table1"])
def test_the_replicator_reads_rows_and_no_more(pair, statement):
    pair.query("node1", "SELECT count(*) FROM table1", role="replicator")
    refused(pair, "unison_replicator", statement)


def test_no_role_of_the_cluster_is_a_superuser(pair):
    mighty = "SELECT rolname::text FROM pg_roles WHERE rolsuper OR rolcreaterole OR rolcreatedb"
    assert pair.query("node1", mighty) == [("postgres",)]
    # a seed reads rows whole, whatever policies say
    assert pair.query("node1", "SELECT rolname::text FROM pg_roles WHERE rolbypassrls ORDER BY 1") == [("postgres",), ("unison_replicator",)]
    assert pair.query("node1", "SELECT rolname::text FROM pg_roles WHERE rolreplication ORDER BY 1") == [("postgres",), ("unison_replicator",)]


# over the socket the agent's own user is the superuser, so postgres stands in the first list only
@pytest.mark.parametrize(("over_socket", "user"), [
    *((False, user) for user in ("unison_owner", "unison_replicator", "writer1", "reader1", "postgres", "nobody")),
    *((True, user) for user in ("unison_owner", "unison_replicator", "writer1", "reader1", "nobody"))])
@pytest.mark.parametrize("options", [{}, {"password": "wrong"}, {"password": ""}])
def test_nobody_gets_in_without_a_password(pair, user, options, over_socket, monkeypatch):
    monkeypatch.setenv("PGPASSFILE", "/dev/null")
    configuration = pair.site.configuration
    host = str(folder(pair) / "socket") if over_socket else pair.site.runtime.address(pair.site.spec("node1"))
    with pytest.raises(psycopg2.OperationalError, match="password|no pg_hba.conf entry|pg_hba.conf rejects|authentication failed"):
        psycopg2.connect(host=host, port=configuration.postgresql_port, user=user, dbname=configuration.database, connect_timeout=5, **options)


def test_the_superuser_cannot_come_over_the_network(pair):
    with pair.superuser("node1") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")
        assert cursor.fetchone() == (None,)
        cursor.execute("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust' OR error IS NOT NULL")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolname <> 'postgres' AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'")
        assert cursor.fetchall() == []
    connection.close()
    assert "trust" not in (folder(pair) / "data" / "pg_hba.conf").read_text()


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_other_databases_are_closed_over_the_network(pair, database):
    site = pair.site
    with pytest.raises(psycopg2.OperationalError, match="no pg_hba.conf entry"):
        psycopg2.connect(host=site.runtime.address(site.spec("node1")), port=site.configuration.postgresql_port, user="writer1", dbname=database,
                         password=site.credentials.passwords["writer1"], connect_timeout=5)


# --- secrets ---


def test_no_secret_is_seen_anywhere(pair):
    site = pair.site
    secrets = [secret.encode() for secret in (*site.credentials.passwords.values(), site.credentials.token)]
    # what could spill them: calls that carry passwords, good ones and failing ones
    site.call("node1", "node.prepare", **children(pair, "node.prepare"))
    site.call("node1", "subscription.setup", **children(pair, "subscription.setup"))
    subscription = site.subscription("node2")
    said = []
    for wrong in ({"source": "node9", "host": "127.0.0.1"}, {"source": "node9", "port": 1}, {"source": "node9", "user": "nobody"}):
        with pytest.raises(OrchestratorError) as error:
            site.call("node1", "subscription.setup", Subscription=subscription | wrong)
        said.append(str(error.value))
    roles = site.roles()
    for wrong in ([roles[0] | {"kind": "king"}], roles + [{"name": "x", "kind": "writer"}], roles[1:2], [roles[0] | {"password": roles[0]["password"] * 9}]):
        with pytest.raises(OrchestratorError) as error:
            site.call("node1", "node.prepare", Role=wrong)
        said.append(str(error.value))
    shown = subprocess.run([sys.executable, PROJECT / "orchestrator.py", "--config", pair.config_path, "--runtime", "process", "status", "--json"],
                           capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["nodes"][0]["state"] == "ready"
    places = {"what was said": "\n".join(said).encode(), "status": (shown.stdout + shown.stderr).encode(), "the site": repr(site).encode()}
    private = {site.directory / "secrets" / name for name in ("passwords.json", "passfile", "agent-token")}
    for path in site.directory.rglob("*"):
        if path.is_file() and path not in private and "data" not in path.relative_to(site.directory).parts[2:3]:
            places[str(path)] = path.read_bytes()
    for name in ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf", "postmaster.opts"):
        places[name] = (folder(pair) / "data" / name).read_bytes()
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                places[f"{process}/{name}"] = (process / name).read_bytes()
    assert any(place.endswith("agent.log") for place in places) and any(b"pgunison" in content for place, content in places.items() if "cmdline" in place)
    assert [place for place, content in places.items() if any(secret in content for secret in secrets)] == []


def test_only_their_owner_can_read_them(pair):
    directory = pair.site.directory / "secrets"
    assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == {"passwords.json": 0o600, "passfile": 0o600, "agent-token": 0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    for path in (pair.site.directory / "nodes").glob("*/data"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_connection_string_holds_no_password(pair):
    shown = pair.site.dsn("writer1", "node1")
    assert not any(password in shown for password in pair.site.credentials.passwords.values())
    connection = psycopg2.connect(shown)
    assert connection.info.user == "writer1"
    connection.close()
