"""README.md as its reader follows it: what it shows is what comes, but for numbers and times."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.integration import orchestrator

TEXT = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
# balancer stays in front, renew is for certificates, chaos makes a cluster of its own: they have tests of their own
NOT_RUN = {"balancer", "renew", "chaos"}
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster()


def only_block(mark: str) -> list[str]:
    """Return the lines of the one block that holds the mark."""
    block, = (block for block in BLOCKS if mark in block)
    return block.splitlines()


def alike(line: str) -> str:
    """Leave out of a line what differs from run to run: numbers, and how wide a column is."""
    return re.sub(r"-{2,}", "--", re.sub(r"\s+", " ", re.sub(r"\d+", "0", line))).strip()


def assert_shown(shown: list[str], came: str) -> None:
    """The lines must have come in that order; where one is "..." there are others between."""
    left = iter(map(alike, came.splitlines()))
    for line in map(alike, shown):
        assert line == "..." or line in left, f"{line!r} did not come, or not there:\n{came}"


def test_the_main_job_ends_as_shown(cluster):
    # as a terminal shows it: the steps, which are no output, among the rest
    done = subprocess.run(orchestrator.command_line(cluster), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout
    assert_shown(only_block("up after"), done.stdout)


def test_a_row_is_read_on_another_node_as_shown(cluster):
    shown = only_block("$ alias pgunison=")
    calls = [line[2:] for line in shown if line.startswith("$ ")]
    script = "\n".join([f'pgunison() {{ {shlex.join(orchestrator.command_line(cluster))} "$@"; }}', *(call for call in calls if not call.startswith("alias "))])
    done = subprocess.run(["bash", "-e"], input=script, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert_shown([line for line in shown if not line.startswith("$ ")], done.stdout)


def test_every_other_command_does_its_work(cluster):
    lines = [line.partition("#")[0].split() for line in only_block("pgunison down --purge")]
    assert lines[-1] == ["pgunison", "down", "--purge"]
    for _, *words in lines:
        if words[0] in NOT_RUN:
            continue
        orchestrator.run(cluster, *words)
    assert cluster.site.runtime.nodes() == []
