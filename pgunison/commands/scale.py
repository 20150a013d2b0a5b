"""``scale``: as many nodes as are asked for, one after another."""

import click

from pgunison.cluster.history import recorded
from pgunison.commands.add import add_to, addable
from pgunison.commands.call import Call
from pgunison.commands.drain import GRACE_S
from pgunison.commands.remove import remove_from
from pgunison.commands.up import accept
from pgunison.directory import only_orchestrator
from pgunison.errors import UsageError
from pgunison.progress import Progress


def scale(call: Call, count: int, grace_s: int, dry_run: bool) -> None:
    """Add nodes, or remove those with the greatest indices; interrupted and called again, it goes on."""
    with only_orchestrator(call.directory()):
        site = call.widened_site()
        if count < site.configuration.min_nodes:
            raise UsageError(f"{count} nodes are too few", f"min_nodes is {site.configuration.min_nodes}", "lower it in sysconfig.json, or ask for more")
        surplus = [node.name for node in reversed(site.configuration.nodes)][:max(0, len(site.names()) - count)]
        if dry_run:
            print(f"{len(site.names())} nodes; " + (f"remove {', then '.join(surplus)}" if surplus else f"add {max(0, count - len(site.names()))}"))
            return
        accept(site)
        progress = Progress()
        with recorded(site, f"scale {count}"):
            for name in surplus:
                with call.widened_site() as now:
                    remove_from(call, now, name, grace_s, progress)
            while not surplus:
                with call.site() as now:
                    cluster = now.observe()
                    if sum(node.serving for node in cluster.nodes) >= count and len(now.names()) >= count:
                        break
                    add_to(call, now, addable(now, None), progress)
    progress.say(f"{count} nodes")


@click.command("scale")
@click.option("--grace", "grace_s", type=click.IntRange(0, 86400), default=GRACE_S,
              help=f"For how many seconds clients of a node that is removed may stay; {GRACE_S} by default.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.argument("count", type=click.IntRange(1, 250))
@click.pass_obj
def command(call: Call, count: int, grace_s: int, dry_run: bool) -> None:
    """Add or remove nodes, one after another, until there are COUNT."""
    scale(call, count, grace_s, dry_run)
