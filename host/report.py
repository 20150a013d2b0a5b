"""The table of nodes and links, for people and as JSON."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from host.certificates import AUTHORITY, NOTICE
from host.site import Site
from host.state import ClusterState, NodeState

ROW_SHOWN = 200
# deletions are collected about a minute after everybody has them; a node that is away for longer than this is worth a line
QUIET_S = 600


def as_dict(site: Site, cluster: ClusterState) -> dict[str, Any]:
    """Write a cluster's state as JSON takes it; the shape is fixed (README)."""
    nodes = [{"name": node.name, "index": node.index, "address": site.runtime.address(site.any_spec(node.name)),
              "port": site.configuration.postgresql_port, "state": node.state, "problem": node.problem, "version": node.version or None,
              "certificate_ends": node.certificate_ends.isoformat() if node.certificate_ends else None, "upkeep": node.upkeep,
              "tables": [{"name": str(table), "open": table.open, "fault": table.fault} for table in node.tables]}
             for node in cluster.nodes]
    links = [{"source": link.source, "target": link.target, "state": link.state, "lag_bytes": link.lag_bytes, "errors": link.errors}
             for link in sorted(cluster.links, key=lambda link: (link.source, link.target))]
    return {"cluster": cluster.id, "runtime": site.runtime.name, "nodes": nodes, "links": links}


def conflicts(found: list[dict[str, Any]], console: Console) -> None:
    """Print conflicts, a line each: when, where and what was lost, and to which version."""
    for one in found:
        lost = "a deletion" if one["lost_row"] is None else one["lost_row"]
        lost = lost if len(lost) <= ROW_SHOWN else f"{lost[:ROW_SHOWN]}..."
        console.print(f"{one['lost_ts']} node {one['lost_node']}: {one['schema']}.{one['table']} {one['key']} lost to"
                      f" {one['won_ts']} node {one['won_node']}: {lost}", markup=False)


def table(site: Site, cluster: ClusterState, console: Console | None = None) -> None:
    """Print nodes and links; a row a node, with the links that lead to it."""
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("node", "address", "state", "receives from", "behind"):
        shown.add_column(name)
    for node in cluster.nodes:
        incoming = sorted((link for link in cluster.links if link.target == node.name), key=lambda link: link.source)
        streaming = [link for link in incoming if link.state == "streaming"]
        others = [f"{link.source} {link.state}" for link in incoming if link.state != "streaming"]
        receives = ", ".join(([f"{len(streaming)} of {len(incoming)} streaming"] if incoming else ["-"]) + others)
        behind = max((link.lag_bytes or 0 for link in incoming), default=0)
        address = f"{site.runtime.address(site.any_spec(node.name))}:{site.configuration.postgresql_port}"
        shown.add_row(node.name, address, node.state, receives, f"{behind} bytes")
    console.print(shown)
    for line in ending(site, cluster, datetime.now(UTC)):
        console.print(line, markup=False)
    for node in cluster.nodes:
        for problem in filter(None, [node.problem, node.fault, *(f"{t}: {t.fault}" for t in node.tables if t.fault), _held(node)]):
            console.print(f"{node.name}: {problem}", markup=False)


def ending(site: Site, cluster: ClusterState, now: datetime) -> list[str]:
    """Warn of certificates that end soon, and tell the command that renews them."""
    if site.runtime.certificates is None:
        return []
    ends = {f"the certificate of {node.name}": node.certificate_ends for node in cluster.nodes if node.certificate_ends} | site.runtime.certificates.ending()
    return [f"warning: {what} ends on {end:%Y-%m-%d}: python3 orchestrator.py renew{' --authority' if what == AUTHORITY else ''}"
            for what, end in ends.items() if end - now < NOTICE]


def _held(node: NodeState) -> str | None:
    """Say why the node cannot forget deletions, when that has lasted."""
    if not node.upkeep or not node.upkeep["silent"] or (node.upkeep["confirmed_s_ago"] or 0) < QUIET_S:
        return None
    return f"keeps {node.upkeep['tombstone_bytes']} bytes of tombstones, because nothing is heard of {', '.join(node.upkeep['silent'])}"
