"""``add``: one node more, while the others go on."""

import click

from pgunison.cluster.desired import desired
from pgunison.cluster.execute import bring_up
from pgunison.cluster.history import recorded
from pgunison.cluster.plan import narrow, plan
from pgunison.cluster.removal import require_ended
from pgunison.cluster.site import Site
from pgunison.cluster.verify import total_rows
from pgunison.commands.call import Call
from pgunison.commands.up import accept
from pgunison.configuration import members
from pgunison.configuration.sysconfig import NodeSpec
from pgunison.contract.agent import capacity
from pgunison.directory import only_orchestrator
from pgunison.errors import OrchestratorError, UsageError
from pgunison.progress import Progress


def add(call: Call, name: str | None, dry_run: bool) -> None:
    """Add a node, or go on with one whose addition was interrupted."""
    with only_orchestrator(call.directory()):
        site = call.site()
        node = addable(site, name)
        if dry_run:
            supposed = call.site(supposed=members.read(site.directory).with_added(node))
            for step in plan(*narrow(desired(supposed.configuration), supposed.observe(), node.name)):
                print(step)
            return
        accept(site)
        with recorded(site, f"add {node.name}"):
            add_to(call, site, node, Progress())


def add_to(call: Call, site: Site, node: NodeSpec, progress: Progress, replaces: str | None = None) -> None:
    """Write the node down, bring it up, and prove that it holds the same rows."""
    count = len({*site.names(), node.name})
    if count > site.configuration.max_nodes:
        progress.say(f"{count} nodes are more than max_nodes, which is {site.configuration.max_nodes}; {node.name} stays a member until it is removed")
    if node.name not in site.names():
        members.read(site.directory).with_added(node, replaces).write(site.directory)
    with call.site() as grown:
        bring_up(grown, progress, node.name)
        with progress.step("compare the rows"):
            rows = total_rows(grown)
    print(f"{node.name} holds the same {rows:,} rows", flush=True)


def addable(site: Site, name: str | None) -> NodeSpec:
    """Place a new node, or return a member that has not joined yet: the one of that name, or without a name the first. What is in the way is raised."""
    cluster = site.observe()
    require_ended(site, cluster)
    configuration = site.configuration
    broken = sorted(f"{link.source} to {link.target} is {link.state}" for link in cluster.links
                    if cluster.node(link.source).serving and cluster.node(link.target).serving and not link.state.carries)
    if broken:
        raise OrchestratorError("no node can be added while a link between members carries nothing", "; ".join(broken),
                                "python3 orchestrator.py up, and add it then")
    unfinished = [node for node in configuration.nodes if not cluster.node(node.name).serving and name in (None, node.name)]
    if unfinished:
        return unfinished[0]
    known = (*configuration.nodes, *configuration.former)
    index = max(configuration.max_nodes, *(node.index for node in known)) + 1
    if name is not None and any(node.name == name for node in known):
        raise UsageError(f"there is a node {name} already, or there was", "a name is never used again", "choose another one, or none")
    if index > capacity(configuration.max_nodes):
        raise UsageError(f"the nodes leave room for {capacity(configuration.max_nodes)} nodes, and indices are never used again",
                         f"the next index is {index}", "raise max_nodes in sysconfig.json, and python3 orchestrator.py up")
    return configuration.node_spec(name or f"node{index}", index)


@click.command("add")
@click.option("--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.argument("name", required=False)
@click.pass_obj
def command(call: Call, name: str | None, dry_run: bool) -> None:
    """Add a node, of that NAME or the next one, while the others are written to."""
    add(call, name, dry_run)
