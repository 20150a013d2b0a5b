"""pgunison/configuration/sysconfig.py and pgunison/configuration/checks.py: what loads, and what each wrong value is told."""

import copy
import json
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from pgunison.configuration import checks
from pgunison.configuration.checks import SCHEMA
from pgunison.configuration.sysconfig import Column, Function, Group, NodeSpec, Role, Table, load
from pgunison.errors import UsageError

DEFAULT = Path(__file__).parents[2] / "sysconfig.json"
HOSTILE = '"Order; --'

CONFIG = ("system", "config")
NETWORK = ("system", "networks", 0)
SCALE = (*NETWORK, "config", "scale")
IPV4 = (*NETWORK, "config", "net", "ipv4")
COLUMNS = (*CONFIG, "tables", 0, "columns")
ABSENT = object()

AT_CONFIG = "$.system.config"
AT_NETWORK = "$.system.networks[0]"
AT_SCALE = "$.system.networks[0].config.scale"
AT_IPV4 = "$.system.networks[0].config.net.ipv4"
AT_COLUMNS = "$.system.config.tables[0].columns"

A_NAME = "a name of 1 to 63 bytes without control characters"
A_COLUMN_NAME = (f"{A_NAME}, not one of the row's version (modified_ts, modified_node, unison_...)"
                 " or of PostgreSQL (ctid, xmin, xmax, cmin, cmax, tableoid)")
A_DATABASE_NAME = f"{A_NAME}, none of PostgreSQL's own databases postgres, template0 and template1"
A_SCHEMA_NAME = f"{A_NAME}, not that of pgunison (unison) or of PostgreSQL (information_schema, pg_...)"
A_ROLE_NAME = (
    "a role name of 1 to 31 characters a-z, 0-9 and _, not beginning with a digit or pg_, "
    "and none of postgres, public, none, unison_agent and the groups unison_writers, unison_readers and unison_replicators"
)
AN_ID = "an id of 1 to 32 characters a-z, 0-9 and -, beginning with a letter"
A_NODE_NAME = "a node name of 1 to 16 characters a-z and 0-9, beginning with a letter"
A_NETWORK_ADDRESS = "the IPv4 address of a network, like 172.28.64.0"
A_FUNCTION = "one of now, clock_timestamp, statement_timestamp, gen_random_uuid and uuidv7"
A_DEFAULT = 'a text without NUL, a number, true, false, null or {"function": NAME}'
ONE_LINE = "a text of one line, a number, true or false"


def changed(*changes: tuple) -> dict:
    """Return the default with each (path, value) put in; ABSENT removes, a list position past the end appends."""
    document = json.loads(DEFAULT.read_text("utf-8"))
    for path, value in changes:
        holder = document
        for step in path[:-1]:
            holder = holder[step]
        if value is ABSENT:
            del holder[path[-1]]
        elif isinstance(holder, list) and path[-1] == len(holder):
            holder.append(copy.deepcopy(value))
        else:
            holder[path[-1]] = copy.deepcopy(value)
    return document


@pytest.fixture
def load_text(tmp_path):
    def load_text(text: str | bytes):
        path = tmp_path / "sysconfig.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path)

    return load_text


@pytest.fixture
def load_changed(load_text):
    return lambda *changes: load_text(json.dumps(changed(*changes)))


@pytest.fixture
def refusal(load_changed):
    """Load the default with changes that must be refused; return the lines of the detail without their indentation."""

    def refusal(*changes: tuple) -> list[str]:
        with pytest.raises(UsageError) as caught:
            load_changed(*changes)
        lines = caught.value.detail.split("\n")
        assert not lines[0].startswith(" ")
        assert all(line.startswith("        $") for line in lines[1:])
        count = "1 value is wrong" if len(lines) == 1 else f"{len(lines)} values are wrong"
        assert caught.value.message.endswith(f"sysconfig.json: {count}")
        assert caught.value.hint
        return [line.strip() for line in lines]

    return refusal


def nodes(*specifications: tuple) -> list[dict]:
    return [{"name": name, "index": index} for name, index in specifications]


# --- what loads ---


def test_the_default_loads_as_it_is_written():
    configuration = load(DEFAULT)
    assert (configuration.id, configuration.database, configuration.network_id) == ("lb-test", "lb-test", "lb-test-net")
    assert (configuration.postgresql_port, configuration.agent_port) == (5432, 64000)
    assert (configuration.min_nodes, configuration.max_nodes) == (3, 3)
    assert (configuration.subnet, configuration.gateway) == (IPv4Network("172.28.64.0/24"), IPv4Address("172.28.64.1"))
    assert configuration.settings == ()
    assert configuration.password_file is None
    assert configuration.groups[1] == Group("writer2", "writer2", 2, False)
    assert [role.name for role in configuration.roles] == [
        "unison_owner", "unison_replicator", "writer1", "writer2", "reader1", "reader2",
    ]
    assert configuration.tables == (
        Table("public", "table1", (
            Column("id", "bigserial", True, False, None),
            Column("col1", "text", False, True, None),
            Column("col2", "text", False, True, None),
        )),
    )
    assert configuration.nodes == (
        NodeSpec("node1", 1, "172.28.64.2", "127.28.64.2"),
        NodeSpec("node2", 2, "172.28.64.3", "127.28.64.3"),
        NodeSpec("node3", 3, "172.28.64.4", "127.28.64.4"),
    )


def test_two_loads_are_equal_and_hashable():
    assert load(DEFAULT) == load(DEFAULT)
    assert hash(load(DEFAULT)) == hash(load(DEFAULT))


