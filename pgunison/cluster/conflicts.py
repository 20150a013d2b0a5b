"""The conflict history of the cluster: every node has its own, and they tell of the same conflicts."""

import json
from collections.abc import Sequence
from typing import Any

from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import Table
from pgunison.everywhere import everywhere


def collect_conflicts(site: Site, tables: Sequence[Table], limit: int, nodes: Sequence[str]) -> list[dict[str, Any]]:
    """Ask these nodes; return each lost version once, the newest first, ``limit`` at most.

    A conflict is ``{schema, table, key, lost_ts, lost_node, lost_row, won_ts, won_node, noticed_at, nodes}``: ``key`` and ``lost_row`` are JSON as
    text, the row is None when a deletion lost; ``nodes`` are those that remember it.
    A node that was made later, or was seeded, has not noticed what happened before.
    """
    def ask(node: str) -> list[dict[str, Any]]:
        answers = [site.call(node, "table.conflicts", Table={"schema": table.schema, "name": table.name, "limit": limit}) for table in tables]
        return [one for answer in answers for one in answer["conflicts"]]

    merged: dict[tuple[object, ...], dict[str, Any]] = {}
    for name, answer in everywhere(nodes, ask).items():
        for one in answer:
            lost = (one["schema"], one["table"], one["key"], one["lost_ts"], one["lost_node"])
            merged.setdefault(lost, one | {"nodes": []})["nodes"].append(name)
    newest = sorted(merged.values(), key=lambda one: (one["lost_ts"], one["lost_node"]), reverse=True)
    return newest[:limit]


def to_json(conflicts: list[dict[str, Any]]) -> str:
    """Write conflicts as JSON, with keys and rows as what they are."""
    return json.dumps([one | {"key": json.loads(one["key"]), "lost_row": json.loads(one["lost_row"]) if one["lost_row"] else None}
                       for one in conflicts], indent=2)
