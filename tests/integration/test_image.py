"""The node's image as docker-build.sh makes it: what is in it, and a container's life from its start to its end."""

import configparser
import hashlib
import http.client
import io
import json
import os
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from docker.models.images import Image

from pgunison.contract.agent import AgentConfiguration
from pgunison.errors import OrchestratorError
from pgunison.runtime.engine import connect
from pgunison.runtime.image import own_code
from tests.convergence.comparison import wait_until

PROJECT = Path(__file__).parents[2]
ETC = "/etc/pgunison"
POSTGRES = 999
DEADLINE_S = 60.0
# of a stop: the agent's 5 s for open requests, and PostgreSQL's checkpoint
STOP_TIMEOUT_S = 60

CONFIGURATION = AgentConfiguration(
    cluster="image", node="node1", index=1, database="lb-test", address="0.0.0.0", postgresql_port=5432, agent_port=64000, max_nodes=3,
    networks=("0.0.0.0/0",), settings=(), directory=Path("/var/lib/pgunison"), binaries=Path("/opt/pgunison/postgresql"),
    token_file=Path(f"{ETC}/agent-token"), template=Path("/opt/pgunison/template"), user=None)


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = connect()
    except OrchestratorError as error:
        if os.environ.get("PGUNISON_REQUIRE_DOCKER"):
            pytest.fail(f"no Docker engine answers: {error}")
        pytest.skip("no Docker engine answers")
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(engine) -> Image:
    name = f"{os.environ.get('PGUNISON_IMAGE', 'pgunison-node')}:{version()}"
    try:
        return engine.images.get(name)
    except docker.errors.ImageNotFound:
        if os.environ.get("PGUNISON_REQUIRE_DOCKER"):
            pytest.fail(f"there is no image {name}: ./docker-build.sh makes it")
        pytest.skip(f"there is no image {name}")


@pytest.fixture
def make(engine, image) -> Iterator:
    """Make containers of the image that do not run yet; all end with the test, and their volumes."""
    made: list[Container] = []
    volume = f"pgunison-test-{uuid.uuid4().hex[:8]}"

    def make(**options) -> Container:
        made.append(engine.containers.create(image, volumes={volume: {"bind": str(CONFIGURATION.directory)}}, **options))
        return made[-1]

    yield make
    for container in made:
        container.remove(force=True, v=True)
    if made:
        engine.volumes.get(volume).remove()


@pytest.fixture
def node(make) -> Container:
    """A node that is told who it is and does not run yet; asked for its health each second, to save the test's time."""
    container = make(healthcheck={"interval": 1_000_000_000})
    assert container.put_archive(ETC, archive({"agent.json": CONFIGURATION.dump(), "agent-token": "not a secret\n"}))
    return container


def version() -> str:
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg", encoding="utf-8")
    return setup["metadata"]["version"]


def archive(files: dict[str, str]) -> bytes:
    """Pack files that only PostgreSQL's user can read."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.uid = entry.gid = POSTGRES
            entry.mode, entry.size = 0o600, len(content.encode())
            tar.addfile(entry, io.BytesIO(content.encode()))
    return packed.getvalue()


def said(make, *command: str) -> str:
    """Run a command in the image in place of the agent, and return what it says."""
    container = make(entrypoint=list(command), network_mode="none")
    container.start()
    status = container.wait(timeout=DEADLINE_S)["StatusCode"]
    assert status == 0, container.logs().decode()
    return container.logs().decode()


def until(container: Container, what: str, holds) -> None:
    """Wait until something holds of the container's attributes."""
    def pending() -> str | None:
        container.reload()
        return None if holds(container) else f"{container.status}, {container.attrs['State'].get('Health')}, {container.logs(tail=3).decode()}"

    wait_until(pending, what, DEADLINE_S)


def status_of(container: Container) -> str:
    return container.attrs["State"]["Health"]["Status"]


