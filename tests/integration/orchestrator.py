"""The orchestrator as a program of its own, and what it must always do."""

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
COMMAND_TIMEOUT_S = 120.0


def options(cluster) -> list[str]:
    """Return the options that name the cluster, for the orchestrator and for the tests by hand."""
    return ["--config", str(cluster.config_path), "--runtime", cluster.site.runtime.name]


def command_line(cluster, *words: str) -> list[str]:
    return [sys.executable, str(PROJECT / "orchestrator.py"), *options(cluster), *words]


def run(cluster, *words: str, status: int = 0) -> subprocess.CompletedProcess:
    """Run the orchestrator, which must end with that exit status and without a traceback."""
    done = subprocess.run(command_line(cluster, *words), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL)
    assert done.returncode == status, f"{words}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    if status:
        assert_explained(done.stderr)
    return done


def assert_explained(errors: str) -> None:
    """An error has its message, what was seen, and the next step."""
    found = [line for line in errors.splitlines() if re.match("(error|detail|hint): .", line)]
    assert [line.partition(":")[0] for line in found] == ["error", "detail", "hint"], errors
    assert "Traceback" not in errors
