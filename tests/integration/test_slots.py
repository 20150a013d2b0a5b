"""pgunison/pool/slots.py: each defect of pgdbpool 1.0.2, shown in pgdbpool as it is, and its absence here.

That an application starts with a node down, and that connections return to a node that returns, is in test_pool.py for the pool.
"""

import contextlib
import os
import threading
from types import ModuleType

import psutil
import psycopg2
import pytest

from pgunison.contract.waiting import wait_until
from pgunison.pool.slots import Slots, _load

pytestmark = pytest.mark.process_runtime("pgdbpool is told one port for all, and no certificates")
DEADLINE_S = 30


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2).up()


@pytest.fixture
def server(cluster, monkeypatch):
    """What pgdbpool needs to reach a node: ``server("node1")``."""
    configuration = cluster.site.configuration
    monkeypatch.setenv("PGPORT", str(configuration.postgresql_port))
    monkeypatch.delenv("PGOPTIONS", raising=False)
    role = configuration.role("writer").name

    def of(node: str) -> dict:
        return {"host": cluster.site.runtime.address(cluster.site.spec(node)), "name": configuration.database, "user": role,
                "pass": cluster.site.credentials.passwords[role], "connect_timeout": 5}

    return of


@pytest.fixture
def plain(server, monkeypatch) -> ModuleType:
    """pgdbpool as it is, in a module of its own; ``plain.start(count, *nodes)`` makes the group ``g``."""
    monkeypatch.setenv("PGOPTIONS", "")
    module = _load("plain_pgdbpool")

    def start(count: int, *nodes: str) -> None:
        module.Connection.init({"db": [server(node) for node in nodes], "groups": {"g": {"connection_count": count, "autocommit": False}}})

    module.start = start
    yield module
    for connection, _ in getattr(module.Connection, "_config", {}).get("groups", {}).get("g", {}).get("connections", []):
        if connection is not None:
            connection.close()


@pytest.fixture
def ours(cluster, server):
    """Our guard: ``open()`` takes one of two slots of node1."""
    slots, made, configuration = Slots(), [], cluster.site.configuration
    told = server("node1")

    class Ours:
        def open(self, count: int = 2):
            made.append(slots.open("g@node1", count, False, {
                "host": told["host"], "port": configuration.postgresql_port, "dbname": told["name"], "user": told["user"], "password": told["pass"],
                "sslmode": "disable", "connect_timeout": 5}))
            return made[-1]

        def close(self, handler) -> None:
            made.remove(handler)
            slots.close(handler)

        def status(self) -> list[str]:
            return slots.status("g@node1")

        module = slots._module

    yield Ours()
    for handler in made:
        slots.close(handler)


def kill(cluster, connection, node: str = "node1") -> None:
    """End a connection from outside."""
    superuser = cluster.superuser(node)
    superuser.autocommit = True
    superuser.cursor().execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")
    superuser.close()


def test_start_with_a_node_down(plain, ours, server):
    plain.start(1, "node1")
    with pytest.raises(plain.DBConnectionError):
        plain.Connection.init({"db": [server("node1") | {"host": "127.0.0.99"}, server("node1")],
                               "groups": {"g": {"connection_count": 2, "autocommit": False}}})
    # nothing is connected before somebody needs it, so there is nothing that could fail
    assert ours.status() == [] and ours.open().conn_ref.closed == 0


def test_the_slot_of_a_lost_connection_and_interface_error(plain, ours):
    plain.start(1, "node1")
    with pytest.raises(psycopg2.InterfaceError), plain.Handler("g") as db, pytest.raises(plain.DBQueryError):
        db.query("SELECT pg_terminate_backend(pg_backend_pid())")
    assert plain.Connection._config["groups"]["g"]["connections"][0][1] == "occupied"
    for _ in range(5):
        handler = ours.open(1)
        with pytest.raises(psycopg2.OperationalError):
            handler.conn_ref.cursor().execute("SELECT pg_terminate_backend(pg_backend_pid())")
        ours.close(handler)
        assert ours.status() == ["free"]


def test_a_handler_that_ends_after_its_connection_died_raises_nothing(plain, ours):
    plain.start(1, "node1")
    dead = plain.Handler("g")
    dead.conn_ref.close()
    with pytest.raises(psycopg2.InterfaceError):
        dead.__exit__(None, None, None)
    handler = ours.open()
    handler.conn_ref.close()
    handler.__exit__(None, None, None)
    ours.module.Connection.set_connection_status(handler._connection, "occupied")