def test_a_key_written_with_its_default_changes_nothing(load_changed):
    written = load_changed(
        ((*COLUMNS, 0, "nullable"), False), ((*COLUMNS, 1, "nullable"), True), ((*COLUMNS, 1, "primary_key"), False),
        ((*COLUMNS, 1, "default"), None), ((*NETWORK, "nodes"), nodes(("node1", 1), ("node2", 2), ("node3", 3))),
    )
    left_out = load_changed(
        ((*CONFIG, "tables", 0, "schema"), ABSENT), ((*CONFIG, "groups", 0, "connections_per_node"), ABSENT),
        ((*CONFIG, "groups", 0, "autocommit"), ABSENT),
    )
    assert written == left_out == load(DEFAULT)


def test_the_first_role_of_a_kind_is_returned():
    assert load(DEFAULT).role("writer") == Role("writer1", "writer")
    assert load(DEFAULT).role("replicator") == Role("unison_replicator", "replicator")


def test_a_whole_number_with_a_decimal_point_becomes_an_int(load_changed):
    configuration = load_changed(((*SCALE, "max_nodes"), 3.0), ((*COLUMNS, 1, "default"), 4.0))
    assert configuration.max_nodes == 3
    assert type(configuration.max_nodes) is int
    assert type(configuration.tables[0].columns[1].default) is int


@pytest.mark.parametrize(("default", "loaded"), [
    ("it's", "it's"), (0, 0), (1.5, 1.5), (True, True), (None, None),
    ({"function": "gen_random_uuid"}, Function("gen_random_uuid")),
])
def test_a_column_default_is_a_literal_or_a_function(load_changed, default, loaded):
    assert load_changed(((*COLUMNS, 1, "default"), default)).tables[0].columns[1].default == loaded


def test_settings_are_sorted_texts(load_changed):
    settings = {"work_mem": "4MB", "fsync": False, "auto_explain.log_analyze": True, "random_page_cost": 1.1, "geqo": 3}
    assert load_changed(((*CONFIG, "postgresql"), settings)).settings == (
        ("auto_explain.log_analyze", "on"), ("fsync", "off"), ("geqo", "3"), ("random_page_cost", "1.1"),
        ("work_mem", "4MB"),
    )


