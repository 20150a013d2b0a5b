"""``remove``: one node fewer, for good."""

import click

from pgunison.cluster.history import recorded
from pgunison.cluster.removal import refusal, steps
from pgunison.cluster.site import Site
from pgunison.cluster.verify import proof
from pgunison.commands.call import Call
from pgunison.commands.drain import GRACE_S
from pgunison.configuration.sysconfig import NodeSpec
from pgunison.directory import only_orchestrator
from pgunison.progress import Progress


def remove(call: Call, name: str, grace_s: int, dry_run: bool) -> None:
    """Remove a member when everybody who stays has all that it has; interrupted and called again, it goes on."""
    with only_orchestrator(call.directory()):
        site = call.widened_site()
        if dry_run:
            for step in steps(site, removable(site, name), grace_s):
                print(step.sentence)
            return
        with recorded(site, f"remove {name}"):
            remove_from(call, site, name, grace_s, Progress())


def remove_from(call: Call, site: Site, name: str, grace_s: int, progress: Progress) -> None:
    """Take all steps, then prove that those who stay hold the same rows."""
    for step in steps(site, removable(site, name), grace_s):
        with progress.step(step.sentence):
            step.run()
    with call.widened_site() as left:
        left.endpoints().write(left.directory)
        with progress.step("compare the rows of those who stay"):
            said = proof(left)
    print(f"{said}; {name} is gone", flush=True)


def removable(site: Site, name: str) -> NodeSpec:
    """Return a member that can be removed, or a former one whose removal can be gone on with; what is in the way is raised."""
    former = next((node for node in site.configuration.former if node.name == name), None)
    if former is not None:
        return former
    node = site.spec(name)
    if (refused := refusal(site.observe(), name, site.configuration.min_nodes)) is not None:
        raise refused
    return node


@click.command("remove")
@click.option("--grace", "grace_s", type=click.IntRange(0, 86400), default=GRACE_S,
              help=f"For how many seconds clients may stay before their connections are ended; {GRACE_S} by default.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and do nothing.")
@click.argument("node")
@click.pass_obj
def command(call: Call, node: str, grace_s: int, dry_run: bool) -> None:
    """Remove NODE for good, when the others have all that it has."""
    remove(call, node, grace_s, dry_run)
