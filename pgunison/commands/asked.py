"""Which nodes a command could ask, and what it must say of the others."""

import sys
from collections.abc import Collection

from pgunison.cluster.state import ClusterState
from pgunison.configuration.sysconfig import Configuration
from pgunison.errors import OrchestratorError


def who_answers(cluster: ClusterState, configured: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the names of the nodes that can be asked for their rows, and for each other one a text why not; OrchestratorError when none can."""
    asked = [node.name for node in cluster.nodes if node.answers and node.prepared and node.name in configured]
    missing = [f"{node.name} is {node.state}" + (f" ({node.problem})" if node.problem else "") + ("" if node.name in configured else ", and not configured")
               for node in cluster.nodes if node.name not in asked]
    if not asked:
        raise OrchestratorError("no node can be asked", "; ".join(missing), "python3 orchestrator.py up")
    return asked, missing


def require_all(missing: list[str], done: str) -> None:
    """OrchestratorError when there is a node that could not be asked: an answer for some must not be taken for one for all."""
    if missing:
        one = len(missing) == 1
        raise OrchestratorError(f"{len(missing)} {'node was' if one else 'nodes were'} not {done}", "; ".join(missing),
                                "python3 orchestrator.py status says what is wrong, python3 orchestrator.py up starts what is down")


def warn_of_surplus_tables(configuration: Configuration, cluster: ClusterState) -> None:
    """Name on stderr the tables that are replicated and that the configuration does not have (any more): nobody would compare them."""
    configured = {(table.schema, table.name) for table in configuration.tables}
    surplus = sorted({str(table) for node in cluster.nodes for table in node.tables if (table.schema, table.name) not in configured})
    for name in surplus:
        print(f"warning: {name} is replicated, and the configuration does not have it: it goes on being replicated, and is not compared", file=sys.stderr)


def warn_of_few(configuration: Configuration, cluster: ClusterState, name: str) -> None:
    """Say on stderr that fewer nodes than the configuration wants at the least are ready without that one."""
    ready = [node.name for node in cluster.nodes if node.state == "ready" and node.name != name]
    if len(ready) < configuration.min_nodes:
        print(f"warning: without {name} {len(ready) or 'no'} {'node is' if len(ready) == 1 else 'nodes are'} ready"
              f"{': ' if ready else ''}{', '.join(ready)}; min_nodes is {configuration.min_nodes}", file=sys.stderr)