def test_the_password_file_is_relative_to_the_configuration(load_changed, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    loaded = load_changed(((*CONFIG, "passwords"), {"file": "secret/passwords"}))
    assert loaded.password_file == tmp_path / "secret" / "passwords"
    assert load_changed(((*CONFIG, "passwords"), {"file": "/etc/pw"})).password_file == Path("/etc/pw")


def test_the_password_file_is_absolute_when_the_configuration_is_named_relatively(load_changed, tmp_path, monkeypatch):
    load_changed(((*CONFIG, "passwords"), {"file": "passwords"}))
    monkeypatch.chdir(tmp_path)
    assert load(Path("sysconfig.json")).password_file == tmp_path / "passwords"


@pytest.mark.parametrize("name", [HOSTILE, "'; DROP TABLE x", "%s %(a)s {0}", " ", "ü" * 31 + "x", "x" * 63])
def test_hostile_names_are_accepted(load_changed, name):
    table = {"schema": name, "name": name, "columns": [{"name": name, "type": "text", "primary_key": True}]}
    configuration = load_changed(((*CONFIG, "database"), name), ((*CONFIG, "tables", 1), table))
    assert configuration.database == name
    assert configuration.tables[1] == Table(name, name, (Column(name, "text", True, False, None),))


def test_one_table_name_may_stand_in_two_schemas(load_changed):
    other = {"schema": "other", "name": "table1", "columns": [{"name": "id", "type": "int", "primary_key": True}]}
    assert len(load_changed(((*CONFIG, "tables", 1), other)).tables) == 2


def test_a_byte_order_mark_is_read_over(load_text):
    assert load_text(b"\xef\xbb\xbf" + DEFAULT.read_bytes()) == load(DEFAULT)


# --- nodes and their addresses ---


def test_named_nodes_have_the_address_of_their_index(load_changed):
    loaded = load_changed(((*NETWORK, "nodes"), nodes(("paris", 7), ("oslo", 250), ("rome", 1))))
    assert [(node.name, node.index, node.address) for node in loaded.nodes] == [
        ("paris", 7, "172.28.64.8"), ("oslo", 250, "172.28.64.251"), ("rome", 1, "172.28.64.2"),
    ]


def test_a_gateway_in_the_middle_is_left_out(load_changed):
    loaded = load_changed(((*IPV4, "gateway"), "172.28.64.3"), ((*SCALE, "max_nodes"), 4))
    assert [node.address for node in loaded.nodes] == ["172.28.64.1", "172.28.64.2", "172.28.64.4", "172.28.64.5"]


@pytest.mark.parametrize("gateway", range(1, 7))
def test_a_full_subnet_gives_each_host_address_once(load_changed, gateway):
    loaded = load_changed(
        ((*IPV4, "subnet"), "10.1.2.8"), ((*IPV4, "netbits"), 29), ((*IPV4, "gateway"), f"10.1.2.{8 + gateway}"),
        ((*SCALE, "max_nodes"), 5),
    )
    hosts = [f"10.1.2.{8 + host}" for host in range(1, 7) if host != gateway]
    assert [node.address for node in loaded.nodes] == hosts
    assert [node.loopback for node in loaded.nodes] == [host.replace("10.", "127.", 1) for host in hosts]


def test_an_address_goes_past_the_last_octet(load_changed):
    loaded = load_changed(
        ((*IPV4, "subnet"), "10.0.0.0"), ((*IPV4, "netbits"), 8), ((*IPV4, "gateway"), "10.0.0.200"),
        ((*SCALE, "min_nodes"), 1), ((*SCALE, "max_nodes"), 1), ((*NETWORK, "nodes"), nodes(("node1", 250))),
    )
    assert loaded.nodes[0] == NodeSpec("node1", 250, "10.0.0.251", "127.0.0.251")


def test_the_last_address_of_the_subnet_may_be_taken(load_changed):
    loaded = load_changed(((*IPV4, "netbits"), 29), ((*NETWORK, "nodes"), nodes(("a", 1), ("b", 2), ("c", 5))))
    assert loaded.nodes[2].address == "172.28.64.6"


def test_a_node_is_found_by_its_name():
    assert load(DEFAULT).node("node2").index == 2


def test_an_unknown_node_is_told_the_names_there_are():
    with pytest.raises(UsageError) as caught:
        load(DEFAULT).node("node9")
    assert "node9" in caught.value.message
    assert caught.value.detail == "the nodes are node1, node2, node3"


def test_a_node_beyond_max_nodes_has_its_place():
    configuration = load(DEFAULT)
    assert configuration.node_spec("node4", 4) == NodeSpec("node4", 4, "172.28.64.5", "127.28.64.5")
    assert configuration.node_spec("node1", 1) == configuration.nodes[0]


@pytest.mark.parametrize(("name", "index", "detail"), [
    ("Node4", 4, f'name: expected {A_NODE_NAME}, found "Node4"'),
    ("node4\n", 4, f'name: expected {A_NODE_NAME}, found "node4\\n"'),
    ("node4", 0, "index: expected a whole number from 1 to 250, found 0"),
    ("node4", 251, "index: expected a whole number from 1 to 250, found 251"),
    ("node4", True, "index: expected a whole number from 1 to 250, found true"),
])
def test_a_node_no_cluster_may_have_is_refused(name, index, detail):
    with pytest.raises(UsageError) as caught:
        load(DEFAULT).node_spec(name, index)
    assert caught.value.detail == detail


def test_a_node_without_an_address_is_refused(load_changed):
    configuration = load_changed(((*IPV4, "netbits"), 29))
    assert configuration.node_spec("last", 5).address == "172.28.64.6"
    with pytest.raises(UsageError) as caught:
        configuration.node_spec("node6", 6)
    assert caught.value.detail == "index: expected one that has an address in 172.28.64.0/29, at most 5, found 6"


# --- what the schema refuses ---


@pytest.mark.parametrize(("path", "value", "line"), [
    ((*SCALE, "max_nodes"), "three", f'{AT_SCALE}.max_nodes: expected a whole number from 1 to 64, found "three"'),
    ((*SCALE, "max_nodes"), 65, f"{AT_SCALE}.max_nodes: expected a whole number from 1 to 64, found 65"),
    ((*SCALE, "max_nodes"), True, f"{AT_SCALE}.max_nodes: expected a whole number from 1 to 64, found true"),
    ((*SCALE, "max_nodes"), 3.5, f"{AT_SCALE}.max_nodes: expected a whole number from 1 to 64, found 3.5"),
    ((*SCALE, "min_nodes"), 0, f"{AT_SCALE}.min_nodes: expected a whole number from 1 to 64, found 0"),
    ((*SCALE, "min_nodes"), None, f"{AT_SCALE}.min_nodes: expected a whole number from 1 to 64, found null"),
    ((*CONFIG, "ports", "agent"), 1023, f"{AT_CONFIG}.ports.agent: expected a port from 1024 to 65535, found 1023"),
    ((*CONFIG, "ports", "agent"), 65536, f"{AT_CONFIG}.ports.agent: expected a port from 1024 to 65535, found 65536"),
    (("system", "id"), "Lb", f'$.system.id: expected {AN_ID}, found "Lb"'),
    (("system", "id"), "lb\n", f'$.system.id: expected {AN_ID}, found "lb\\n"'),
    (("system", "id"), "a" * 33, f'$.system.id: expected {AN_ID}, found "{"a" * 33}"'),
    (("system", "id"), "A" * 500, f'$.system.id: expected {AN_ID}, found "{"A" * 36}...'),
    ((*NETWORK, "id"), "", f'{AT_NETWORK}.id: expected {AN_ID}, found ""'),
    ((*CONFIG, "database"), "", f'{AT_CONFIG}.database: expected {A_DATABASE_NAME}, found ""'),
    ((*CONFIG, "database"), "a\0", f'{AT_CONFIG}.database: expected {A_DATABASE_NAME}, found "a\\u0000"'),
    ((*CONFIG, "database"), "ü" * 32, f'{AT_CONFIG}.database: expected {A_DATABASE_NAME}, found "{"ü" * 32}"'),
    ((*CONFIG, "tables", 0, "schema"), 7, f"{AT_CONFIG}.tables[0].schema: expected {A_SCHEMA_NAME}, found 7"),
    *[((*CONFIG, "database"), name, f'{AT_CONFIG}.database: expected {A_DATABASE_NAME}, found "{name}"') for name in ("postgres", "template0", "template1")],
    *[((*CONFIG, "tables", 0, "schema"), name, f'{AT_CONFIG}.tables[0].schema: expected {A_SCHEMA_NAME}, found "{name}"')
      for name in ("unison", "information_schema", "pg_catalog", "pg_toast", "pg_temp", "pg_mine")],
    *[((*COLUMNS, 1, "name"), name, f'{AT_COLUMNS}[1].name: expected {A_COLUMN_NAME}, found "{name}"')
      for name in ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "unison_arrived", "unison_replaced_ts")],
    ((*CONFIG, "tables", 0, "name"), [], f"{AT_CONFIG}.tables[0].name: expected {A_NAME}, found a list of 0 entries"),
    ((*CONFIG, "roles", 5, "name"), "public", f'{AT_CONFIG}.roles[5].name: expected {A_ROLE_NAME}, found "public"'),
    ((*CONFIG, "roles", 5, "name"), "postgres", f'{AT_CONFIG}.roles[5].name: expected {A_ROLE_NAME}, found "postgres"'),
    ((*CONFIG, "roles", 5, "name"), "pg_x", f'{AT_CONFIG}.roles[5].name: expected {A_ROLE_NAME}, found "pg_x"'),
    ((*CONFIG, "roles", 5, "kind"), "admin",
     f'{AT_CONFIG}.roles[5].kind: expected one of owner, replicator, writer and reader, found "admin"'),
    ((*CONFIG, "roles"), {}, f"{AT_CONFIG}.roles: expected a list of roles, found an object of 0 entries"),
    ((*CONFIG, "groups", 0, "connections_per_node"), 51,
     f"{AT_CONFIG}.groups[0].connections_per_node: expected a whole number from 1 to 50, found 51"),
    ((*CONFIG, "groups", 0, "policy"), "random",
     f'{AT_CONFIG}.groups[0].policy: expected one of round-robin, least-busy, local-first and by-key, found "random"'),
    ((*CONFIG, "groups", 0, "max_lag_s"), 0, f"{AT_CONFIG}.groups[0].max_lag_s: expected a number of seconds from 0.1 to 86400, found 0"),
    ((*CONFIG, "groups", 0, "max_latency_ms"), "slow",
     f'{AT_CONFIG}.groups[0].max_latency_ms: expected a number of milliseconds from 1 to 60000, found "slow"'),
    ((*CONFIG, "groups", 0, "timeout_s"), None, f"{AT_CONFIG}.groups[0].timeout_s: expected a number of seconds from 0.1 to 86400, found null"),
    ((*CONFIG, "groups", 0, "statement_timeout_s"), 86401,
     f"{AT_CONFIG}.groups[0].statement_timeout_s: expected a number of seconds from 0.1 to 86400, found 86401"),
    ((*CONFIG, "groups", 0, "autocommit"), "yes",
     f'{AT_CONFIG}.groups[0].autocommit: expected true or false, found "yes"'),
    ((*CONFIG, "groups", 0), "writer1",
     f'{AT_CONFIG}.groups[0]: expected an object with name and role, found "writer1"'),
    ((*COLUMNS, 1, "type"), "",
     f'{AT_COLUMNS}[1].type: expected a PostgreSQL type of 1 to 255 characters without NUL, found ""'),
    ((*COLUMNS, 1, "primary_key"), 1, f"{AT_COLUMNS}[1].primary_key: expected true or false, found 1"),
    ((*COLUMNS, 1, "name"), "modified_ts", f'{AT_COLUMNS}[1].name: expected {A_COLUMN_NAME}, found "modified_ts"'),
    ((*COLUMNS, 1, "name"), "modified_node", f'{AT_COLUMNS}[1].name: expected {A_COLUMN_NAME}, found "modified_node"'),
    ((*COLUMNS, 1, "default"), {"function": "random"},
     f'{AT_COLUMNS}[1].default.function: expected {A_FUNCTION}, found "random"'),
    ((*COLUMNS, 1, "default"), [1],
     f"{AT_COLUMNS}[1].default: expected {A_DEFAULT}, found a list of 1 entry"),
    ((*IPV4, "netbits"), 31, f"{AT_IPV4}.netbits: expected a whole number from 8 to 30, found 31"),
    ((*IPV4, "subnet"), "fd00::", f'{AT_IPV4}.subnet: expected {A_NETWORK_ADDRESS}, found "fd00::"'),
    ((*IPV4, "subnet"), "172.28.64.0/24",
     f'{AT_IPV4}.subnet: expected {A_NETWORK_ADDRESS}, found "172.28.64.0/24"'),
    ((*IPV4, "gateway"), "172.28.64",
     f'{AT_IPV4}.gateway: expected an IPv4 address inside the subnet, like 172.28.64.1, found "172.28.64"'),
    (("system", "networks"), [],
     "$.system.networks: expected a list of exactly one network, found a list of 0 entries"),
    (("system", "networks"), changed()["system"]["networks"] * 2,
     "$.system.networks: expected a list of exactly one network, found a list of 2 entries"),
    ((*CONFIG, "postgresql"), {"work_mem": "4MB\n"},
     f'{AT_CONFIG}.postgresql.work_mem: expected {ONE_LINE}, found "4MB\\n"'),
    ((*CONFIG, "postgresql"), {"work_mem": None}, f"{AT_CONFIG}.postgresql.work_mem: expected {ONE_LINE}, found null"),
    ((*CONFIG, "postgresql"), {"work mem": 1},
     f'{AT_CONFIG}.postgresql["work mem"]: expected the name of a PostgreSQL setting in lower case,'
     ' and none that the agent sets from the configuration, found "work mem"'),
    ((*CONFIG, "postgresql"), {"wal_level": "replica"},
     f'{AT_CONFIG}.postgresql.wal_level: expected the name of a PostgreSQL setting in lower case,'
     ' and none that the agent sets from the configuration, found "wal_level"'),
    ((*CONFIG, "postgresql"), {"event_triggers": "x"},
     f'{AT_CONFIG}.postgresql.event_triggers: expected the name of a PostgreSQL setting in lower case,'
     ' and none that the agent sets from the configuration, found "event_triggers"'),
    ((*CONFIG, "postgresql"), {"output_plugin_libraries": "x"},
     f'{AT_CONFIG}.postgresql.output_plugin_libraries: expected the name of a PostgreSQL setting in lower case,'
     ' and none that the agent sets from the configuration, found "output_plugin_libraries"'),
    ((*CONFIG, "postgresql"), {"synchronized_standby_slots": "x"},
     f'{AT_CONFIG}.postgresql.synchronized_standby_slots: expected the name of a PostgreSQL setting in lower case,'
     ' and none that the agent sets from the configuration, found "synchronized_standby_slots"'),
    ((*CONFIG, "roles", 5, "name"), "unison_writers", f'{AT_CONFIG}.roles[5].name: expected {A_ROLE_NAME}, found "unison_writers"'),
    ((*CONFIG, "passwords"), {"file": ""}, f'{AT_CONFIG}.passwords.file: expected the path of a file, found ""'),
    (("system",), 1, "$.system: expected an object with id, config and networks, found 1"),
])
def test_a_wrong_value_is_named_by_its_path(refusal, path, value, line):
    assert refusal((path, value)) == [line]


