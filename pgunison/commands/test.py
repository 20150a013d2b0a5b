"""``test``: the tests by hand, in order."""

import subprocess
import sys

import click

from pgunison.commands.call import Call
from pgunison.errors import OrchestratorError
from pgunison.tree import TREE

TESTS = ("insert", "update", "select")


def test(call: Call, names: list[str]) -> None:
    """Run tests/test-<name>.py, one after another; OrchestratorError when one does not hold."""
    call.site()
    for name in names:
        script = TREE / "tests" / f"test-{name}.py"
        done = subprocess.run([sys.executable, script, "--config", call.config_path.absolute(), "--runtime", call.runtime])
        if done.returncode:
            raise OrchestratorError(f"the {name} test does not hold", f"{script.name} ended with status {done.returncode}",
                                    "its output says why; python3 orchestrator.py verify compares the nodes")


@click.command("test")
@click.argument("name", type=click.Choice(TESTS), required=False)
@click.pass_obj
def command(call: Call, name: str | None) -> None:
    """Run one of the tests, or all three, against the cluster."""
    test(call, [name] if name else list(TESTS))
