"""container/settings.py: postgresql.conf, pg_hba.conf and pg_ident.conf."""

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from container.settings import hba_quoted, pg_hba, pg_ident, postgresql_conf, quoted
from pgunison.configuration.sysconfig import NodeSpec
from pgunison.contract.addresses import places_of_others
from pgunison.contract.agent import AgentConfiguration, User, capacity

CONFIGURATION = AgentConfiguration(
    cluster="lb-test", node="node1", index=1, database="lb-test", address="127.28.64.2", postgresql_port=5432, agent_port=64000, max_nodes=3,
    networks=("127.0.0.0/8", "172.28.64.0/24"), settings=(), directory=Path("/var/lib/pgunison/it's"), binaries=Path("/usr/bin"),
    token_file=Path("/agent-token"), template=None, user=None)


def settings(text: str) -> dict[str, str]:
    """Read postgresql.conf as PostgreSQL does: the last of the same name counts."""
    return {name: value.replace("''", "'").replace("\\\\", "\\") for name, value in re.findall(r"^([\w.]+) = '(.*)'$", text, re.MULTILINE)}


@pytest.mark.parametrize("nodes", [1, 2, 3, 8, 12, 16])
def test_sixteen_nodes_need_no_hand_on_the_file(nodes):
    assert capacity(nodes) >= 16


@pytest.mark.parametrize("nodes", range(1, 65))
def test_there_is_room_for_every_peer_and_to_grow(nodes):
    peers = capacity(nodes) - 1
    assert peers >= nodes
    found = {name: int(value) for name, value in settings(postgresql_conf(replace(CONFIGURATION, max_nodes=nodes), 18)).items() if value.isdigit()}
    assert found["max_replication_slots"] >= peers + 1
    assert found["max_wal_senders"] >= peers + 1
    assert found["max_active_replication_origins"] >= peers + 1
    assert found["max_logical_replication_workers"] >= peers
    assert found["max_worker_processes"] > found["max_logical_replication_workers"]
    assert found["max_connections"] >= 100


def test_every_setting_has_its_reason():
    lines = postgresql_conf(CONFIGURATION, 18).splitlines()
    for before, line in zip(lines, lines[1:], strict=False):
        if not line.startswith("#"):
            assert re.fullmatch(r"[\w.]+ = '.*'", line)
            assert before.startswith("# ") and len(before) > 10, line


def test_no_setting_is_written_twice():
    names = re.findall(r"^([\w.]+) =", postgresql_conf(CONFIGURATION, 18), re.MULTILINE)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("version", "there"), [(16, False), (17, False), (18, True), (19, True)])
def test_origins_have_a_setting_of_their_own_since_18(version, there):
    assert ("max_active_replication_origins" in settings(postgresql_conf(CONFIGURATION, version))) == there


def test_what_the_configuration_adds_stands_last():
    text = postgresql_conf(replace(CONFIGURATION, settings=(("max_connections", "500"), ("work_mem", "it's\\8MB"))), 18)
    assert settings(text)["max_connections"] == "500"
    assert settings(text)["work_mem"] == "it's\\8MB"
    assert text.index("max_connections = '500'") > text.index("cluster_name")


def test_it_listens_at_its_own_address_only():
    found = settings(postgresql_conf(CONFIGURATION, 18))
    assert (found["listen_addresses"], found["port"]) == ("127.28.64.2", "5432")
    assert found["unix_socket_directories"] == "/var/lib/pgunison/it's/socket"
    assert found["password_encryption"] == "scram-sha-256"
    assert found["wal_level"] == "logical"


@pytest.mark.parametrize(("value", "text"), [("a", "'a'"), ("it's", "'it''s'"), ("a\\b", "'a\\\\b'"), ("'; x = '1", "'''; x = ''1'"), (5, "'5'")])
def test_values_are_quoted(value, text):
    assert quoted(value) == text


