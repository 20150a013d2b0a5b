"""``down``: stop the cluster, or one node of it; with ``--purge`` remove the cluster."""

from contextlib import nullcontext

import click

from pgunison.cluster.history import recorded
from pgunison.cluster.observe import IMPATIENCE_S
from pgunison.cluster.site import Site
from pgunison.commands.asked import warn_of_few
from pgunison.commands.call import Call
from pgunison.configuration.sysconfig import NodeSpec
from pgunison.directory import only_orchestrator
from pgunison.errors import UsageError
from pgunison.everywhere import everywhere
from pgunison.progress import Progress
from pgunison.runtime.runtime import Process


def down(call: Call, purge: bool) -> None:
    """Stop the nodes, side by side; with ``purge`` remove everything of the cluster."""
    directory = call.directory()
    if not directory.exists():
        Progress().say(f"there is no cluster {call.configuration.id} on this machine: nothing to stop")
        return
    progress = Progress()
    with only_orchestrator(directory):
        site = call.site(make=True)
        nodes = [site.any_spec(name) for name in site.runtime.nodes()]
        # a cluster takes its history with it
        with nullcontext() if purge else recorded(site, "down"):
            stop(site, nodes, progress)
        if purge:
            with progress.step("remove the data"):
                for node in nodes:
                    site.runtime.purge(node)
                site.runtime.purge_all()


def stop(site: Site, nodes: list[NodeSpec], progress: Progress) -> None:
    """Stop nodes side by side."""
    with progress.step(f"stop {', '.join(node.name for node in nodes) or 'nothing'}"):
        everywhere(nodes, site.runtime.stop)


def down_one(call: Call, name: str) -> None:
    """Stop one node, and warn when fewer than min_nodes are ready without it; its data stays, and the others keep for it what it misses."""
    progress, site = Progress(), call.site()
    with only_orchestrator(call.directory()):
        node = made(site, name)
        if site.runtime.state(node) == Process.ABSENT:
            progress.say(f"{name} was never made: nothing to stop")
            return
        warn_of_few(site.configuration, site.observe(IMPATIENCE_S), name)
        with recorded(site, f"down {name}"):
            stop(site, [node], progress)


def made(site: Site, name: str) -> NodeSpec:
    """Return a node that is configured, or was once made; UsageError with the names there are when it is neither."""
    return site.any_spec(name) if name in site.runtime.nodes() else site.spec(name)


@click.command("down")
@click.option("--purge", is_flag=True, help="Remove the data, too.")
@click.argument("node", required=False)
@click.pass_obj
def command(call: Call, purge: bool, node: str | None) -> None:
    """Stop the cluster, or only NODE, and keep the data."""
    if node is None:
        down(call, purge)
    elif purge:
        raise UsageError("--purge removes the whole cluster", f"it was asked for {node} alone", f"python3 orchestrator.py down {node} keeps its data")
    else:
        down_one(call, node)