@pytest.mark.parametrize(("path", "line"), [
    ((*CONFIG, "rolez"), f"{AT_CONFIG}.rolez: unknown key"),
    (("extra",), "$.extra: unknown key"),
    ((*NETWORK, "two words"), f'{AT_NETWORK}["two words"]: unknown key'),
    ((*IPV4, "x" * 99), f'{AT_IPV4}["{"x" * 36}...]: unknown key'),
    ((*CONFIG, "roles", 0, "password"), f"{AT_CONFIG}.roles[0].password: unknown key"),
    ((*CONFIG, "password"), f"{AT_CONFIG}.password: unknown key"),
])
def test_an_unknown_key_is_named_without_its_value(refusal, path, line):
    assert refusal((path, "s3cret")) == [line]


@pytest.mark.parametrize(("path", "line"), [
    (("system",), "$.system: missing; expected an object with id, config and networks"),
    (("system", "id"), f"$.system.id: missing; expected {AN_ID}"),
    (CONFIG, "$.system.config: missing; expected an object with database, ports, roles, groups and tables"),
    ((*CONFIG, "roles"), f"{AT_CONFIG}.roles: missing; expected a list of roles"),
    ((*CONFIG, "roles", 2, "kind"),
     f"{AT_CONFIG}.roles[2].kind: missing; expected one of owner, replicator, writer and reader"),
    ((*COLUMNS, 0, "name"), f"{AT_COLUMNS}[0].name: missing; expected {A_COLUMN_NAME}"),
    ((*IPV4, "netbits"), f"{AT_IPV4}.netbits: missing; expected a whole number from 8 to 30"),
    (SCALE, f"{AT_SCALE}: missing; expected an object with min_nodes and max_nodes"),
])
def test_a_missing_key_is_named_with_what_belongs_there(refusal, path, line):
    assert refusal((path, ABSENT)) == [line]