def test_everybody_needs_a_password():
    lines = [line.split() for line in pg_hba(CONFIGURATION).splitlines() if not line.startswith("#")]
    assert lines == [
        ["local", "all", "postgres", "peer", "map=agent"], ["local", "all", "unison_agent", "peer", "map=agent"],
        ["local", "all", "+unison_replicators", "reject"], ["local", "all", "all", "scram-sha-256"],
        ["host", '"lb-test"', "+unison_replicators", "127.0.0.0/8", "scram-sha-256"],
        ["host", '"lb-test"', "+unison_replicators", "172.28.64.0/24", "scram-sha-256"],
        ["host", "all", "+unison_replicators", "all", "reject"], ["host", "all", "unison_agent", "all", "reject"],
        ["host", '"lb-test"', "all", "127.0.0.0/8", "scram-sha-256"], ["host", '"lb-test"', "all", "172.28.64.0/24", "scram-sha-256"]]


@pytest.mark.parametrize("gateway", ["172.28.64.1", "172.28.64.5", "172.28.64.254"])
def test_only_nodes_replicate_where_they_have_addresses_of_their_own(gateway):
    configuration = replace(CONFIGURATION, gateway=gateway, networks=("172.28.64.0/24",), tls=Path("/tls"))
    lines = [line.split() for line in pg_hba(configuration).splitlines()]
    admitted = [line[3] for line in lines if line[2] == "+unison_replicators" and line[-1] == "scram-sha-256"]
    nodes = [NodeSpec.within(IPv4Network("172.28.64.0/24"), IPv4Address(gateway), f"node{index}", index) for index in range(1, capacity(3) + 1)]
    assert admitted == [f"{node.address}/32" for node in nodes]
    rejected = lines.index(["host", "all", "+unison_replicators", "all", "reject"])
    assert all(number <= rejected for number, line in enumerate(lines) if line[2] == "+unison_replicators")
    assert rejected < next(number for number, line in enumerate(lines) if line[2:] == ["all", "172.28.64.0/24", "scram-sha-256"])


@pytest.mark.parametrize(("subnet", "gateway", "max_nodes", "expected"), [
    ("172.28.64.0/24", "172.28.64.1", 3, "172.28.64.128/25"), ("172.28.64.0/24", "172.28.64.254", 100, "172.28.64.192/26"),
    ("172.28.64.0/24", "172.28.64.1", 160, "172.28.64.248/29"), ("10.0.0.0/16", "10.0.0.1", 3, "10.0.128.0/17"), ("10.0.0.0/28", "10.0.0.1", 3, None)])
def test_others_have_no_node_s_address(subnet, gateway, max_nodes, expected):
    found = places_of_others(IPv4Network(subnet), IPv4Address(gateway), max_nodes)
    assert found == (IPv4Network(expected) if expected else None)
    last = NodeSpec.within(IPv4Network(subnet), IPv4Address(gateway), "last", capacity(max_nodes))
    assert found is None or IPv4Address(last.address) < found.network_address


@pytest.mark.parametrize("database", ["all", "replication", "sameuser", 'a"b', "a b", "#"])
def test_a_database_with_a_meaning_of_its_own(database):
    # a name in quotes is never a keyword
    assert f"host {hba_quoted(database)} all" in pg_hba(replace(CONFIGURATION, database=database))
    assert hba_quoted(database) == '"' + database.replace('"', '""') + '"'


def test_the_agents_user_is_the_superuser_on_the_socket(monkeypatch):
    monkeypatch.setattr("container.settings.os.getuid", lambda: 1000)
    monkeypatch.setattr("container.settings.getpass.getuser", lambda: "somebody")
    assert pg_ident(CONFIGURATION) == 'agent "somebody" postgres\nagent "somebody" unison_agent\n'


def test_root_and_the_servers_own_user_are_too(monkeypatch):
    monkeypatch.setattr("container.settings.os.getuid", lambda: 0)
    assert pg_ident(replace(CONFIGURATION, user=User("nobody", 65534, 65534))) == (
        'agent "nobody" postgres\nagent "nobody" unison_agent\nagent "root" postgres\nagent "root" unison_agent\n')
