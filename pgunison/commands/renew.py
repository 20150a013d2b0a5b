"""``renew``: new certificates, or a new authority, while the cluster runs."""

import click

from pgunison.cluster.history import recorded
from pgunison.cluster.renewal import renew as renew_certificates
from pgunison.commands.call import Call
from pgunison.directory import only_orchestrator
from pgunison.progress import Progress


def renew(call: Call, authority: bool) -> None:
    """Make new certificates, or a new authority, while the cluster runs."""
    with only_orchestrator(call.directory()):
        site = call.site()
        with recorded(site, f"renew{' --authority' if authority else ''}"):
            renew_certificates(site, Progress(), authority=authority)


@click.command("renew")
@click.option("--authority", is_flag=True, help="Make a new authority, which signs from the next renewal on; until then give its file to those who connect.")
@click.pass_obj
def command(call: Call, authority: bool) -> None:
    """Renew the certificates of all nodes; none is stopped."""
    renew(call, authority)
