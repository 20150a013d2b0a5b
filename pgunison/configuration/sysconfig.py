"""sysconfig.json as frozen values: two configurations are equal when they mean the same cluster."""

import json
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from pgunison.configuration.approved import digest, is_approved
from pgunison.contract.addresses import node_address
from pgunison.errors import UsageError

IMAGE = "pgunison-node:latest"
FILE_LIMIT_BYTES = 1024 * 1024
HINT = "correct each value at its JSON path; pgunison/configuration/sysconfig.schema.json says what each may be"
FILE_HINT = "name a configuration with --config, or start from the sysconfig.json that comes with pgunison"


@dataclass(frozen=True)
class Role:
    """A login role; ``kind`` is owner, replicator, writer or reader."""

    name: str
    kind: str


@dataclass(frozen=True)
class Group:
    """A group of pooled connections, all with the same role.

    ``policy`` says which node is next (pgunison/pool/policy.py); a node that is further behind than ``max_lag_s`` or takes longer to answer than
    ``max_latency_ms`` is left out; ``timeout_s`` is how long a caller waits for a connection, ``statement_timeout_s`` for a statement.
    """

    name: str
    role: str
    connections_per_node: int
    autocommit: bool
    policy: str = "round-robin"
    max_lag_s: float = 10
    max_latency_ms: float = 500
    timeout_s: float = 10
    statement_timeout_s: float = 10


@dataclass(frozen=True)
class Function:
    """A column default that PostgreSQL computes, like ``now``."""

    name: str


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    primary_key: bool
    nullable: bool
    default: str | int | float | bool | Function | None


@dataclass(frozen=True)
class Table:
    schema: str
    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Container:
    """What a node's container is made of; a limit of None is none."""

    image: str
    memory_mib: int | None
    cpus: float | None


@dataclass(frozen=True)
class NodeSpec:
    """A node and where it listens: ``address`` in the docker network, ``loopback`` as a process on this host."""

    name: str
    index: int
    address: str
    loopback: str

    @classmethod
    def within(cls, subnet: IPv4Network, gateway: IPv4Address, name: str, index: int) -> "NodeSpec":
        """Place the node on the index-th host address of the subnet, the gateway left out."""
        address = str(node_address(subnet, gateway, index))
        return cls(name, index, address, "127" + address[address.index("."):])


