"""Load balancing, as far as it needs no PostgreSQL; pgdbpool's module is replaced where it would connect."""

import logging
import os
import socket
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest
from pgdbpool import pool as pgdbpool

from pgunison import balance
from pgunison.balance import Balancer, sqlstate
from pgunison.configuration.sysconfig import load
from pgunison.errors import OrchestratorError, UsageError

CONFIGURATION = load(Path(__file__).resolve().parents[2] / "sysconfig.json")
ADDRESSES = {"node1": "127.28.64.2", "node2": "127.28.64.3", "node3": "127.28.64.4"}


@pytest.fixture
def site():
    return SimpleNamespace(configuration=CONFIGURATION, security=dict, runtime=SimpleNamespace(address=lambda node: ADDRESSES[node.name]),
                           credentials=SimpleNamespace(passwords={role.name: f"secret of {role.name}" for role in CONFIGURATION.roles}))


class FakePool:
    """What a Balancer uses of a loaded pgdbpool module; ``fails`` makes ``init`` end as it does when a node is down."""

    def __init__(self, fails: bool = False):
        self.fails, self.config, self.closed = fails, None, 0
        self.Connection = self
        self.Handler = lambda group: nullcontext(SimpleNamespace(conn_ref=SimpleNamespace(info=SimpleNamespace(host="127.28.64.3"))))

    def init(self, config: dict) -> None:
        self.config = self._config = config
        (group,) = config["groups"].values()
        group["connections"] = [(self, "free"), (None, "connecting")]
        if self.fails:
            raise pgdbpool.DBConnectionError

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def pools(monkeypatch):
    """The pools that stand for the loaded modules, by group; every node answers."""
    made = {group.name: FakePool() for group in CONFIGURATION.groups}
    monkeypatch.setattr(balance, "_load", made.get)
    monkeypatch.setattr(balance, "_problem", lambda server, port: None)
    monkeypatch.delenv("PGPORT", raising=False)
    monkeypatch.setenv("PGOPTIONS", "-c geqo=off")
    return made


def test_each_group_has_every_node_as_a_server_with_its_own_role(site, pools):
    with Balancer(site):
        for name, pool in pools.items():
            servers = pool.config["db"]
            assert [server["host"] for server in servers] == list(ADDRESSES.values())
            assert {(server["user"], server["pass"], server["name"]) for server in servers} == {(name, f"secret of {name}", "lb-test")}


def test_each_group_has_its_connections_for_every_node(site, pools):
    with Balancer(site):
        groups = {name: pool.config["groups"][name] for name, pool in pools.items()}
    assert {name: (group["connection_count"], group["autocommit"]) for name, group in groups.items()} == {
        "writer1": (6, True), "writer2": (6, False), "reader1": (6, True), "reader2": (6, True)}


def test_opens_only_the_groups_that_are_named(site, pools):
    with Balancer(site, ["reader2"]):
        assert [name for name, pool in pools.items() if pool.config] == ["reader2"]


def test_every_wait_for_a_server_is_limited(site, pools):
    with Balancer(site, ["reader1"]):
        assert all(server["connect_timeout"] == 5 and server["query_timeout"] == 10_000 for server in pools["reader1"].config["db"])


def test_the_port_is_set_while_open_and_what_was_before_comes_back(site, pools):
    with Balancer(site):
        assert os.environ["PGPORT"] == "5432"
        os.environ["PGOPTIONS"] = "as pgdbpool sets it"
    assert "PGPORT" not in os.environ and os.environ["PGOPTIONS"] == "-c geqo=off"


def test_close_closes_every_connection_once(site, pools):
    balancer = Balancer(site)
    balancer.close()
    balancer.close()
    assert [pool.closed for pool in pools.values()] == [1, 1, 1, 1]


def test_a_group_that_cannot_connect_is_named_and_nothing_stays_open(site, pools):
    pools["reader1"].fails = True
    with pytest.raises(OrchestratorError, match="the connections of reader1 cannot be made"):
        Balancer(site)
    assert [pools[name].closed for name in ("writer1", "writer2", "reader1")] == [1, 1, 1]
    assert "PGPORT" not in os.environ


def test_a_group_that_is_not_configured_is_refused_with_those_that_are(site, pools):
    with pytest.raises(UsageError, match="no group is named editor") as caught:
        Balancer(site, ["editor"])
    assert caught.value.detail == "the groups are writer1, writer2, reader1, reader2"


def test_a_group_that_is_not_open_is_refused(site, pools):
    with Balancer(site, ["reader1"]) as balancer, pytest.raises(OrchestratorError) as caught, balancer.handler("writer1"):
        pass
    assert (caught.value.message, caught.value.detail) == ("the balancer has no group writer1", "it has reader1")


def test_tells_the_node_of_a_connection(site, pools):
    with Balancer(site) as balancer, balancer.handler("writer1") as db:
        assert balancer.node(db) == "node2"


def test_waiting_for_a_free_connection_ends(site, pools, monkeypatch):
    monkeypatch.setattr(balance, "FREE_TIMEOUT_S", 0.01)
    with Balancer(site) as balancer:
        borrowed = [balancer.handler("writer1") for _ in range(7)]
        for handler in borrowed[:6]:
            handler.__enter__()
        with pytest.raises(OrchestratorError, match="no connection of writer1 became free"):
            borrowed[6].__enter__()
        borrowed[0].__exit__(None, None, None)
        with balancer.handler("writer1"):
            pass


def test_nodes_that_do_not_answer_are_named_all_at_once(site, monkeypatch):
    """Without a server: the ports of these addresses are closed."""
    with socket.socket() as unused:
        unused.bind((ADDRESSES["node1"], 0))
        port = unused.getsockname()[1]
    monkeypatch.setattr(balance, "_load", lambda group: pytest.fail("pgdbpool must not be asked"))
    site.configuration = SimpleNamespace(nodes=CONFIGURATION.nodes, groups=CONFIGURATION.groups, database="lb-test", postgresql_port=port)
    with pytest.raises(OrchestratorError, match="node1, node2, node3 cannot be reached") as caught:
        Balancer(site)
    assert caught.value.detail.count("refused") == 3 and "secret" not in str(caught.value)
    assert caught.value.hint == "python3 orchestrator.py up"


def test_a_group_has_a_pool_of_its_own_and_all_share_the_errors():
    first, second = balance._load("first"), balance._load("second")
    assert first.Connection is not second.Connection
    for name in balance.ERRORS:
        assert getattr(first, name) is getattr(second, name) is getattr(pgdbpool, name)


def test_pgdbpool_does_not_log_passwords(caplog, monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "what pgdbpool overwrites")
    with caplog.at_level(logging.DEBUG):
        pool = balance._load("quiet")
        pool.Connection.init({"db": {"host": "x", "pass": "secret"}, "groups": {"quiet": {"connection_count": 0}}})
    assert "secret" not in caplog.text


def test_sqlstate_is_that_of_the_error_behind():
    class Refused(psycopg2.Error):
        pgcode = "42501"

    try:
        try:
            raise Refused
        except psycopg2.Error as error:
            raise pgdbpool.DBQueryError(repr(error))  # noqa: B904 -- as pgdbpool raises it
    except pgdbpool.DBQueryError as error:
        assert sqlstate(error) == "42501"
    assert sqlstate(Refused()) == "42501"
    assert sqlstate(pgdbpool.DBQueryError("alone")) is None
    assert sqlstate(psycopg2.InterfaceError("connection already closed")) is None