@pytest.mark.parametrize("passwords", ["s3cret", ["s3cret"], {"writer1": "s3cret"}, {"file": {"writer1": "s3cret"}}])
def test_a_password_is_never_repeated(refusal, passwords):
    lines = refusal(((*CONFIG, "passwords"), passwords))
    assert lines[0].startswith(f"{AT_CONFIG}.passwords")
    assert "s3cret" not in "".join(lines)


# --- what takes two values to see ---


@pytest.mark.parametrize(("changes", "line"), [
    ([((*CONFIG, "ports", "agent"), 5432)],
     f"{AT_CONFIG}.ports.agent: expected a port other than that of postgresql, found 5432"),
    ([((*SCALE, "min_nodes"), 4)],
     f"{AT_SCALE}.min_nodes: expected at most max_nodes, which is 3, found 4"),
    ([((*IPV4, "subnet"), "172.28.64.8")],
     f'{AT_IPV4}.subnet: expected 172.28.64.0, which has no host bits set, for /24, found "172.28.64.8"'),
    ([((*IPV4, "netbits"), 30), ((*SCALE, "min_nodes"), 1), ((*SCALE, "max_nodes"), 2)],
     f"{AT_IPV4}.netbits: expected room for 2 nodes, found 30, which has room for 1"),
    ([((*IPV4, "netbits"), 29), ((*SCALE, "max_nodes"), 6)],
     f"{AT_IPV4}.netbits: expected room for 6 nodes, found 29, which has room for 5"),
    ([((*IPV4, "netbits"), 29), ((*NETWORK, "nodes"), nodes(("a", 1), ("b", 2), ("c", 6)))],
     f"{AT_NETWORK}.nodes[2].index: expected an index that has an address in a /29, at most 5, found 6"),
    ([((*IPV4, "gateway"), "172.28.65.1")],
     f'{AT_IPV4}.gateway: expected a host address inside 172.28.64.0/24, found "172.28.65.1"'),
    ([((*IPV4, "gateway"), "172.28.64.0")],
     f'{AT_IPV4}.gateway: expected a host address inside 172.28.64.0/24, found "172.28.64.0"'),
    ([((*IPV4, "gateway"), "172.28.64.255")],
     f'{AT_IPV4}.gateway: expected a host address inside 172.28.64.0/24, found "172.28.64.255"'),
    ([((*NETWORK, "nodes"), nodes(("a", 1), ("b", 2)))],
     f"{AT_NETWORK}.nodes: expected as many nodes as max_nodes, which is 3, found 2"),
    ([((*NETWORK, "nodes"), [])],
     f"{AT_NETWORK}.nodes: expected as many nodes as max_nodes, which is 3, found 0"),
    ([((*NETWORK, "nodes"), nodes(("a", 1), ("b", 2), ("c", 1)))],
     f"{AT_NETWORK}.nodes[2].index: expected an index of its own, found 1, which nodes[0] has"),
    ([((*NETWORK, "nodes"), nodes(("a", 1), ("b", 2), ("b", 3)))],
     f'{AT_NETWORK}.nodes[2].name: expected a name of its own, found "b", which nodes[1] has'),
    ([((*CONFIG, "roles", 6), {"name": "writer1", "kind": "writer"})],
     f'{AT_CONFIG}.roles[6].name: expected a name of its own, found "writer1", which roles[2] has'),
    ([((*CONFIG, "groups", 4), {"name": "reader1", "role": "reader2"})],
     f'{AT_CONFIG}.groups[4].name: expected a name of its own, found "reader1", which groups[2] has'),
    ([((*CONFIG, "tables", 1), {"name": "table1", "columns": [{"name": "id", "type": "int", "primary_key": True}]})],
     f'{AT_CONFIG}.tables[1].name: expected a name of its own, found "table1", which tables[0] has'),
    ([((*COLUMNS, 2, "name"), "col1")],
     f'{AT_COLUMNS}[2].name: expected a name of its own, found "col1", which columns[1] has'),
    ([((*CONFIG, "groups", 0, "role"), "nobody")],
     f'{AT_CONFIG}.groups[0].role: expected the name of a role of kind writer or reader, found "nobody"'),
    ([((*CONFIG, "groups", 0, "role"), "unison_owner")],
     f'{AT_CONFIG}.groups[0].role: expected the name of a role of kind writer or reader, found "unison_owner"'),
    ([((*CONFIG, "groups", 0, "role"), "unison_replicator")],
     f'{AT_CONFIG}.groups[0].role: expected the name of a role of kind writer or reader, found "unison_replicator"'),
    ([((*COLUMNS, 0, "primary_key"), False)],
     f'{AT_COLUMNS}: expected at least one column with "primary_key": true, found none'),
    ([(COLUMNS, [])],
     f'{AT_COLUMNS}: expected at least one column with "primary_key": true, found none'),
    ([((*COLUMNS, 0, "nullable"), True)],
     f"{AT_COLUMNS}[0].nullable: expected false or nothing for a column of the primary key, found true"),
    ([((*CONFIG, "roles", 6), {"name": "second", "kind": "owner"})],
     f"{AT_CONFIG}.roles: expected exactly one role of kind owner, found 2"),
    ([((*CONFIG, "roles", 0), ABSENT)],
     f"{AT_CONFIG}.roles: expected exactly one role of kind owner, found 0"),
    ([((*CONFIG, "roles", 1), ABSENT)],
     f"{AT_CONFIG}.roles: expected exactly one role of kind replicator, found 0"),
    ([((*CONFIG, "roles", 2, "kind"), "reader"), ((*CONFIG, "roles", 3, "kind"), "reader")],
     f"{AT_CONFIG}.roles: expected at least one role of kind writer, found 0"),
    ([((*CONFIG, "roles", 4, "kind"), "writer"), ((*CONFIG, "roles", 5, "kind"), "writer")],
     f"{AT_CONFIG}.roles: expected at least one role of kind reader, found 0"),
])
def test_values_that_contradict_each_other_are_refused(refusal, changes, line):
    assert refusal(*changes) == [line]


