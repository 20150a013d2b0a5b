"""pgunison as pip installs it: one name at the top, and a program that works from any directory with a sysconfig.json in it."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from chaos.cluster import own_configuration
from chaos.runtimes import free_subnet
from pgunison.runtime.image import own_code

PROJECT = Path(__file__).parents[2]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "orchestrator.py", "sysconfig.json", "docker-build.sh", "pgunison", "container",
           "esb_config", "services", "tests", "chaos", "bench")
TIMEOUT_S = 300


def done(*command: str | Path, status: int = 0, **options) -> subprocess.CompletedProcess:
    """Run a command, which must end with that exit status."""
    found = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, **options)
    assert found.returncode == status, f"{command}: status {found.returncode}\n{found.stdout}\n{found.stderr}"
    assert "Traceback" not in found.stderr
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A virtual environment with pgunison from a wheel; what pgunison needs is found where it is installed already."""
    folder = tmp_path_factory.mktemp("installed")
    # setuptools writes beside the sources
    for name in SOURCES:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / "sources" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / "sources").mkdir(exist_ok=True)
            shutil.copy(source, folder / "sources" / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    done(*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder / "wheel", folder / "sources")
    wheel, = (folder / "wheel").glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    done(*pip, "--python", folder / "venv" / "bin" / "python3", "install", "--no-deps", "--no-index", wheel)
    # a path in such a file is taken as it is: the files of its kind that lie there, like that of an editable pgunison, are not read
    (packages(folder / "venv") / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv"


def packages(environment: Path) -> Path:
    found, = environment.glob("lib/python*/site-packages")
    return found


@pytest.fixture
def cluster(tmp_path_factory, state_directory, environment):
    """A directory with nothing but a sysconfig.json; the cluster is removed at the end. Gives the program, called in that directory."""
    directory = tmp_path_factory.mktemp("empty")
    default = json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8"))
    written = own_configuration(default, "test", free_subnet("process"), 2)
    (directory / "sysconfig.json").write_text(json.dumps(written), encoding="utf-8")

    def call(*words: str, status: int = 0) -> subprocess.CompletedProcess:
        return done(environment / "bin" / "pgunison", *words, status=status, cwd=directory, env=clean())

    yield call
    call("--runtime", "process", "down", "--purge")


def clean() -> dict[str, str]:
    """Return an environment in which nothing but the installation is found."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def test_there_is_one_name_at_the_top(environment):
    record, = packages(environment).glob("pgunison-*.dist-info/RECORD")
    tops = {line.split(",")[0].split("/")[0] for line in record.read_text().splitlines() if not line.startswith("../")}
    assert {re.sub(r"-.*\.dist-info$", "", top) for top in tops} == {"pgunison"}
    outside = [line.split(",")[0] for line in record.read_text().splitlines() if line.startswith("../")]
    assert [Path(name).name for name in outside] == ["pgunison"]


@pytest.mark.parametrize("name", ["services", "container", "esb_config", "contract", "tests", "chaos", "bench", "orchestrator"])
def test_a_program_that_imports_the_pool_has_its_own_names(environment, name, tmp_path):
    program = f"import importlib.util, pgunison.pool; print(pgunison.pool.__file__, importlib.util.find_spec({name!r}))"
    said = done(environment / "bin" / "python3", "-c", program, cwd=tmp_path, env=clean()).stdout.split()
    assert said == [str(packages(environment) / "pgunison" / "pool" / "__init__.py"), "None"]


def test_a_node_runs_what_a_checkout_has(environment, tmp_path):
    assert done(environment / "bin" / "python3", "-m", "pgunison.runtime.image", cwd=tmp_path, env=clean()).stdout.strip() == own_code()


def test_help_tells_the_commands_that_there_are(environment, tmp_path):
    said = done(environment / "bin" / "pgunison", "--help", cwd=tmp_path, env=clean()).stdout
    assert said.startswith("Usage: pgunison [OPTIONS]")
    assert "verify" in said and "chaos" not in said


def test_it_names_itself_as_it_was_called(environment, tmp_path):
    said = done(environment / "bin" / "pgunison", "levitate", status=2, cwd=tmp_path, env=clean()).stderr.splitlines()
    assert said[1:] == ["detail: called as pgunison levitate", "hint: pgunison --help"]
    said = done(environment / "bin" / "python3", "-m", "pgunison", "status", status=2, cwd=tmp_path, env=clean()).stderr
    assert said.startswith("error: sysconfig.json: no such file")


def test_a_cluster_lives_from_an_empty_directory(cluster):
    assert cluster("--runtime", "process", "status", status=1).stderr.splitlines()[-1] == "hint: pgunison up"
    cluster("--runtime", "process", "up")
    found = json.loads(cluster("status", "--json").stdout)
    assert found["healthy"] and [node["state"] for node in found["nodes"]] == ["ready", "ready"]
    assert cluster("dsn", "node1").stdout.startswith("host=127.")
    assert cluster("test", "insert").stdout.splitlines()[-1] == "ok"
    assert "the same on 2 nodes" in cluster("verify").stdout
    # the same code again changes nothing
    assert "make node1 anew" not in cluster("up").stderr
    cluster("down")
    assert cluster("status", status=1).stdout
