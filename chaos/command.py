"""``chaos``, as a command of the command line; orchestrator.py adds it to those of pgunison."""

import json
import signal
from typing import Any

import click

from chaos.options import PLANTS, Options, fault_list
from chaos.run import run
from pgunison.commands.call import Call
from pgunison.errors import NotConverged
from pgunison.progress import Progress


def chaos(call: Call, options: dict[str, Any]) -> None:
    """Shake a cluster of its own, made after the configuration; NotConverged with what was found."""
    # a cluster of its own needs no engine unless it is asked for
    runtime = "docker" if call.runtime == "docker" else "process"
    given = {name: value for name, value in options.items() if value is not None}
    asked = Options(**given | {"faults": fault_list(str(options["faults"]), runtime), "runtime": runtime})
    # what ends this process must leave no cluster behind
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = run(asked, json.loads(call.config_path.read_text(encoding="utf-8-sig")), Progress().say)
    print(report.counts())
    if not report.converged:
        raise NotConverged(f"chaos found {len(report.findings)} things that must not be", report.found(), "please report it")
    print("every node holds the same rows, and everything that was acknowledged")


@click.command("chaos")
@click.option("--seed", type=int, help="What is drawn at random is drawn from this number; a new one by default.")
@click.option("--seconds", type=click.IntRange(min=1), default=60, help="How long writers write under faults; 60 by default.")
@click.option("--nodes", type=click.IntRange(min=2, max=16), default=3, help="How many nodes the cluster has; 3 by default.")
@click.option("--faults", default="all", help="Names with commas, or all, or none, or all but some: -disk,-clock. A wrong name tells the right ones.")
@click.option("--plant", type=click.Choice(list(PLANTS)), help="Turn a part of the merge off, to see that it is found.")
@click.option("--keep", is_flag=True, help="Leave the cluster running when something is found.")
@click.pass_obj
def command(call: Call, /, **options: Any) -> None:
    """Shake a cluster of its own and compare its nodes.

    Random writes under random faults, then the same rows everywhere, or exit status 3. Its nodes are processes; containers with --runtime docker.
    """
    chaos(call, options)
