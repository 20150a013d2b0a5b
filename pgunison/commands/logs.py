"""``logs``: what a node has written."""

import sys

import click

from pgunison.commands.call import Call


def logs(call: Call, node: str) -> None:
    """Print the node's log files, the last lines of each."""
    site = call.site()
    for name, lines in site.runtime.logs(site.spec(node)):
        print(f"==> {name} <==")
        sys.stdout.writelines(lines)


@click.command("logs")
@click.argument("node")
@click.pass_obj
def command(call: Call, node: str) -> None:
    """Print a node's log."""
    logs(call, node)
