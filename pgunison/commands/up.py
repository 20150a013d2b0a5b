"""``up``: start the cluster, or finish what is missing of it."""

import time

import click

from pgunison import report
from pgunison.cluster.execute import bring_up
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
        require_same(call.configuration, site.directory, site.runtime.nodes())
        approve(site.directory, call.configuration.digest)
        progress.say(f"{call.configuration.id}: {call.configuration.max_nodes} nodes, runtime {site.runtime.name}")
        cluster = bring_up(site, progress)
    warn_of_surplus_tables(call.configuration, cluster)
    healthy = report.table(site, cluster)
    progress.say(f"up after {time.monotonic() - began:.1f} s" + ("" if healthy else ", and not all is well"))


@click.command("up")
@click.pass_obj
def command(call: Call) -> None:
    """Start the cluster, or finish what is missing of it."""
    up(call)
