"""Real clusters for tests, as processes and as containers: each with an id, addresses and a directory of its own, removed at the end."""

import contextlib
import functools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from chaos.cluster import Cluster, own_configuration
from chaos.runtimes import CLUSTERS, free_subnet, open_cluster
from pgunison.configuration.sysconfig import IMAGE
from pgunison.errors import OrchestratorError
from pgunison.runtime import engine
from pgunison.runtime.image import node_image

PROJECT = Path(__file__).resolve().parents[1]
DEFAULT = json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8"))
if "PGUNISON_IMAGE" in os.environ:
    DEFAULT["system"]["config"]["container"] = {"image": os.environ["PGUNISON_IMAGE"]}
NOT_RUN = "the Docker tests were not run"


def pytest_configure() -> None:
    """Let what we start be interruptible: a shell that runs us in the background ignores SIGINT, and children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # no test is about how long it takes; and where CI is in the environment, hypothesis by itself would draw the same cases every time
    hypothesis.settings.register_profile("pgunison", deadline=None, derandomize=False, print_blob=True)
    hypothesis.settings.load_profile("pgunison")


@functools.cache
def docker_missing() -> str | None:
    """Say what the docker runtime lacks here; None when it can run."""
    image = DEFAULT["system"]["config"].get("container", {}).get("image", IMAGE)
    try:
        with contextlib.closing(engine.connect()) as client:
            node_image(client, image)
    except OrchestratorError as error:
        return error.message
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a cluster on each runtime, unless it is marked as one of a single runtime."""
    if "runtime" in metafunc.fixturenames:
        marked = [name for name in CLUSTERS if metafunc.definition.get_closest_marker(f"{name}_runtime")]
        metafunc.parametrize("runtime", marked or list(CLUSTERS), indirect=True, scope="session")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter) -> Iterator[None]:
    yield
    # from the reports, which may come from other processes
    reasons = {report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()) if isinstance(report.longrepr, tuple)}
    for reason in sorted(reason.removeprefix("Skipped: ") for reason in reasons if NOT_RUN in reason):
        terminalreporter.write_line(reason, yellow=True)


@pytest.fixture(scope="session")
def runtime(request: pytest.FixtureRequest) -> str:
    """The runtime that the test's clusters have. With PGUNISON_REQUIRE_DOCKER in the environment it is a failure that Docker is missing."""
    if request.param == "docker" and (reason := docker_missing()):
        if os.environ.get("PGUNISON_REQUIRE_DOCKER"):
            pytest.fail(f"the Docker tests must run, and {reason}", pytrace=False)
        pytest.skip(f"{NOT_RUN}: {reason}")
    return request.param


@pytest.fixture(scope="session")
def state_directory() -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach, for the clusters of this run."""
    directory = Path(tempfile.mkdtemp(prefix="pgunison-test-"))
    directory.chmod(0o755)
    before = os.environ.get("PGUNISON_STATE")
    os.environ["PGUNISON_STATE"] = str(directory)
    yield directory
    if before is None:
        del os.environ["PGUNISON_STATE"]
    else:
        os.environ["PGUNISON_STATE"] = before
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def make_cluster(runtime: str, state_directory: Path) -> Iterator[Callable[..., Cluster]]:
    """Make clusters that are not up yet, as :func:`made_clusters` does. All are removed behind the module."""
    with made_clusters(runtime, state_directory) as make:
        yield make


@contextlib.contextmanager
def made_clusters(runtime: str, state_directory: Path) -> Iterator[Callable[..., Cluster]]:
    """Make clusters that are not up yet: ``make(nodes=3, tables=[...], **keys of system.config)``. All are removed in the end."""
    # each is removed, also when the removal of another one fails
    with contextlib.ExitStack() as made:
        def make(nodes: int = 3, tables: list[dict] | None = None, **config: Any) -> Cluster:
            written = own_configuration(DEFAULT, "test", free_subnet(runtime), nodes, tables, **config)
            path = state_directory / f"{written['system']['id']}.json"
            path.write_text(json.dumps(written), encoding="utf-8")
            cluster = open_cluster(path, runtime)
            made.callback(cluster.remove)
            return cluster

        yield make
