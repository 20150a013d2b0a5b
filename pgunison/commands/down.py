"""``down``: stop the cluster; with ``--purge`` remove it."""

from concurrent.futures import ThreadPoolExecutor

import click

from pgunison.commands.call import Call
from pgunison.directory import only_orchestrator
from pgunison.progress import Progress


def down(call: Call, purge: bool) -> None:
    """Stop the nodes, side by side; with ``purge`` remove everything of the cluster."""
    directory = call.directory()
    if not directory.exists():
        Progress().say(f"there is no cluster {call.configuration.id} on this machine: nothing to stop")
        return
    progress = Progress()
    with only_orchestrator(directory):
        site = call.site(make=True)
        nodes = [site.any_spec(name) for name in site.runtime.nodes()]
        with progress.step(f"stop {', '.join(node.name for node in nodes) or 'nothing'}"), ThreadPoolExecutor(max_workers=max(1, len(nodes))) as pool:
            list(pool.map(site.runtime.stop, nodes))
        if purge:
            with progress.step("remove the data"):
                for node in nodes:
                    site.runtime.purge(node)
                site.runtime.purge_all()


@click.command("down")
@click.option("--purge", is_flag=True, help="Remove the data, too.")
@click.pass_obj
def command(call: Call, purge: bool) -> None:
    """Stop the cluster and keep its data."""
    down(call, purge)
