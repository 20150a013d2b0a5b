"""What a command loads: only what it needs, because that is most of its time."""

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pgunison.cluster.site import Site
from pgunison.configuration.approved import approve, digest
from pgunison.configuration.sysconfig import load
from pgunison.directory import cluster_directory
from pgunison.errors import UsageError
from pgunison.interpreter import NEEDED

PROJECT = Path(__file__).parents[2]
SLOW = {"cryptography", "docker", "httpx", "jsonschema", "rich", "yaml", "microesb", "services", "esb_config", "chaos"}
# as orchestrator.py does, and tells at the end what it has loaded
PROGRAM = f"""
import sys
from pgunison.cli import main
status = main()
print(*sorted({SLOW!r} & set(sys.modules)), file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture
def made(tmp_path, monkeypatch) -> Path:
    """A configuration whose cluster was brought up on this machine, as processes; gives its file."""
    monkeypatch.setenv("PGUNISON_STATE", str(tmp_path / "state"))
    path = tmp_path / "sysconfig.json"
    path.write_bytes((PROJECT / "sysconfig.json").read_bytes())
    with Site.of(load(path), "process", make=True) as site:
        approve(site.directory, site.configuration.digest)
    return path


def loaded(path: Path, *arguments: str) -> tuple[str, set[str]]:
    """Call the command line in a process of its own; returns what it printed, and what it loaded of what is slow."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, "--runtime", "process", *arguments], cwd=path.parent, capture_output=True, text=True, timeout=60,
                          env=os.environ | {"PYTHONPATH": str(PROJECT)})
    return done.stdout, set(done.stderr.splitlines()[-1].split())


def test_a_connection_string_takes_no_client_no_certificates_and_no_checks(made):
    printed, modules = loaded(made, "dsn", "node1")
    assert printed.startswith("host=127.28.64.2 ")
    assert modules == set()


def test_status_makes_no_certificates_and_parses_no_definitions(made):
    _, modules = loaded(made, "status", "--json")
    assert modules <= {"httpx", "rich"}


# --- a configuration that was found right is not checked again ---


def change(path: Path, **config) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    document["system"]["config"] |= config
    path.write_text(json.dumps(document), encoding="utf-8")


def test_a_changed_configuration_is_checked(made):
    change(made, ports={"postgresql": 5432, "agent": 5432})
    with pytest.raises(UsageError):
        load(made)
    # and what it takes is loaded, so the program above can tell
    assert "jsonschema" in loaded(made, "dsn")[1]


def test_a_configuration_is_checked_again_when_the_rules_change(made, monkeypatch, tmp_path):
    def refuse(document):
        raise UsageError("it was checked")

    monkeypatch.setattr("pgunison.configuration.checks.faults", refuse)
    load(made)
    (tmp_path / "rule").write_text("another")
    monkeypatch.setattr("pgunison.configuration.approved.RULES", (tmp_path / "rule",))
    with pytest.raises(UsageError, match="it was checked"):
        load(made)


@pytest.mark.parametrize("document", [[], 7, {"system": []}, {"system": {"id": 7}}, {"system": {"id": "../state/lb-test"}}, {"system": {"id": "none"}}])
def test_what_names_no_cluster_is_checked(made, document):
    made.write_text(json.dumps(document), encoding="utf-8")
    # as if the cluster that is there had been brought up by this very document
    approve(cluster_directory("lb-test", "process"), digest(made.read_text(encoding="utf-8")))
    with pytest.raises(UsageError):
        load(made)


# --- what is installed ---


def test_every_package_is_installed():
    configuration = configparser.ConfigParser()
    configuration.read(PROJECT / "setup.cfg")
    named = set(configuration["options"]["packages"].split())
    ours = {"pgunison." + str(path.parent.relative_to(PROJECT / "pgunison")).replace(os.sep, ".") for path in (PROJECT / "pgunison").rglob("*/__init__.py")}
    nodes = {"pgunison._tree." + str(path.parent.relative_to(PROJECT)).replace(os.sep, ".")
             for folder in ("container", "esb_config", "services") for path in (PROJECT / folder).rglob("__init__.py")}
    assert named == {"pgunison", "pgunison._tree", "pgunison._tree.tests", "pgunison._tree.tests.byhand"} | ours | nodes


def test_a_python_that_lacks_any_required_package_is_handed_over():
    configuration = configparser.ConfigParser()
    configuration.read(PROJECT / "setup.cfg")
    required = {re.split("[ >=]", line)[0] for line in configuration["options"]["install_requires"].split("\n") if line}
    imported = {"psycopg2-binary": "psycopg2", "pyyaml": "yaml"}
    assert {imported.get(name, name) for name in required} == set(NEEDED)
