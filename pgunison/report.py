"""The table of nodes and links, for people and as JSON."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from pgunison.cluster.desired import desired
from pgunison.cluster.diagnosis import faults, sentence
from pgunison.cluster.site import Site
from pgunison.cluster.state import ClusterState, Link, NodeState
from pgunison.program import as_called

ROW_SHOWN = 200
HEADER = ("node", "address", "state", "receives from", "behind")


def as_dict(site: Site, cluster: ClusterState) -> dict[str, Any]:
    """Write a cluster's state as JSON takes it; the shape is fixed (README)."""
    wanted = desired(site.configuration)
    nodes = [{"name": node.name, "index": node.index, "address": site.runtime.address(site.any_spec(node.name)),
              "port": site.configuration.postgresql_port, "state": node.state, "problem": node.problem, "drained": node.drained,
              "warnings": list(node.warnings), "version": node.version or None,
              "certificate_ends": node.certificate_ends.isoformat() if node.certificate_ends else None,
              "upkeep": node.upkeep, "tables": [{"name": str(table), "open": table.open, "fault": table.fault} for table in node.tables]}
             for node in cluster.nodes]
    links = [{"source": link.source, "target": link.target, "state": link.state, "lag_bytes": link.lag_bytes, "errors": link.errors, "reason": link.reason}
             for link in sorted(cluster.links, key=lambda link: (link.source, link.target))]
    found = faults(wanted, cluster)
    return {"cluster": cluster.id, "runtime": site.runtime.name, "healthy": not found, "sentence": sentence(wanted, cluster), "nodes": nodes, "links": links,
            "faults": [{"where": fault.where, "what": fault.what, "next": as_called(fault.next)} for fault in found]}


def conflicts(found: list[dict[str, Any]], console: Console) -> None:
    """Print conflicts, a line each: when, where and what was lost, and to which version."""
    for one in found:
        lost = "a deletion" if one["lost_row"] is None else one["lost_row"]
        lost = lost if len(lost) <= ROW_SHOWN else f"{lost[:ROW_SHOWN]}..."
        console.print(f"{one['lost_ts']} node {one['lost_node']}: {one['schema']}.{one['table']} {one['key']} lost to"
                      f" {one['won_ts']} node {one['won_node']}: {lost}", markup=False, emoji=False)


def table(site: Site, cluster: ClusterState, console: Console | None = None) -> bool:
    """Print nodes and links, a line a node with the links that lead to it, then what is not well and the next step; True when the cluster is healthy."""
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    rows = [HEADER, *(_row(site, cluster, node) for node in cluster.nodes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    if console.is_terminal and sum(widths) + 2 * (len(widths) - 1) > console.width:
        # cells that wrap cannot be read: a value a line
        lines = [line for row in rows[1:] for line in (row[0], *(f"  {name}: {value}" for name, value in zip(HEADER[1:], row[1:], strict=True)))]
    else:
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    wanted = desired(site.configuration)
    found = faults(wanted, cluster)
    # a message of a server may have several lines, and a line here is one thing
    for line in (*lines, *ending(site, cluster, datetime.now(UTC)), *(" ".join(str(fault).split()) for fault in found), sentence(wanted, cluster)):
        console.print(as_called(line), markup=False, emoji=False)
    return not found


def _row(site: Site, cluster: ClusterState, node: NodeState) -> tuple[str, ...]:
    incoming = sorted((link for link in cluster.links if link.target == node.name), key=lambda link: link.source)
    streaming = [link for link in incoming if link.state == Link.STREAMING]
    # that a node takes nothing while it is down is said by its own state
    others = [f"{link.source} is down" if link.state == Link.SOURCE_DOWN else f"{link.source} {link.state}"
              for link in incoming if link.state not in (Link.STREAMING, Link.TARGET_DOWN)]
    receives = ", ".join(([f"{len(streaming)} of {len(incoming)} streaming"] if incoming else ["-"]) + others)
    unknown = any(link.lag_bytes is None and link.state != Link.STREAMING for link in incoming)
    behind = max((link.lag_bytes or 0 for link in incoming), default=0)
    address = f"{site.runtime.address(site.any_spec(node.name))}:{site.configuration.postgresql_port}"
    return node.name, address, node.state, receives, f"{behind} bytes" if not unknown else f"{behind} bytes or more" if behind else "unknown"


def ending(site: Site, cluster: ClusterState, now: datetime) -> list[str]:
    """Warn of certificates that end soon, and tell the command that renews them."""
    if site.runtime.certificates is None:
        return []
    from pgunison.certificates import AUTHORITY, NOTICE
    ends = {f"the certificate of {node.name}": node.certificate_ends for node in cluster.nodes if node.certificate_ends} | site.runtime.certificates.ending()
    return [f"warning: {what} ends on {end:%Y-%m-%d}: python3 orchestrator.py renew{' --authority' if what == AUTHORITY else ''}"
            for what, end in ends.items() if end - now < NOTICE]

