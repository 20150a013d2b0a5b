"""``replace``: a new node in the place of another."""

import click

from pgunison.cluster.history import recorded
from pgunison.cluster.site import Site
from pgunison.commands.add import add_to, addable
from pgunison.commands.call import Call
from pgunison.commands.drain import GRACE_S
from pgunison.commands.remove import remove_from
from pgunison.commands.up import accept
from pgunison.configuration import members
from pgunison.configuration.sysconfig import NodeSpec
from pgunison.directory import only_orchestrator
from pgunison.errors import UsageError
from pgunison.progress import Progress


def replace(call: Call, old: str, new: str | None, grace_s: int, dry_run: bool) -> None:
    """Add a node, then remove the other one; interrupted and called again, it goes on."""
    with only_orchestrator(call.directory()):
        site = call.site()
        node = successor(site, old, new)
        if dry_run:
            print(f"add {node.name}, then remove {old}" if node else f"go on with the removal of {old}")
            return
        accept(site)
        progress = Progress()
        with recorded(site, f"replace {old}{f' {new}' if new else ''}"):
            if node is not None:
                add_to(call, site, node, progress, replaces=old)
            with call.widened_site() as now:
                remove_from(call, now, old, grace_s, progress)


def successor(site: Site, old: str, new: str | None) -> NodeSpec | None:
    """Place the node that takes the place of ``old``, or return the one that was added for it; None when ``old`` is no member any more."""
    if any(node.name == old for node in site.configuration.former):
        return None
    site.spec(old)
    begun = members.read(site.directory).successor(old)
    if begun is None:
        return addable(site, new)
    if new not in (None, begun):
        raise UsageError(f"{old} is being replaced by {begun} already", f"{new} was asked for", f"python3 orchestrator.py replace {old} goes on with {begun}")
    return site.spec(begun)


@click.command("replace")
@click.option("--grace", "grace_s", type=click.IntRange(0, 86400), default=GRACE_S,
              help=f"For how many seconds clients of OLD may stay before their connections are ended; {GRACE_S} by default.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.argument("old")
@click.argument("new", required=False)
@click.pass_obj
def command(call: Call, old: str, new: str | None, grace_s: int, dry_run: bool) -> None:
    """Add a node, of the name NEW or the next one, then remove OLD."""
    replace(call, old, new, grace_s, dry_run)
