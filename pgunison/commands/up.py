"""``up``: start the cluster, or one node of it, and finish what is missing."""

import time

import click

from pgunison import report
from pgunison.cluster.execute import bring_up
from pgunison.cluster.history import recorded
from pgunison.cluster.site import Site
from pgunison.commands.asked import warn_of_surplus_tables
from pgunison.commands.call import Call
from pgunison.configuration.approved import approve
from pgunison.configuration.identity import require_same
from pgunison.directory import only_orchestrator
from pgunison.progress import Progress
from pgunison.runtime.choice import choose


def up(call: Call) -> None:
    """Start or finish the cluster."""
    progress, began = Progress(), time.monotonic()
    choose(call.runtime, call.configuration.id).require_usable()
    with only_orchestrator(call.directory()):
        site = call.site(make=True)
        accept(site)
        progress.say(f"{call.configuration.id}: {len(site.configuration.nodes)} nodes, runtime {site.runtime.name}")
        with recorded(site, "up"):
            cluster = bring_up(site, progress)
    warn_of_surplus_tables(call.configuration, cluster)
    healthy = report.table(site, cluster)
    progress.say(f"up after {time.monotonic() - began:.1f} s" + ("" if healthy else ", and not all is well"))


def up_one(call: Call, name: str) -> None:
    """Start one node, and mend it and its links; the others are left alone."""
    call.site().spec(name)
    with only_orchestrator(call.directory()):
        site = call.site(make=True)
        accept(site)
        with recorded(site, f"up {name}"):
            start_one(site, name, Progress())


def accept(site: Site) -> None:
    """Take the configuration for that of the cluster from here on; UsageError when it is one of another cluster."""
    require_same(site.configuration, site.directory, site.runtime.nodes())
    approve(site.directory, site.configuration.digest)


def start_one(site: Site, name: str, progress: Progress) -> None:
    """Bring up one node, and say how the cluster is then."""
    began = time.monotonic()
    healthy = report.table(site, bring_up(site, progress, name))
    progress.say(f"{name} is up after {time.monotonic() - began:.1f} s" + ("" if healthy else ", and not all is well"))


@click.command("up")
@click.argument("node", required=False)
@click.pass_obj
def command(call: Call, node: str | None) -> None:
    """Start the cluster, or only NODE, or finish what is missing of it."""
    if node is None:
        up(call)
    else:
        up_one(call, node)
