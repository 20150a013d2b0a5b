"""pgunison/cli.py and orchestrator.py: every wrong way to call them ends with error and hint, the right status, and no traceback."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import click
import pytest

from orchestrator import COMMANDS
from pgunison import cli
from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import load
from pgunison.errors import NotConverged, OrchestratorError, UsageError

PROJECT = Path(__file__).parents[2]
DOOR = PROJECT / "orchestrator.py"
DEFAULT = PROJECT / "sysconfig.json"


@pytest.fixture
def orchestrator(tmp_path, monkeypatch, capsys):
    """Call the command line in this process, with an empty state directory."""
    def call(*arguments: str | Path, state: Path = tmp_path / "state") -> subprocess.CompletedProcess:
        monkeypatch.setenv("PGUNISON_STATE", str(state))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["orchestrator.py", *map(str, arguments)])
        status = cli.main(COMMANDS, DEFAULT)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, said.out, said.err)

    return call


@pytest.fixture
def door(tmp_path):
    """Run orchestrator.py in a process of its own."""
    def run(*arguments: str, python: tuple[str | Path, ...] = (sys.executable,)) -> subprocess.CompletedProcess:
        done = subprocess.run([*python, DOOR, *arguments], cwd=tmp_path, env=os.environ | {"PGUNISON_STATE": str(tmp_path / "state")},
                              capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr + done.stdout
        return done

    return run


def assert_said(done, status: int, error: str, hint: str) -> None:
    """One line that begins with error, then what was seen, then the next step, all on stderr."""
    lines = done.stderr.splitlines()
    assert done.returncode == status, done.stderr
    assert lines[0].startswith("error: ") and error in lines[0]
    assert lines[-1].startswith("hint: ") and hint in lines[-1]
    assert len(lines) == 2 or lines[1].startswith("detail: ")
    assert done.stdout == ""


# --- the command line ---


@pytest.mark.parametrize(("arguments", "error", "hint"), [
    (["frobnicate"], "frobnicate", "--help"), (["--frobnicate"], "--frobnicate", "--help"), (["up", "--frobnicate"], "--frobnicate", "up --help"),
    (["up", "node1", "node2"], "node2", "up --help"), (["restart"], "NODE", "restart --help"),
    (["--runtime", "podman", "up"], "podman", "--help"), (["--config"], "--config", "--help"),
    (["dsn", "--role", "king"], "king", "dsn --help"), (["test", "speed"], "speed", "test --help"), (["logs"], "NODE", "logs --help")])
def test_a_wrong_command_line(orchestrator, arguments, error, hint):
    assert_said(orchestrator(*arguments), 2, error, hint)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["dsn", "-h"], *([command, "--help"] for command in sorted(cli.COMMANDS))])
def test_help(orchestrator, arguments):
    done = orchestrator(*arguments)
    assert done.returncode == 0 and done.stdout.startswith("Usage: ") and not done.stderr


def test_help_names_every_command_of_the_contract(orchestrator):
    shown = orchestrator("--help").stdout
    assert all(f"\n  {command} " in shown for command in (
        "up", "down", "status", "dsn", "test", "drain", "resume", "verify", "balancer", "history", "logs"))


# --- the configuration ---


def test_a_configuration_that_is_not_there(orchestrator):
    assert_said(orchestrator("--config", "none.json", "status"), 2, "none.json: no such file", "--config")


@pytest.mark.parametrize("command", ["up", "down", "status", "dsn", "verify"])
def test_a_configuration_that_is_wrong(orchestrator, tmp_path, command):
    written = json.loads((PROJECT / "sysconfig.json").read_text())
    written["system"]["networks"][0]["config"]["scale"]["max_nodes"] = "three"
    written["system"]["unknown"] = 1
    (tmp_path / "wrong.json").write_text(json.dumps(written))
    done = orchestrator("--config", "wrong.json", command)
    assert_said(done, 2, "2 values are wrong", "")
    assert "$.system.networks[0].config.scale.max_nodes: expected" in done.stderr and "$.system.unknown" in done.stderr


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100000, b'{"system": NaN}'])
def test_a_configuration_that_is_none(orchestrator, tmp_path, content):
    (tmp_path / "wrong.json").write_bytes(content)
    assert_said(orchestrator("--config", "wrong.json"), 2, "wrong.json", "")


def test_a_directory_in_place_of_a_configuration(orchestrator, tmp_path):
    assert_said(orchestrator("--config", tmp_path, "status"), 2, "cannot be read", "")


# --- before up ---


@pytest.mark.parametrize("arguments", [["dsn"], ["dsn", "node1"], ["dsn", "--role", "owner"], ["status"], ["status", "--json"], ["test"], ["test", "insert"],
                                       ["verify"], ["logs", "node1"], ["up", "node1"], ["down", "node1"], ["restart", "node1"]])
def test_before_up_it_says_what_to_do(orchestrator, tmp_path, arguments):
    assert_said(orchestrator(*arguments), 1, "there is no cluster lb-test", "python3 orchestrator.py up")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("arguments", [["down"], ["down", "--purge"]])
def test_there_is_nothing_to_stop_before_up(orchestrator, tmp_path, arguments):
    done = orchestrator(*arguments)
    assert done.returncode == 0 and "nothing to stop" in done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_a_state_directory_that_cannot_be_one(orchestrator, tmp_path, command):
    (tmp_path / "file").write_text("")
    done = orchestrator(command, state=tmp_path / "file")
    if command != "down":
        assert_said(done, 1, "", "")
    assert "a fault of pgunison" not in done.stderr


def test_what_cannot_come_up_for_want_of_an_engine_leaves_nothing_behind(orchestrator, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert_said(orchestrator("--config", PROJECT / "sysconfig.json", "--runtime", "docker", "up"), 1, "no Docker engine answers", "--runtime process")
    assert not (tmp_path / "state").exists()


# --- the door ---


@pytest.mark.parametrize(("arguments", "status", "error"), [
    (["frobnicate"], 2, "frobnicate"), (["--config", "none.json"], 2, "none.json"), (["status"], 1, "there is no cluster")])
def test_the_door_hands_the_status_out(door, arguments, status, error):
    assert_said(door(*arguments), status, error, "")


# --- a Python without the packages ---


WITHOUT_PACKAGES = (sys.executable, "-S")


@pytest.fixture
def checkout(tmp_path):
    """A checkout in which nobody has called make install."""
    (tmp_path / "checkout" / "tests").mkdir(parents=True)
    for name in ("orchestrator.py", "tests/test-insert.py"):
        shutil.copy(PROJECT / name, tmp_path / "checkout" / name)
    shutil.copytree(PROJECT / "pgunison", tmp_path / "checkout" / "pgunison")
    return tmp_path / "checkout"


def called(*command: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("script", ["orchestrator.py", "tests/test-insert.py"])
def test_a_python_without_the_packages_is_told_what_to_do(checkout, script):
    assert_said(called(*WITHOUT_PACKAGES, checkout / script, "--help"), 1, "this Python lacks the package", "make install")


def test_a_fresh_virtual_environment_is_told_what_to_do(checkout, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python3"
    done = called(python, checkout / "orchestrator.py")
    assert_said(done, 1, "this Python lacks the package", "make install")
    assert f"detail: {python}" in done.stderr


@pytest.mark.parametrize("script", ["orchestrator.py", "tests/test-insert.py"])
def test_a_python_without_the_packages_goes_on_in_the_virtual_environment(checkout, script):
    python = checkout / ".venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "goes on: $*"\nexit 3\n')
    python.chmod(0o755)
    done = called(*WITHOUT_PACKAGES, checkout / script, "status", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (3, f"goes on: {checkout / script} status --json\n", "")


def test_a_virtual_environment_that_lacks_a_package_does_not_hand_over_to_itself(checkout):
    venv.create(checkout / ".venv", with_pip=False)
    assert_said(called(checkout / ".venv" / "bin" / "python3", checkout / "orchestrator.py"), 1, "this Python lacks the package", "make install")


# --- what a command raises ---


@pytest.fixture
def main(monkeypatch, capsys):
    """Let ``up`` raise an error; returns status and what was said."""
    def run(error: BaseException) -> tuple[int, str]:
        def fail(call):
            raise error

        monkeypatch.setattr("pgunison.commands.up.up", fail)
        monkeypatch.setattr(sys, "argv", ["orchestrator.py", "up"])
        return cli.main(COMMANDS, DEFAULT), capsys.readouterr().err

    return run


@pytest.mark.parametrize(("error", "status"), [
    (OrchestratorError("it failed", "seen", "do"), 1), (UsageError("it failed", "seen", "do"), 2), (NotConverged("it failed", "seen", "do"), 3)])
def test_an_error_has_its_status(main, error, status):
    assert main(error) == (status, "error: it failed\ndetail: seen\nhint: do\n")


def test_an_error_without_a_detail(main):
    assert main(OrchestratorError("it failed", "", "do")) == (1, "error: it failed\nhint: do\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption_says_that_it_can_be_continued(main, error):
    status, said = main(error)
    assert status == 1
    # click ends the terminal's line, where ^C stands, first
    assert said.lstrip("\n").startswith("error: interrupted\n") and "continues" in said


def test_a_bug_says_where_it_is(main):
    status, said = main(RuntimeError("two\nlines"))
    assert status == 1
    assert said.splitlines()[0] == "error: a fault of pgunison: RuntimeError: two"
    assert said.splitlines()[1].startswith("detail: test_cli.py, line ")


def test_nothing_raised_is_done(monkeypatch, capsys):
    monkeypatch.setattr("pgunison.commands.main_job.main_job", lambda call: None)
    monkeypatch.setattr(sys, "argv", ["orchestrator.py"])
    assert cli.main(COMMANDS, DEFAULT) == 0


# --- where the output goes ---

NOT_CONVERGED = """
import click
from pgunison.errors import NotConverged
@click.command("compare")
def command():
    print("public.table1: 7 rows, the same on 3 nodes")
    raise NotConverged("the nodes hold different rows of public.table2", "1 key differs", "see docs")
