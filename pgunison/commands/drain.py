"""``drain``: take a node out of service for a while; its links go on."""

import click

from pgunison.cluster.drain import ask_clients, let_go, refusal
from pgunison.cluster.history import recorded, who
from pgunison.cluster.observe import IMPATIENCE_S
from pgunison.commands.asked import warn_of_few
from pgunison.commands.call import Call
from pgunison.directory import only_orchestrator
from pgunison.program import as_called
from pgunison.progress import Progress

GRACE_S = 10


def drain(call: Call, name: str, grace_s: int, force: bool) -> None:
    """Take a node out of service until ``resume``, and have its writers and readers leave it. Interrupted and called again, it goes on."""
    progress, site = Progress(), call.site()
    site.spec(name)
    with only_orchestrator(call.directory()), recorded(site, f"drain {name} --grace {grace_s}{' --force' if force else ''}"):
        cluster = site.observe(IMPATIENCE_S)
        if (refused := refusal(cluster, name, force=force)) is not None:
            raise refused
        warn_of_few(site.configuration, cluster, name)
        with progress.step(f"take {name} out of service"):
            site.call(name, "node.drain", by=who())
        with progress.step(f"let the clients of {name} go, {grace_s} s at the most before they are sent"):
            left = let_go(ask_clients(site, name), grace_s)
    kept = f"; {left} {'connection is' if left == 1 else 'connections are'} there again, of clients that do not ask /ready" if left else ""
    progress.say(as_called(f"{name} is drained, its links go on{kept}; python3 orchestrator.py resume {name} puts it into service again"))


@click.command("drain")
@click.option("--grace", "grace_s", type=click.IntRange(0, 86400), default=GRACE_S,
              help=f"For how many seconds clients may stay before their connections are ended; {GRACE_S} by default.")
@click.option("--force", is_flag=True, help="Also when no other node is ready.")
@click.argument("node")
@click.pass_obj
def command(call: Call, node: str, grace_s: int, force: bool) -> None:
    """Take NODE out of service for a while; its links go on."""
    drain(call, node, grace_s, force)
