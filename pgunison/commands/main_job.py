"""Without a command: up, the tests, verify."""

from pgunison.commands.call import Call
from pgunison.commands.test import TESTS, test
from pgunison.commands.up import up
from pgunison.commands.verify import verify


def main_job(call: Call) -> None:
    """Bring the cluster up, run the three tests in order, check that all nodes hold the same rows."""
    up(call)
    test(call, list(TESTS))
    verify(call)