def test_all_faults_are_reported_at_once_and_sorted_by_path(refusal):
    lines = refusal(
        (("system", "id"), ABSENT), ((*CONFIG, "rolez"), []), ((*COLUMNS, 0, "primary_key"), False),
        ((*COLUMNS, 2, "typo"), 1), ((*CONFIG, "ports", "agent"), 5432), ((*CONFIG, "groups", 3, "role"), "nobody"),
        ((*SCALE, "min_nodes"), "three"), ((*IPV4, "gateway"), "10.0.0.1"), ((*CONFIG, "roles", 0, "kind"), "writer"),
    )
    assert [line.split(": ")[0] for line in lines] == [
        f"{AT_CONFIG}.groups[3].role",
        f"{AT_CONFIG}.ports.agent",
        f"{AT_CONFIG}.roles",
        f"{AT_CONFIG}.rolez",
        AT_COLUMNS,
        f"{AT_COLUMNS}[2].typo",
        "$.system.id",
        f"{AT_NETWORK}.config.net.ipv4.gateway",
        f"{AT_SCALE}.min_nodes",
    ]


def test_list_positions_sort_as_numbers(refusal):
    groups = [{"name": f"group{k}", "role": "nobody" if k in (2, 10) else "writer1"} for k in range(11)]
    lines = refusal(((*CONFIG, "groups"), groups))
    assert [line.split(": ")[0] for line in lines] == [f"{AT_CONFIG}.groups[2].role", f"{AT_CONFIG}.groups[10].role"]


@pytest.mark.parametrize(("changes", "path"), [
    ([((*CONFIG, "roles", 2, "name"), 1)], f"{AT_CONFIG}.roles[2].name"),
    ([((*CONFIG, "roles", 0, "kind"), 1)], f"{AT_CONFIG}.roles[0].kind"),
    ([((*CONFIG, "roles", 2), None)], f"{AT_CONFIG}.roles[2]"),
    ([((*COLUMNS, 0, "primary_key"), "yes")], f"{AT_COLUMNS}[0].primary_key"),
    ([((*COLUMNS, 0), None)], f"{AT_COLUMNS}[0]"),
    ([(COLUMNS, "id")], AT_COLUMNS),
    ([((*SCALE, "max_nodes"), 0)], f"{AT_SCALE}.max_nodes"),
    ([((*NETWORK, "nodes"), "node1")], f"{AT_NETWORK}.nodes"),
    ([((*IPV4, "netbits"), "24")], f"{AT_IPV4}.netbits"),
])
def test_a_wrong_value_causes_no_second_fault_elsewhere(refusal, changes, path):
    lines = refusal(*changes)
    assert [line.split(": ")[0] for line in lines] == [path]


