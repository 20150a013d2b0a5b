"""``resume``: put a node into service again that ``drain`` took out, or a removal that was interrupted."""

import click

from pgunison.cluster.history import recorded, who
from pgunison.cluster.observe import IMPATIENCE_S
from pgunison.cluster.steps import OpenTable
from pgunison.commands.call import Call
from pgunison.directory import only_orchestrator
from pgunison.progress import Progress


def resume(call: Call, name: str) -> None:
    """Put a node into service again; a removal may have closed it."""
    progress, site = Progress(), call.site()
    site.spec(name)
    with only_orchestrator(call.directory()), recorded(site, f"resume {name}"):
        for table in site.observe(IMPATIENCE_S).node(name).tables:
            if not table.open:
                step = OpenTable(name, table)
                with progress.step(str(step)):
                    step.run(site)
        with progress.step(f"put {name} into service again"):
            done = site.call(name, "node.resume", by=who())["changed"]
    if not done:
        progress.say(f"{name} was not drained")


@click.command("resume")
@click.argument("node")
@click.pass_obj
def command(call: Call, node: str) -> None:
    """Put NODE into service again."""
    resume(call, node)
