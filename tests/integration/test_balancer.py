"""``balancer`` with a real HAProxy: a port to write, one to read, a page; nodes that go and come."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections import Counter

import httpx
import psycopg2
import pytest

from pgunison.commands import balancer as command
from pgunison.contract.waiting import wait_until
from pgunison.errors import OrchestratorError
from tests.integration import orchestrator

DEADLINE_S = 60


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster().up()


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def test_prints_what_it_would_run_with(cluster):
    done = orchestrator.run(cluster, "balancer", "--print", "--write", "7000", "--max-lag", "3")
    for node in cluster.site.configuration.nodes:
        assert done.stdout.count(f"server {node.name} {cluster.site.runtime.address(node)}:{cluster.site.configuration.postgresql_port} check") == 3
    assert "bind 127.0.0.1:7000" in done.stdout and "max_lag_s=3" in done.stdout
    assert not any(password in done.stdout for password in cluster.site.credentials.passwords.values())


def test_says_where_haproxy_comes_from(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(command, "PLACES", "/nowhere")
    with pytest.raises(OrchestratorError) as refused:
        command.found_program()
    assert "apt-get install haproxy" in refused.value.hint


@contextlib.contextmanager
def running(cluster, number: int = signal.SIGINT):
    """A running balancer: its ports to write, to read and of its page, and its process; ended by that signal."""
    if not (shutil.which("haproxy") or shutil.which("haproxy", path=command.PLACES)):
        # what CI installs it must not lack
        (pytest.fail if os.environ.get("PGUNISON_REQUIRE_HAPROXY") else pytest.skip)("there is no HAProxy on this machine: apt-get install haproxy")
    write, read, statistics = free_ports(3)
    process = subprocess.Popen(orchestrator.command_line(cluster, "balancer", "--write", str(write), "--read", str(read), "--statistics", str(statistics),
                                                         "--max-lag", "5"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert f"write: 127.0.0.1:{write}" in process.stdout.readline()
        yield write, read, statistics, process
    finally:
        process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE_S)
    # that is how it is ended, and no error
    assert process.returncode == 0 and "error:" not in errors and "Traceback" not in errors, errors
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", write)), "HAProxy is still there"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_leaves_no_haproxy_behind(cluster, number):
    with running(cluster, number) as (write, *_):
        wait_until(lambda: None if ask(cluster, write, "writer", "SELECT 1") else "no answer", "it serves", DEADLINE_S)


def ask(cluster, port: int, kind: str, statement: str):
    """Ask through a port, in a connection of its own; None when there is no answer now."""
    role = cluster.site.configuration.role(kind).name
    security = {"sslmode": "verify-ca", "sslrootcert": cluster.site.security()["sslrootcert"]} if cluster.site.security() else {}
    try:
        connection = psycopg2.connect(host="127.0.0.1", port=port, user=role, password=cluster.site.credentials.passwords[role],
                                      dbname=cluster.site.configuration.database, connect_timeout=5, **security)
    except psycopg2.OperationalError:
        return None
    with contextlib.closing(connection), connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def used(cluster, port: int, kind: str) -> Counter:
    return Counter(ask(cluster, port, kind, "SELECT host(inet_server_addr())") for _ in range(12))


@pytest.fixture
def balancer(cluster):
    with running(cluster) as found:
        yield found


def test_writes_reads_and_follows(cluster, balancer):
    write, read, statistics, process = balancer
    addresses = {node.name: cluster.site.runtime.address(node) for node in cluster.site.configuration.nodes}
    for port, kind in ((write, "writer"), (read, "reader")):
        wait_until(lambda port=port, kind=kind: None if set(used(cluster, port, kind)) == set(addresses.values()) else "not all",
                   f"all nodes serve {kind}s", DEADLINE_S)
    assert ask(cluster, write, "writer", "INSERT INTO table1 (col1) VALUES ('by HAProxy') RETURNING col1") == "by HAProxy"
    page = httpx.get(f"http://127.0.0.1:{statistics}/")
    assert page.status_code == 200 and all(name in page.text for name in ("pgunison", *addresses))
    # a node goes: nobody is sent there, and there is no error
    cluster.site.runtime.stop(cluster.site.spec("node2"))
    try:
        wait_until(lambda: None if set(used(cluster, read, "reader")) == {addresses["node1"], addresses["node3"]} else "it is used", "node2 is out", DEADLINE_S)
    finally:
        cluster.up()
    wait_until(lambda: None if set(used(cluster, write, "writer")) == set(addresses.values()) else "not all", "node2 is back", DEADLINE_S)
    # the cluster has other nodes: HAProxy is told
    told = cluster.site.endpoints()
    type(told)(told.cluster, told.database, told.nodes[:1], told.root_certificate).write(cluster.site.directory)
    try:
        assert process.stdout.readline() == "nodes: node1\n"
        wait_until(lambda: None if set(used(cluster, read, "reader")) == {addresses["node1"]} else "others are used", "node1 serves alone", DEADLINE_S)
    finally:
        told.write(cluster.site.directory)
    assert process.stdout.readline() == "nodes: node1, node2, node3\n"