def test_two_wrong_names_are_not_taken_for_the_same(refusal):
    lines = refusal(((*COLUMNS, 1, "name"), 1), ((*COLUMNS, 2, "name"), ABSENT), ((*CONFIG, "tables", 1), {}),
                    ((*CONFIG, "tables", 2), {}))
    assert [line.split(": ")[0] for line in lines] == [
        f"{AT_COLUMNS}[1].name", f"{AT_COLUMNS}[2].name",
        f"{AT_CONFIG}.tables[1].columns", f"{AT_CONFIG}.tables[1].name",
        f"{AT_CONFIG}.tables[2].columns", f"{AT_CONFIG}.tables[2].name",
    ]


ANY_VALUES = [None, True, 0, -1, 2.5, "", "x", [], [None], [[]], {}, {"x": 1}]


def paths(value: object, path: tuple = ()) -> list[tuple]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for step, inner in steps for place in ((*path, step), *paths(inner, (*path, step)))]


@pytest.mark.parametrize("value", ANY_VALUES, ids=repr)
def test_any_value_anywhere_loads_or_is_refused(load_changed, value):
    optional = [
        ((*CONFIG, "postgresql"), {"work_mem": "4MB"}), ((*CONFIG, "passwords"), {"file": "passwords"}),
        ((*NETWORK, "nodes"), nodes(("a", 1), ("b", 2), ("c", 3))), ((*COLUMNS, 1, "default"), {"function": "now"}),
    ]
    places = paths(changed(*optional))
    assert len(places) > 80
    for path in places:
        try:
            load_changed(*optional, (path, value))
        except UsageError as error:
            assert all(line.strip().startswith("$.") for line in error.detail.split("\n")), (path, error.detail)


# --- what is no configuration at all ---


@pytest.mark.parametrize(("text", "message", "detail"), [
    ("", "not JSON", "line 1, column 1: Expecting value"),
    ('{\n  "system": {,}\n}', "not JSON", "line 2, column 14: Expecting property name"),
    ('{"system": NaN}', "not JSON", '"NaN" is no number'),
    ('{"system": -Infinity}', "not JSON", '"-Infinity" is no number'),
    ('{"system": 1e999}', "not JSON", '"1e999" is no number'),
    ('{"system": ' + "1" * 5000 + "}", "not JSON", "limit"),
    ('{"system": "\\ud800"}', "not JSON", "half a surrogate pair"),
    ('{"system": {"id": "a", "id": "b"}, "b": {"x y": 1, "x y": 2}}', "a key is there twice", '"id", "x y"'),
    (b'{"system": "\xff"}', "not UTF-8", "byte 12"),
    ("[1, 2]", "not a configuration", "expected an object, found a list of 2 entries"),
    ("null", "not a configuration", "expected an object, found null"),
    ("[" * 100000, "nested too deeply", "lists or objects"),
    ('"' + "x" * 1024 * 1024 + '"', "too large", "1048576 bytes"),
])
def test_a_file_that_is_no_configuration_says_why(load_text, text, message, detail):
    with pytest.raises(UsageError) as caught:
        load_text(text)
    assert caught.value.message.endswith(f"sysconfig.json: {message}")
    assert detail in caught.value.detail
    assert len(caught.value.detail) < 200
    assert caught.value.hint


@pytest.mark.parametrize("depth", [100, 300, 600, 900, 940, 960, 980, 1000])
def test_a_deep_value_is_refused_at_any_depth(load_text, depth):
    nested = json.dumps(changed(((*CONFIG, "database"), "DEEP"))).replace('"DEEP"', "[" * depth + "]" * depth)
    with pytest.raises(UsageError) as caught:
        load_text(nested)
    assert "nested too deeply" in caught.value.message or f"{AT_CONFIG}.database" in caught.value.detail


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "absent.json")
    assert caught.value.message == f"{tmp_path / 'absent.json'}: no such file"
    assert "--config" in caught.value.hint


def test_a_directory_cannot_be_read(tmp_path):
    with pytest.raises(UsageError) as caught:
        load(tmp_path)
    assert caught.value.message == f"{tmp_path}: cannot be read"
    assert caught.value.detail == "Is a directory"


# --- the schema itself ---


def subschemas(schema: dict) -> list[dict]:
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [schema[key] for key in ("items", "additionalProperties", "propertyNames")
              if isinstance(schema.get(key), dict)]
    return [schema, *(found for part in inner for found in subschemas(part))]


def test_the_schema_is_one():
    checks.validator.check_schema(checks.SCHEMA)


def test_each_part_of_the_schema_says_what_it_expects():
    for schema in subschemas(checks.SCHEMA):
        assert "description" in schema or schema["$ref"].removeprefix("#/$defs/") in checks.SCHEMA["$defs"]


def test_each_object_of_the_schema_refuses_unknown_keys():
    objects = [schema for schema in subschemas(checks.SCHEMA) if "properties" in schema]
    assert len(objects) > 10
    assert all(schema["additionalProperties"] is False for schema in objects)


@pytest.mark.parametrize("kind", ["varchr(10)", "text); drop table x; --", "text -- comment", "text[]; select", "int primary key", "setof text", "serial",
                                  'public."mood', "text'", "text\nnot null", "(1)", "$body$", "%s", "{table}"])
