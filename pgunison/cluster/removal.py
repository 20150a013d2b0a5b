"""Removal: a node leaves for good, and nothing that it ever acknowledged is lost.

Steps, each of which may be repeated, so that a removal that was interrupted is gone on with by the same command:

1. it takes no work, its clients leave;
2. it is closed: from here on nobody writes there, and what had been begun has ended;
3. everybody has confirmed all of its WAL, on disk. A link carries only what its own source wrote, so everybody has all that it ever acknowledged;
4. proof: all nodes hold the same rows, this one too;
5. it is written down that it is no member. Up to here ``resume`` takes everything back;
6. it is stopped, the others drop their links with it, its data is removed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pgunison.cluster.barrier import Barrier
from pgunison.cluster.drain import ask_clients, let_go
from pgunison.cluster.history import who
from pgunison.cluster.site import Site
from pgunison.cluster.state import ClusterState
from pgunison.cluster.verify import verify
from pgunison.configuration import members
from pgunison.configuration.sysconfig import NodeSpec
from pgunison.errors import OrchestratorError, UsageError
from pgunison.everywhere import everywhere

CONFIRMED_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Step:
    """A step of a removal: the sentence that is shown, and what does it."""

    sentence: str
    run: Callable[[], object]


def refusal(cluster: ClusterState, name: str, min_nodes: int) -> OrchestratorError | None:
    """Return why a member cannot be removed, None when it can: everybody who stays must get all that it has."""
    staying = [node for node in cluster.nodes if node.name != name]
    if len(staying) < max(min_nodes, 1):
        return UsageError(f"without {name} the cluster has too few nodes", f"{len(staying)} would stay, and min_nodes is {min_nodes}",
                          "python3 orchestrator.py add makes another one first")
    unfit = {node.name: node.problem or node.stale or node.fault or f"it is {node.state}" for node in cluster.nodes
             if not node.answers or node.stale or node.fault or not node.serving}
    if name in unfit:
        return OrchestratorError(f"{name} cannot be removed: it is {cluster.node(name).state}", f"{unfit[name]}; what it has acknowledged must be asked of it",
                                 f"python3 orchestrator.py up {name}, and remove it then")
    if unfit:
        return _deaf(name, unfit)
    unfit = {f"{link.source} to {link.target}": f"it is {link.state}" for link in cluster.links if link.source == name and not link.state.carries}
    return _deaf(name, unfit) if unfit else None


def _deaf(name: str, unfit: dict[str, str]) -> OrchestratorError:
    return OrchestratorError(f"{name} cannot be removed now: others do not get what it has", "; ".join(f"{where}: {why}" for where, why in unfit.items()),
                             "python3 orchestrator.py up, and remove it then")


def steps(site: Site, node: NodeSpec, grace_s: int) -> Iterator[Step]:
    """Yield the steps that remove a node; one that is written down as removed already needs the last of them only.

    ``site`` is the cluster with the node among its members, or when it was removed before, among its former ones.
    """
    name = node.name
    staying = [other for other in site.names() if other != name]
    others = frozenset((source, target) for source in staying for target in (*staying, name))
    if node not in site.configuration.former:
        yield Step(f"take {name} out of service", lambda: site.call(name, "node.drain", by=who()))
        yield Step(f"let the clients of {name} go, {grace_s} s at the most before they are sent", lambda: let_go(ask_clients(site, name), grace_s))
        yield Step(f"close {name}", lambda: site.call(name, "node.close"))
        yield Step(f"wait until {', '.join(staying)} {'has' if len(staying) == 1 else 'have'} all of {name}",
                   lambda: Barrier(site, others, durable=True).wait(CONFIRMED_TIMEOUT_S))
        yield Step(f"compare the rows of {name} with those of the others", lambda: verify(site))
        yield Step(f"write down that {name} is no member", lambda: members.read(site.directory).with_gone(node).write(site.directory))
    yield Step(f"stop {name}", lambda: site.runtime.stop(node))
    yield Step(f"drop the links with {name} on {', '.join(staying)}", lambda: everywhere(staying, lambda other: site.call(other, "node.part", peer=name)))
    yield Step(f"remove the data of {name}", lambda: site.runtime.purge(node))


def left_over(site: Site, cluster: ClusterState) -> str | None:
    """Return the name of a node whose removal has begun past the point of no return and has not ended; None when there is none."""
    former = {node.name for node in site.configuration.former}
    return next((node.name for node in cluster.nodes if node.name in former), None)


def require_ended(site: Site, cluster: ClusterState) -> None:
    """OrchestratorError when a removal has not ended."""
    if (name := left_over(site, cluster)) is not None:
        raise OrchestratorError(f"the removal of {name} has not ended", "it is no member any more, and something of it is there still",
                                f"python3 orchestrator.py remove {name} goes on with it")
