"""Every fault of a parsed sysconfig.json: first what the schema sees, then what takes two values to see.

A fault is ``(path, text)``; a path is a tuple of keys and list positions from the top.
"""

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator

from pgunison.configuration import column_types
from pgunison.contract.names import is_identifier

JsonPath = tuple[str | int, ...]
Fault = tuple[JsonPath, str]

SCHEMA = json.loads(Path(__file__).with_name("sysconfig.schema.json").read_text("utf-8"))
CONFIG = ("system", "config")
NETWORK = ("system", "networks", 0)
FOUND_CHARACTERS = 40

# Stands where the schema found a fault, so that a later check knows that its input is unknown, not absent.
INVALID = object()

formats = FormatChecker(("ipv4",))
# the same rule as in the calls, so that what passes here does not fail there
formats.checks("postgresql-identifier")(is_identifier)
validator = Draft202012Validator(SCHEMA, format_checker=formats)


def faults(document: dict[str, Any]) -> list[Fault]:
    """Return all faults of the document, sorted by path.

    Where the schema found one, INVALID takes the value's place in ``document``: with faults it is of no further use.
    """
    found = schema_faults(document, validator)
    for path, _ in found:
        _mark(document, path)
    for check in (port_faults, role_faults, group_faults, table_faults, scale_faults, address_faults, node_faults):
        found += check(document)
    return sorted(found)


def line(fault: Fault) -> str:
    """Render a fault as ``$.system.id: missing; expected ...``."""
    path, text = fault
    plain = re.compile(r"[A-Za-z_]\w{0,62}", re.ASCII)
    steps = (f".{step}" if plain.fullmatch(str(step)) else f"[{shown(step)}]" for step in path)
    return f"${''.join(steps)}: {text}"


def shown(value: object) -> str:
    """Return the value as short JSON, a list or object only by its size: it may be long or hold a password."""
    if isinstance(value, dict | list):
        noun = "an object" if isinstance(value, dict) else "a list"
        return f"{noun} of {len(value)} {'entry' if len(value) == 1 else 'entries'}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= FOUND_CHARACTERS else f"{text[:FOUND_CHARACTERS - 3]}..."


def expected(what: str, found: object) -> str:
    return f"expected {what}, found {shown(found)}"


# --- what the schema sees ---


def schema_faults(document: Any, validator: Validator) -> list[Fault]:
    """Return one fault for each path the schema refuses.

    The schema has no oneOf or anyOf (a keyword for objects passes over texts and numbers), so each error is a leaf.
    """
    found: dict[JsonPath, str] = {}
    for error in validator.iter_errors(document):
        path, value = tuple(error.absolute_path), cast(Any, error.instance)
        # each schema of ours is an object; a library's may be true or false
        schema = cast(dict[str, Any], error.schema)
        if error.validator == "required":
            missing = [key for key in schema["required"] if key not in value]
            found |= {(*path, key): f"missing; expected {_description(schema['properties'][key])}" for key in missing}
        elif error.validator == "additionalProperties":
            found |= {(*path, key): "unknown key" for key in value if key not in schema["properties"]}
        elif "propertyNames" in error.absolute_schema_path:
            found[(*path, value)] = expected(schema["description"], value)
        elif schema.get("writeOnly"):
            found[path] = f"expected {schema['description']}, found something else, which may be a secret"
        else:
            found[path] = expected(schema["description"], value)
    return list(found.items())


