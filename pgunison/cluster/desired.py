"""The desired state: what a configuration asks for, in the terms of :mod:`pgunison.cluster.state`."""

from itertools import permutations
from typing import Any

from pgunison.cluster.state import ClusterState, LinkState, NodeState, TableState
from pgunison.configuration.sysconfig import Column, Configuration, Function


def desired(configuration: Configuration) -> ClusterState:
    """Return the state of the configured cluster when all is well."""
    roles = tuple(sorted(role.name for role in configuration.roles))
    tables = tuple(sorted((TableState(table.schema, table.name, comparable([column_description(column) for column in table.columns]))
                           for table in configuration.tables), key=lambda table: (table.schema, table.name)))
    nodes = sorted((NodeState(node.name, node.index, roles=roles, tables=tables) for node in configuration.nodes), key=lambda node: node.index)
    links = frozenset(LinkState(source.name, target.name) for source, target in permutations(nodes, 2))
    return ClusterState(configuration.id, tuple(nodes), links)


def column_description(column: Column) -> dict[str, Any]:
    """Write a column as ``table.setup`` takes it, and as ``node.describe`` gives it back."""
    default = {"function": column.default.name} if isinstance(column.default, Function) else column.default
    return {"name": column.name, "type": column.type, "primary_key": column.primary_key, "nullable": column.nullable, "default": default}


def comparable(columns: list[dict[str, Any]]) -> tuple[tuple[str | bool, ...], ...]:
    """Freeze column descriptions, so that two lists of them can be compared."""
    return tuple((column["name"], column["type"], column["primary_key"], column["nullable"], repr(column["default"])) for column in columns)
