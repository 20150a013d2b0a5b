"""Drain: a node leaves service for a while. May it, and how its clients are asked to go."""

from collections.abc import Callable

from pgunison.cluster.site import Site
from pgunison.cluster.state import ClusterState
from pgunison.contract.waiting import Late, wait_until
from pgunison.errors import OrchestratorError

# what runs when the grace is over may end by itself for so long; after it, so long do ended connections have to go
LAST_S, GONE_S = 5.0, 2.0
# a grace may be a day
LONGEST_PAUSE_S = 1.0


def refusal(cluster: ClusterState, name: str, *, force: bool) -> OrchestratorError | None:
    """Return why the node cannot leave service, None when it can: only a member that answers can, and the last one that is ready only with ``force``."""
    node = cluster.node(name)
    if node.state == "drained":
        return None
    if not node.answers or node.stale or not node.serving or node.fault:
        why = node.problem or node.stale or node.fault or f"it is {node.state}"
        return OrchestratorError(f"{name} cannot be drained: it is {node.state}", why, f"python3 orchestrator.py up {name}, and drain it then")
    others = [other for other in cluster.nodes if other.name != name]
    if force or any(other.state == "ready" for other in others):
        return None
    seen = ", ".join(f"{other.name} is {other.state}" for other in others) or "it is the only node"
    return OrchestratorError(f"{name} is the last node that is ready", seen,
                             f"bring another one back (up NODE, resume NODE), or python3 orchestrator.py drain {name} --force: then no node serves")


def let_go(ask: Callable[[str], tuple[int, int]], grace_s: float) -> int:
    """Wait for the clients to leave, ``grace_s`` at the most; then end the connections without an open transaction, and ``LAST_S`` later all others.

    ``ask`` ends "none", "idle" or "all" of them, and returns how many there were, idle and running. Returns how many are there in the end: those of clients
    that came back, because new connections are not refused.
    """
    left = 0
    for end, patience_s in (("none", grace_s), ("idle", LAST_S), ("all", GONE_S)):
        if end != "none":
            ask(end)
        try:
            wait_until(lambda: sum(ask("none")) or None, "the clients are gone", patience_s, longest_pause_s=LONGEST_PAUSE_S)
            return 0
        except Late as late:
            left = int(late.last)
    return left


def ask_clients(site: Site, name: str) -> Callable[[str], tuple[int, int]]:
    """Return what :func:`let_go` asks of a node."""
    def ask(end: str) -> tuple[int, int]:
        found = site.call(name, "node.disconnect", end=end)
        return found["idle"], found["running"]

    return ask