@dataclass(frozen=True)
class Configuration:
    """What sysconfig.json asks for; ``settings`` are further settings for postgresql.conf, as (name, value).

    ``upkeep`` says how long and how much a node remembers, as (property of ``node.maintain``, number). ``digest`` names the text that it was read from
    (:mod:`pgunison.configuration.approved`).
    """

    id: str
    database: str
    postgresql_port: int
    agent_port: int
    roles: tuple[Role, ...]
    groups: tuple[Group, ...]
    tables: tuple[Table, ...]
    settings: tuple[tuple[str, str], ...]
    upkeep: tuple[tuple[str, int], ...]
    container: Container
    password_file: Path | None
    network_id: str
    subnet: IPv4Network
    gateway: IPv4Address
    min_nodes: int
    max_nodes: int
    nodes: tuple[NodeSpec, ...]
    digest: str = field(compare=False)
    # nodes that were members and were removed for good (pgunison/configuration/members.py)
    former: tuple[NodeSpec, ...] = ()

    def role(self, kind: str) -> Role:
        """Return the first role of the kind; each kind has one."""
        return next(role for role in self.roles if role.kind == kind)

    def node(self, name: str) -> NodeSpec:
        """Return the configured node of that name; UsageError with the names there are if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        from pgunison.configuration.checks import shown
        names = ", ".join(node.name for node in self.nodes)
        raise UsageError(f"no node is named {shown(name)}", f"the nodes are {names}", "name one of them")

    def any_spec(self, name: str) -> NodeSpec:
        """Place a node that is configured, or one that was once made and is not: names that we give end with the index."""
        known = next((node for node in (*self.nodes, *self.former) if node.name == name), None)
        if known is not None:
            return known
        index = int("".join(character for character in name if character.isdigit()) or 250)
        return self.node_spec(name, min(max(index, 1), 250))

    def node_spec(self, name: str, index: int) -> NodeSpec:
        """Return where a node of that name and index is or would be, also beyond max_nodes.

        UsageError when the name or index is none a node may have, or the subnet has no address for the index.
        """
        from pgunison.configuration import checks
        node = {"name": name, "index": index}
        rules = checks.validator.evolve(schema=checks.SCHEMA["$defs"]["node"])
        faults = [f"{path[-1]}: {text}" for path, text in checks.schema_faults(node, rules)]
        room = checks.room(self.subnet.prefixlen)
        if not faults and index > room:
            faults = [f"index: expected one that has an address in {self.subnet}, at most {room}, found {index}"]
        if faults:
            raise UsageError("no node can have this name and index", "; ".join(faults), "choose others")
        return NodeSpec.within(self.subnet, self.gateway, name, index)


def load(path: Path) -> Configuration:
    """Read the configuration; UsageError with every wrong value if there is one, nothing half read."""
    lines: list[str] = []
    try:
        text = _read(path)
        document, name = _parse(path, text), digest(text)
        if not is_approved(document, name):
            lines = _faults(path, document)
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deeply", "lists or objects within each other", FILE_HINT) from error
    if lines:
        count = "1 value is" if len(lines) == 1 else f"{len(lines)} values are"
        raise UsageError(f"{path}: {count} wrong", "\n        ".join(lines), HINT)
    return _configuration(document["system"], path.absolute().parent, name)


def _faults(path: Path, document: object) -> list[str]:
    # loaded late: what checks takes longer to load than the rest, and what runs was checked before
    from pgunison.configuration import checks
    if not isinstance(document, dict):
        raise UsageError(f"{path}: not a configuration", checks.expected("an object", document), FILE_HINT)
    return [checks.line(fault) for fault in checks.faults(document)]


def _configuration(system: dict[str, Any], directory: Path, name: str) -> Configuration:
    config, network = system["config"], system["networks"][0]
    scale, ipv4 = network["config"]["scale"], network["config"]["net"]["ipv4"]
    subnet, gateway = IPv4Network((ipv4["subnet"], ipv4["netbits"])), IPv4Address(ipv4["gateway"])
    nodes = network.get("nodes") or [{"name": f"node{k}", "index": k} for k in range(1, scale["max_nodes"] + 1)]
    return Configuration(
        id=system["id"],
        database=config["database"],
        postgresql_port=config["ports"]["postgresql"],
        agent_port=config["ports"]["agent"],
        roles=tuple(Role(**role) for role in config["roles"]),
        groups=tuple(Group(**{"connections_per_node": 2, "autocommit": True} | group) for group in config["groups"]),
        tables=tuple(_table(table) for table in config["tables"]),
        settings=tuple(sorted((name, _setting(value)) for name, value in config.get("postgresql", {}).items())),
        upkeep=tuple(sorted(config.get("upkeep", {}).items())),
        container=Container(**{"image": IMAGE, "memory_mib": None, "cpus": None} | config.get("container", {})),
        password_file=directory / config["passwords"]["file"] if "passwords" in config else None,
        network_id=network["id"],
        subnet=subnet,
        gateway=gateway,
        min_nodes=scale["min_nodes"],
        max_nodes=scale["max_nodes"],
        nodes=tuple(NodeSpec.within(subnet, gateway, **node) for node in nodes),
        digest=name,
    )


def _table(table: dict[str, Any]) -> Table:
    return Table(table.get("schema", "public"), table["name"], tuple(_column(column) for column in table["columns"]))


def _column(column: dict[str, Any]) -> Column:
    primary_key, default = column.get("primary_key", False), column.get("default")
    if isinstance(default, dict):
        default = Function(default["function"])
    return Column(column["name"], column["type"], primary_key, column.get("nullable", not primary_key), default)


def _setting(value: str | float | bool) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT_BYTES + 1)
        if len(content) > FILE_LIMIT_BYTES:
            raise UsageError(f"{path}: too large", f"it has more than {FILE_LIMIT_BYTES} bytes", FILE_HINT)
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file", "", FILE_HINT) from error
    except UnicodeDecodeError as error:
        detail = f"byte {error.start}: {error.reason}"
        raise UsageError(f"{path}: not UTF-8", detail, "save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read", error.strerror or str(error), FILE_HINT) from error


def _parse(path: Path, text: str) -> Any:
    """Parse JSON without what readers disagree about: NaN, infinity, a key twice, half a surrogate pair."""
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        document = json.loads(text, object_pairs_hook=unique, parse_float=_number, parse_constant=_number)
        json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        detail = f"line {error.lineno}, column {error.colno}: {error.msg}"
        hint = "correct it there; JSON has no comments and no comma after the last entry"
        raise UsageError(f"{path}: not JSON", detail, hint) from error
    except UnicodeEncodeError as error:
        detail = "a \\u escape is half a surrogate pair"
        raise UsageError(f"{path}: not JSON", detail, "write both halves or the character") from error
    except ValueError as error:
        raise UsageError(f"{path}: not JSON", str(error), "correct the value") from error
    if twice:
        from pgunison.configuration.checks import shown
        keys = ", ".join(shown(key) for key in twice)
        raise UsageError(f"{path}: a key is there twice", f"within one object: {keys}", "keep one of the two")
    return document


def _number(text: str) -> int | float:
    """Return a finite number, a whole one as int: 3.0 is 3 wherever it stands."""
    value = float(text)
    if not abs(value) < float("inf"):
        from pgunison.configuration.checks import shown
        raise ValueError(f"{shown(text)} is no number that JSON and PostgreSQL share")
    return int(value) if value.is_integer() else value