def health(container: Container) -> dict:
    container.reload()
    address = next(iter(container.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"]
    connection = http.client.HTTPConnection(address, CONFIGURATION.agent_port, timeout=10)
    connection.request("GET", "/health")
    try:
        return json.load(connection.getresponse())
    finally:
        connection.close()


# --- what is in it ---


def test_it_runs_as_postgres_with_the_official_number(image, make):
    assert image.attrs["Config"]["User"] == "postgres"
    assert said(make, "sh", "-c", "echo $(id -u):$(id -g):$(id -un)") == f"{POSTGRES}:{POSTGRES}:postgres\n"


def test_its_labels_say_what_it_is(image, make):
    major = said(make, "/opt/pgunison/postgresql/postgres", "--version").split()[2].partition(".")[0]
    assert {name: value for name, value in image.labels.items() if "pgunison" in name or name.startswith("org.opencontainers.image")} == {
        "org.opencontainers.image.title": "pgunison node", "org.opencontainers.image.licenses": "AGPL-3.0-or-later",
        "org.opencontainers.image.version": version(), "org.pgunison.version": version(), "org.pgunison.postgresql": major,
        "org.pgunison.code": own_code()}


def test_it_starts_the_agent_and_nothing_of_its_base(image):
    config = image.attrs["Config"]
    assert config["Entrypoint"] == ["tini", "--", "python3", "-m", "container.agent", f"{ETC}/agent.json"]
    assert not config["Cmd"]
    assert config["StopSignal"] == "SIGTERM"
    assert {"5432/tcp", "64000/tcp"} == set(config["ExposedPorts"])
    assert config["Healthcheck"]["Test"] == ["CMD", "python3", "-m", "container.health", f"{ETC}/agent.json"]


def test_it_holds_the_node_and_nothing_else(make):
    found = said(make, "find", "/opt/pgunison", "-mindepth", "1", "-maxdepth", "1", "-printf", "%f\n").split()
    assert set(found) == {"container", "esb_config", "services", "pgunison", "site-packages", "postgresql", "template", "template.lock"}
    assert said(make, "ls", "/opt/pgunison/pgunison").split() == ["contract"]
    for module in ("pgunison.cli", "chaos", "tests", "bench", "orchestrator", "pip"):
        assert said(make, "python3", "-c", f"import importlib.util; print(importlib.util.find_spec('{module}'))") == "None\n"


def test_its_code_is_the_projects(make):
    listed = said(make, "sh", "-c", "find container esb_config services pgunison -type f ! -name '*.pyc' -exec sha256sum {} +").splitlines()
    found = {line.split()[1]: line.split()[0] for line in listed}
    assert found == {str(path.relative_to(PROJECT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for package in ("container", "esb_config", "services", "pgunison/contract") for path in (PROJECT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name not in ("Dockerfile", "requirements.txt")}


def test_its_packages_have_no_compiled_part(make):
    found = said(make, "find", "/opt/pgunison/site-packages", "-type", "f", "-printf", "%f\n").split()
    assert "microesb.py" in found
    assert [name for name in found if name.endswith((".so", ".pyd", ".dylib"))] == []


def test_its_code_is_compiled_and_only_root_can_change_it(make):
    sources = "find /opt/pgunison/container /opt/pgunison/esb_config /opt/pgunison/services /opt/pgunison/pgunison /opt/pgunison/site-packages"
    assert said(make, "sh", "-c", f"{sources} -writable") == ""
    count = said(make, "sh", "-c", f"{sources} -name '*.py' | wc -l; {sources} -name '*.pyc' | wc -l").split()
    assert count[0] == count[1] != "0"


def test_its_directories_belong_to_the_node(make):
    shown = said(make, "stat", "-c", "%n %u:%g %a", ETC, str(CONFIGURATION.directory), "/opt/pgunison/template", "/opt/pgunison/template.lock")
    assert shown.splitlines() == [f"{ETC} 999:999 700", "/var/lib/pgunison 999:999 755", "/opt/pgunison/template 999:999 700",
                                  "/opt/pgunison/template.lock 999:999 644"]
    assert said(make, "sh", "-c", "cat /opt/pgunison/template/PG_VERSION; ls /opt/pgunison/template/postmaster.pid 2>&1 || true").count("No such file") == 1


# --- a container's life ---


def test_without_its_configuration_it_ends_and_names_the_file(make):
    container = make(network_mode="none")
    container.start()
    assert container.wait(timeout=DEADLINE_S)["StatusCode"] == 1
    assert f"{ETC}/agent.json" in container.logs().decode().splitlines()[-1]


def test_it_becomes_healthy_and_stops_clean(node):
    node.start()
    until(node, "the container is healthy", lambda container: status_of(container) == "healthy")
    assert health(node) == {"cluster": "image", "node": "node1", "problem": None, "failures": 0, "warnings": [], "unkept": None}
    began = time.monotonic()
    node.stop(timeout=STOP_TIMEOUT_S)
    assert time.monotonic() - began < STOP_TIMEOUT_S
    node.reload()
    assert (node.status, node.attrs["State"]["ExitCode"], node.attrs["State"]["OOMKilled"]) == ("exited", 0, False)
    assert control_state(node) == 1


def control_state(container: Container) -> int:
    """Read the cluster state from the control file: DBState of src/include/catalog/pg_control.h, 1 is 'shut down'."""
    chunks, _ = container.get_archive(f"{CONFIGURATION.data}/global/pg_control")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        content = tar.extractfile("pg_control").read()
    # behind the system identifier (8 bytes) and two version numbers (4 each)
    return int.from_bytes(content[16:20], "little")


def test_its_data_outlives_it(make, node):
    node.start()
    until(node, "the container is healthy", lambda container: status_of(container) == "healthy")
    query(node, "CREATE TABLE kept AS SELECT 42 AS answer")
    node.stop(timeout=STOP_TIMEOUT_S)
    successor = make(healthcheck={"interval": 1_000_000_000})
    successor.put_archive(ETC, archive({"agent.json": CONFIGURATION.dump(), "agent-token": "not a secret\n"}))
    successor.start()
    until(successor, "the container is healthy", lambda container: status_of(container) == "healthy")
    assert query(successor, "SELECT answer FROM kept") == "42\n"


def query(container: Container, statement: str) -> str:
    """Run a statement as the superuser, over the node's own socket."""
    done = container.exec_run(["/opt/pgunison/postgresql/psql", "-h", str(CONFIGURATION.socket_directory), "-U", "postgres", "-qAtXc", statement])
    assert done.exit_code == 0, done.output
    return done.output.decode()


def test_it_is_unhealthy_and_says_why_when_postgresql_cannot_start(node):
    node.start()
    until(node, "the container is healthy", lambda container: status_of(container) == "healthy")
    done = node.exec_run(["sh", "-c", "mv global aside && kill -9 $(head -n 1 postmaster.pid)"], workdir=str(CONFIGURATION.data))
    assert done.exit_code == 0, done.output
    until(node, "the container is unhealthy", lambda container: status_of(container) == "unhealthy")
    said_last = node.attrs["State"]["Health"]["Log"][-1]
    assert said_last["ExitCode"] == 1
    assert "PostgreSQL" in said_last["Output"] and said_last["Output"].count("\n") == 1
