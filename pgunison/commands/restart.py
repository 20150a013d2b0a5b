"""``restart``: one node, stopped and started; the others go on."""

import click

from pgunison.cluster.execute import refuse
from pgunison.cluster.history import recorded
from pgunison.commands.call import Call
from pgunison.commands.up import accept, start_one
from pgunison.directory import only_orchestrator
from pgunison.progress import Progress


def restart(call: Call, name: str) -> None:
    """Stop a node and bring it up again, with what it missed meanwhile; interrupted in between and called again, it starts it."""
    progress, node = Progress(), call.site().spec(name)
    with only_orchestrator(call.directory()):
        site = call.site(make=True)
        accept(site)
        with recorded(site, f"restart {name}"):
            refuse(site, name)
            with progress.step(f"stop {name}"):
                site.runtime.stop(node)
            start_one(site, name, progress)


@click.command("restart")
@click.argument("node")
@click.pass_obj
def command(call: Call, node: str) -> None:
    """Stop NODE and start it again; the others go on."""
    restart(call, node)
