"""pgunison/runtime/process.py: what is said of an agent that has ended, and what an interruption leaves."""

import fcntl
import shutil
from pathlib import Path

import pytest

from pgunison import credentials
from pgunison.configuration.sysconfig import load
from pgunison.errors import OrchestratorError
from pgunison.runtime.process import ProcessRuntime

CONFIGURATION = load(Path(__file__).parents[2] / "sysconfig.json")
NODE = CONFIGURATION.node("node1")


@pytest.fixture
def processes(tmp_path) -> ProcessRuntime:
    """A runtime with a node whose agent does not run."""
    (tmp_path / "nodes" / "node1").mkdir(parents=True)
    (tmp_path / "nodes" / "node1" / "agent.lock").touch()
    return ProcessRuntime(CONFIGURATION, tmp_path, credentials.ensure(CONFIGURATION, tmp_path / "secrets"))


@pytest.mark.parametrize(("words", "detail", "hint"), [
    (None, "without a word, as one does that is killed", "python3 orchestrator.py up"),
    ("", "without a word, as one does that is killed", "python3 orchestrator.py up"),
    ("Traceback\nport 64000 is not free\n", "port 64000 is not free", "python3 orchestrator.py logs node1")])
def test_an_agent_that_has_ended_is_not_waited_for(processes, tmp_path, words, detail, hint):
    if words is not None:
        (tmp_path / "nodes" / "node1" / "agent.err").write_text(words)
    with pytest.raises(OrchestratorError, match="the agent of node1 ended") as ended:
        processes.require_running(NODE)
    assert (ended.value.detail, ended.value.hint) == (detail, hint)


def test_one_that_holds_its_lock_runs(processes, tmp_path):
    with open(tmp_path / "nodes" / "node1" / "agent.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        processes.require_running(NODE)


def test_a_purge_that_was_interrupted_is_finished_by_the_next_one(processes, tmp_path, monkeypatch):
    (tmp_path / "nodes" / "node1" / "data").mkdir()
    with monkeypatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
        interrupted.setattr(shutil, "rmtree", interrupt)
        processes.purge(NODE)
    assert list((tmp_path / "nodes").iterdir()) != []
    # half a node is none, for every command
    assert processes.nodes() == [] and processes.state(NODE) == "absent"
    processes.purge(NODE)
    assert list((tmp_path / "nodes").iterdir()) == []


def interrupt(path: Path, ignore_errors: bool = False) -> None:
    if path.exists():
        raise KeyboardInterrupt