"""


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["history"], ["dsn"]])
def test_what_a_command_found_cannot_be_written(door, tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("PGUNISON_STATE", str(tmp_path / "state"))
    Site.of(load(DEFAULT), "process", make=True).close()
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, DOOR, "--runtime", "process", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == 1
    assert "error: cannot write the output: No space left on device\n" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_that_nodes_differ_is_said_though_the_output_cannot_be_written(tmp_path):
    (tmp_path / "compare.py").write_text(NOT_CONVERGED)
    program = f"import sys, pathlib; from pgunison.cli import main; sys.exit(main({{'compare': 'compare'}}, pathlib.Path({str(DEFAULT)!r})))"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program, "compare"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=100,
                              env=os.environ | {"PYTHONPATH": f"{PROJECT}:{tmp_path}"})
    assert done.returncode == 3
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "detail", "hint"]


@pytest.mark.parametrize("arguments", [["--help"], ["dsn", "--help"]])
def test_output_that_cannot_be_written(door, tmp_path, arguments):
    def into(place: str) -> subprocess.CompletedProcess:
        return subprocess.run(["sh", "-c", f'exec "$@" {place}', "sh", sys.executable, DOOR, *arguments],
                              cwd=tmp_path, capture_output=True, text=True, timeout=100)

    for place, said in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        done = into(place)
        assert done.returncode == 1
        assert done.stderr.splitlines()[0] == f"error: cannot write the output: {said}" and len(done.stderr.splitlines()) == 3
    # whoever closed the pipe has seen enough
    done = into("| true; exit 7")
    assert done.stderr == ""


def test_help_cuts_nothing(orchestrator):
    shown = " ".join(orchestrator("--help").stdout.split())
    assert "..." not in shown.replace("[ARGS]...", "")
    context = click.Context(cli.cli)
    for command in (cli.cli.get_command(context, name) for name in cli.cli.list_commands(context)):
        assert " ".join(command.get_short_help_str(1000).split()) in shown


def test_what_the_main_job_needs_is_imported_before_an_interruption_is_an_exception(orchestrator, monkeypatch):
    """In the midst of an import an exception may be lost in one of its callbacks."""
    def begin():
        assert "pgunison.commands.main_job" in sys.modules
        raise OrchestratorError("it begins", "", "go on")

    monkeypatch.delitem(sys.modules, "pgunison.commands.main_job", raising=False)
    monkeypatch.setattr("pgunison.interruption.raise_as_usual", begin)
    assert_said(orchestrator("--config", DEFAULT), 1, "it begins", "go on")