def test_a_slot_is_not_marked_free_while_it_is_in_use(plain, ours, cluster):
    plain.start(1, "node1")
    with plain.Handler("g") as first:
        kill(cluster, first.conn_ref)
        first.query("INSERT INTO table1 (col1) VALUES ('uncommitted')")
        with plain.Handler("g") as second:
            # another borrower, on the same connection, in the same transaction
            assert second.query("SELECT count(*) FROM table1 WHERE col1 = 'uncommitted'").fetchone()[0] == 1
            second.conn_ref.rollback()
        first.conn_ref = second.conn_ref
    handler = ours.open(1)
    kill(cluster, handler.conn_ref)
    ours.module.Connection._dbiter_ref = iter([{"name": "", "user": "", "host": "", "pass": "", "ssl": "disable"}])
    ours.module.Connection.connect(handler._connection)
    assert ours.status() == ["occupied"]


def test_no_handler_keeps_the_connection_of_before(plain, ours, cluster):
    plain.start(1, "node1")
    first = plain.Handler("g")
    kill(cluster, first.conn_ref)
    first.query("SELECT 1")
    current, _ = plain.Connection.get_connection(first._connection)
    assert first.conn_ref is not current and first.conn_ref.closed
    handler = ours.open()
    kill(cluster, handler.conn_ref)
    ours.close(handler)
    handler = ours.open()
    assert handler.conn_ref is ours.module.Connection.get_connection(handler._connection)[0]
    assert not handler.conn_ref.closed


def test_connections_stay_with_their_node(plain, server, cluster):
    plain.start(2, "node1", "node2")
    hosts = {node: server(node)["host"] for node in cluster.names()}

    def connected() -> list[str]:
        return [connection.info.host for connection, _ in plain.Connection._config["groups"]["g"]["connections"]]

    assert connected() == [hosts["node1"], hosts["node2"]]
    with plain.Handler("g"), plain.Handler("g") as second:
        kill(cluster, second.conn_ref, "node2")
        with contextlib.suppress(plain.DBQueryError):
            second.query("SELECT 1")
        second.conn_ref = plain.Connection.get_connection(second._connection)[0]
    # nothing ever brings it back; here a group of pgdbpool is one node's (Slots.open)
    assert connected() == [hosts["node1"], hosts["node1"]]


def test_a_frozen_node_holds_nobody_for_ever(plain, cluster):
    """Plain: as long as it is frozen. Here: the pool cuts the connection, test_pool.py; this shows that there is something to cut."""
    plain.start(1, "node1")
    handler = plain.Handler("g")
    backend = psutil.Process(cluster.process("node1", handler.conn_ref.info.backend_pid))
    backend.suspend()
    caller = threading.Thread(target=lambda: handler.query("SELECT 1"))
    try:
        caller.start()
        caller.join(1.5)
        assert caller.is_alive()
    finally:
        backend.resume()
    caller.join(DEADLINE_S)
    assert not caller.is_alive()
    handler.__exit__(None, None, None)


def test_no_ping_before_each_statement(plain, ours):
    plain.start(1, "node1")
    for module in (plain, ours.module):
        pings, check = [], module.Query.check_db
        module.Query.check_db = staticmethod(lambda connection, pings=pings, check=check: (pings.append(1), check(connection)))
        module.pings = pings
    with plain.Handler("g") as db:
        for _ in range(3):
            db.query("SELECT 1")
    assert len(plain.pings) == 3
    cursor = ours.open().conn_ref.cursor()
    for _ in range(3):
        cursor.execute("SELECT 1")
    assert ours.module.pings == []


def test_the_process_has_its_own_environment(plain, server):
    plain.start(1, "node1")
    assert "statement_timeout" in os.environ["PGOPTIONS"]
    os.environ["PGOPTIONS"] = ""
    Slots()
    assert os.environ["PGOPTIONS"] == ""


def test_a_port_and_settings_of_its_own(ours, cluster, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")
    assert ours.open().conn_ref.info.port == cluster.site.configuration.postgresql_port


def test_two_pools_of_a_process_are_two(ours):
    assert Slots()._module is not ours.module
    ours.open()
    assert Slots().status("g@node1") == [] and ours.status().count("occupied") == 1


def test_many_open_and_close_at_once(ours):
    """Never two on one slot, never more than there are."""
    faults: list[object] = []
    room, holders = threading.BoundedSemaphore(2), set()

    def call() -> None:
        for _ in range(10):
            with room:
                try:
                    handler = ours.open()
                    if handler._connection in holders:
                        faults.append("two on one slot")
                    holders.add(handler._connection)
                    handler.conn_ref.cursor().execute("SELECT 1")
                    holders.remove(handler._connection)
                    ours.close(handler)
                except Exception as error:
                    faults.append(error)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not faults
    wait_until(lambda: None if set(ours.status()) == {"free"} else ours.status(), "all slots are free", DEADLINE_S)
