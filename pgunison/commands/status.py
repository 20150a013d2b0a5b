"""``status``: what the cluster is now."""

import json

import click
from rich.console import Console

from pgunison import report
from pgunison.cluster.observe import IMPATIENCE_S
from pgunison.commands.call import Call


def status(call: Call, as_json: bool) -> bool:
    """Print what the cluster is now; True when it is healthy (:mod:`pgunison.cluster.diagnosis`)."""
    site = call.site()
    cluster = site.observe(IMPATIENCE_S)
    if not as_json:
        return report.table(site, cluster, Console(highlight=False, soft_wrap=True))
    found = report.as_dict(site, cluster)
    print(json.dumps(found, indent=2))
    return bool(found["healthy"])


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(call: Call, as_json: bool) -> None:
    """Show nodes and links; exit 0 when all is well, else 1."""
    if not status(call, as_json):
        click.get_current_context().exit(1)