def _description(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return str(schema["description"])


def _mark(document: Any, path: JsonPath) -> None:
    for step in path[:-1]:
        document = document[step]
        if document is INVALID:
            return
    document[path[-1]] = INVALID


# --- what takes two values ---


def at(document: Any, *path: str | int, default: object = None) -> Any:
    """Return the value at the path, ``default`` where it is absent, INVALID where it or what holds it is wrong."""
    for step in path:
        if document is INVALID:
            return INVALID
        if isinstance(document, dict) and step not in document:
            return default
        document = document[step]
    return document


def items(document: Any, *path: str | int) -> list[Any]:
    """Return the list at the path, an empty one where there is none to check."""
    value = at(document, *path)
    return value if isinstance(value, list) else []


def column(entries: list[Any], key: str, default: object = None) -> list[Any]:
    return [at(entry, key, default=default) for entry in entries]


def repeated(path: JsonPath, values: list[Any], key: str) -> Iterator[Fault]:
    """Yield a fault for each value that stood in the list before; the last part of a tuple is the one shown."""
    first: dict[object, int] = {}
    for position, value in enumerate(values):
        if value is INVALID or isinstance(value, tuple) and INVALID in value:
            continue
        if first.setdefault(value, position) != position:
            own = value[-1] if isinstance(value, tuple) else value
            article = "an" if key == "index" else "a"
            text = f"expected {article} {key} of its own, found {shown(own)}, which {path[-1]}[{first[value]}] has"
            yield (*path, position, key), text


def port_faults(document: dict[str, Any]) -> Iterator[Fault]:
    ports = [at(document, *CONFIG, "ports", name) for name in ("postgresql", "agent")]
    if INVALID not in ports and ports[0] == ports[1]:
        yield (*CONFIG, "ports", "agent"), expected("a port other than that of postgresql", ports[1])


def role_faults(document: dict[str, Any]) -> Iterator[Fault]:
    path = (*CONFIG, "roles")
    roles = items(document, *path)
    yield from repeated(path, column(roles, "name"), "name")
    kinds = column(roles, "kind")
    if INVALID in kinds or at(document, *path) is INVALID:
        return
    for kind in ("owner", "replicator"):
        if kinds.count(kind) != 1:
            yield path, expected(f"exactly one role of kind {kind}", kinds.count(kind))
    for kind in ("writer", "reader"):
        if kind not in kinds:
            yield path, expected(f"at least one role of kind {kind}", 0)


def group_faults(document: dict[str, Any]) -> Iterator[Fault]:
    path = (*CONFIG, "groups")
    groups = items(document, *path)
    yield from repeated(path, column(groups, "name"), "name")
    roles = items(document, *CONFIG, "roles")
    kinds = dict(zip(column(roles, "name"), column(roles, "kind"), strict=True))
    # With one role name unknown, a group may mean that role.
    complete = INVALID not in kinds and at(document, *CONFIG, "roles") is not INVALID
    for position, role in enumerate(column(groups, "role")):
        unknown = role not in kinds and complete
        if role is not INVALID and (unknown or kinds.get(role) in ("owner", "replicator")):
            yield (*path, position, "role"), expected("the name of a role of kind writer or reader", role)


def table_faults(document: dict[str, Any]) -> Iterator[Fault]:
    path = (*CONFIG, "tables")
    tables = items(document, *path)
    names = zip(column(tables, "schema", "public"), column(tables, "name"), strict=True)
    yield from repeated(path, list(names), "name")
    for position in range(len(tables)):
        yield from column_faults(document, (*path, position, "columns"))


def column_faults(document: Any, path: JsonPath) -> Iterator[Fault]:
    columns = items(document, *path)
    yield from repeated(path, column(columns, "name"), "name")
    primary = column(columns, "primary_key", False)
    if at(document, *path) is not INVALID and True not in primary and INVALID not in primary:
        yield path, 'expected at least one column with "primary_key": true, found none'
    for position, nullable in enumerate(column(columns, "nullable", False)):
        if primary[position] is True and nullable is True:
            yield (*path, position, "nullable"), expected("false or nothing for a column of the primary key", True)
    for position, (kind, default) in enumerate(zip(column(columns, "type"), column(columns, "default"), strict=True)):
        if isinstance(kind, str) and (fault := column_types.type_fault(kind)):
            yield (*path, position, "type"), f"{expected('a type of a column', kind)}: {fault}"
        elif isinstance(kind, str) and isinstance(default, str) and (fault := column_types.default_fault(kind, default)):
            yield (*path, position, "default"), f"{expected(f'a constant of type {shown(kind)}', default)}: {fault}"


def scale_faults(document: dict[str, Any]) -> Iterator[Fault]:
    path = (*NETWORK, "config", "scale")
    min_nodes, max_nodes = (at(document, *path, name) for name in ("min_nodes", "max_nodes"))
    if INVALID not in (min_nodes, max_nodes) and min_nodes > max_nodes:
        yield (*path, "min_nodes"), expected(f"at most max_nodes, which is {max_nodes}", min_nodes)


def address_faults(document: dict[str, Any]) -> Iterator[Fault]:
    path = (*NETWORK, "config", "net", "ipv4")
    subnet, netbits, gateway = (at(document, *path, name) for name in ("subnet", "netbits", "gateway"))
    max_nodes = at(document, *NETWORK, "config", "scale", "max_nodes")
    if INVALID not in (netbits, max_nodes) and room(netbits) < max_nodes:
        text = f"{expected(f'room for {max_nodes} nodes', netbits)}, which has room for {room(netbits)}"
        yield (*path, "netbits"), text
    if INVALID in (subnet, netbits):
        return
    network = ipaddress.IPv4Network((subnet, netbits), strict=False)
    if str(network.network_address) != subnet:
        what = f"{network.network_address}, which has no host bits set, for /{netbits}"
        yield (*path, "subnet"), expected(what, subnet)
    elif gateway is not INVALID and not inside(ipaddress.IPv4Address(gateway), network):
        yield (*path, "gateway"), expected(f"a host address inside {network}", gateway)


def node_faults(document: dict[str, Any]) -> Iterator[Fault]:
    path = (*NETWORK, "nodes")
    nodes = at(document, *path, default=INVALID)
    if nodes is INVALID:
        return
    yield from repeated(path, column(nodes, "name"), "name")
    indexes = column(nodes, "index")
    yield from repeated(path, indexes, "index")
    max_nodes = at(document, *NETWORK, "config", "scale", "max_nodes")
    if max_nodes is not INVALID and len(nodes) != max_nodes:
        yield path, f"expected as many nodes as max_nodes, which is {max_nodes}, found {len(nodes)}"
    netbits = at(document, *NETWORK, "config", "net", "ipv4", "netbits")
    for position, index in enumerate(indexes):
        if INVALID not in (index, netbits) and index > room(netbits):
            what = f"an index that has an address in a /{netbits}, at most {room(netbits)}"
            yield (*path, position, "index"), expected(what, index)


def room(netbits: int) -> int:
    """Return how many nodes have an address: all but the network's, the broadcast address and the gateway."""
    return (1 << (32 - netbits)) - 3


def inside(address: ipaddress.IPv4Address, network: ipaddress.IPv4Network) -> bool:
    return network.network_address < address < network.broadcast_address