def test_what_is_no_type_is_refused_by_its_path(refusal, kind):
    line, = refusal(((*COLUMNS, 1, "type"), kind))
    assert line.startswith(f"{AT_COLUMNS}[1].type: expected a type of a column, found ")


@pytest.mark.parametrize("kind", ["text", "TEXT", "varchar(10)", "numeric(10,2)", "double precision", "timestamp(3) with time zone", "integer[]", "int array",
                                  "interval day to second(3)", "bit varying(5)[][]", "public.mood", '"Strange ""type"', "pg_catalog.int4", "bigserial"])
def test_what_may_be_a_type_is_left_to_the_server(load_changed, kind):
    assert load_changed(((*COLUMNS, 1, "type"), kind)).tables[0].columns[1].type == kind


@pytest.mark.parametrize(("kind", "default", "form"), [
    ("timestamptz", "now()", '{"function": "now"}'), ("timestamptz", " NOW ", '{"function": "now"}'),
    ("timestamp(3) with time zone", "now", '{"function": "now"}'),
    ("pg_catalog.timestamptz", "now", '{"function": "now"}'), ("date", "today", '{"function": "now"}'), ("date", "tomorrow", "a constant"),
    ("timestamp", "yesterday allballs", "a constant"), ("timestamptz[]", "{now}", "a constant"), ("tstzrange", "[now,)", "a constant"),
    ("timestamptz", "CURRENT_TIMESTAMP", '{"function": "now"}'), ("timestamptz", "clock_timestamp()", '{"function": "clock_timestamp"}'),
    ("uuid", "gen_random_uuid()", '{"function": "gen_random_uuid"}'), ("bigint", "nextval('s')", "a constant"),
    ("integer", "pg_catalog.random()", "a constant")])
def test_a_default_that_postgresql_would_evaluate_is_refused_with_what_works(refusal, kind, default, form):
    line, = refusal(((*COLUMNS, 1, "type"), kind), ((*COLUMNS, 1, "default"), default))
    assert line.startswith(f"{AT_COLUMNS}[1].default: expected a constant of type ") and form in line


@pytest.mark.parametrize(("kind", "default"), [
    ("text", "now()"), ("varchar(20)", "CURRENT_USER"), ("timestamptz", "infinity"), ("timestamptz", "epoch"), ("time", "allballs"),
    ("timestamptz", "2026-01-01 00:00:00+00"), ("public.mood", "now"), ("point", "(1,2)"), ("jsonb", '{"now": "today"}'), ("boolean", "yes"),
    ("interval", "1 day"), ("tstzrange", "[2026-01-01,)")])
def test_a_default_that_is_a_constant_is_taken(load_changed, kind, default):
    assert load_changed(((*COLUMNS, 1, "type"), kind), ((*COLUMNS, 1, "default"), default)).tables[0].columns[1].default == default


# --- every text of the schema, so that a new field cannot be forgotten ---


HOSTILE_TEXTS = ['"; DROP TABLE table1; --', "'; DROP TABLE table1; --", "x); DROP TABLE table1; --", "back\\slash", "100% %s %(a)s %I", "{table} {key} {0}",
                 "$body$", "$1", "two\nlines", "nul\0", "x" * 63, "x" * 64, "\u65e5" * 21, "\u65e5" * 22, "", " ", "../../etc/passwd", "\u202eright to left"]


def text_fields(schema: dict, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of each text in the schema; a list is shown by its first entry, and a key of an object of any keys by "*"."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "string" in str(schema.get("type", "string" if "enum" in schema else "")):  # an enum is one of texts here
        yield path
    for key, below in schema.get("properties", {}).items():
        yield from text_fields(below, (*path, key))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from text_fields(schema["additionalProperties"], (*path, "*"))
    if "items" in schema:
        yield from text_fields(schema["items"], (*path, 0))


TEXT_FIELDS = list(text_fields(SCHEMA))


def test_the_schema_is_walked():
    assert len(TEXT_FIELDS) >= 19
    assert {("system", "id"), (*CONFIG, "database"), (*CONFIG, "postgresql", "*"), (*CONFIG, "tables", 0, "columns", 0, "type"),
            (*CONFIG, "tables", 0, "columns", 0, "default", "function"), (*NETWORK, "nodes", 0, "name")} <= set(TEXT_FIELDS)


@pytest.mark.parametrize("path", TEXT_FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_a_hostile_text_is_refused_by_its_path_or_taken_as_it_is(load_changed, path):
    """What is taken here is seen to stay a text on a real node by tests/integration/test_hostile_texts.py."""
    first = {(*CONFIG, "postgresql"): {}, (*CONFIG, "container"): {}, (*CONFIG, "passwords"): {"file": "f"}, (*NETWORK, "nodes"): [
        {"name": f"node{k}", "index": k} for k in (1, 2, 3)]}
    made = [(above, value) for above, value in first.items() if path[:len(above)] == above and path != above]
    if path[-1] == "function":
        made.append((path[:-1], {}))
    for text in HOSTILE_TEXTS:
        place = (*path[:-1], "x.y") if path[-1] == "*" else path
        try:
            taken = load_changed(*made, (place, text))
        except UsageError as error:
            assert f"{path[-2] if path[-1] == '*' else path[-1]}" in error.detail and "Traceback" not in str(error)
            continue
        assert repr(text) in repr(taken) or str(path[-1]) in ("file", "image"), f"{text!r} was changed"


@pytest.mark.parametrize("name", [text for text in HOSTILE_TEXTS if text != "x" * 63 and text != "x" * 64])
def test_a_hostile_name_of_a_setting_is_refused(load_changed, name):
    with pytest.raises(UsageError):
        load_changed(((*CONFIG, "postgresql"), {name: "on"}))
