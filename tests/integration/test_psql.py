"""``psql``: a psql that is connected to a node, as one of the roles."""

import subprocess

import pytest

from tests.integration import orchestrator
from tests.integration.orchestrator import assert_explained

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2).up()


def psql(cluster, *words: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(orchestrator.command_line(cluster, "psql", *words), capture_output=True, text=True, timeout=TIMEOUT_S, **more)


@pytest.mark.parametrize("kind", ["owner", "writer", "reader"])
@pytest.mark.parametrize("node", ["node1", "node2"])
def test_it_is_connected_to_the_node_as_the_role(cluster, kind, node):
    role = cluster.site.configuration.role(kind).name
    done = psql(cluster, "--role", kind, node, "--", "-XAtc", "SELECT current_user, current_setting('cluster_name')")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == f"{role}|pgunison {cluster.site.configuration.id} {node}\n"


def test_without_a_node_it_is_any_of_them_as_a_writer(cluster):
    done = psql(cluster, "--", "-XAtc", "SELECT current_user")
    assert done.stdout == f"{cluster.site.configuration.role('writer').name}\n", done.stderr


def test_what_it_reads_and_its_exit_status_are_its_own(cluster):
    done = psql(cluster, "node1", "--", "-X", "-v", "ON_ERROR_STOP=1", input="SELECT 1 / 0;\n")
    assert done.returncode == 3 and "division by zero" in done.stderr


def test_no_password_is_among_its_arguments(cluster):
    done = psql(cluster, "node1", "--", "-XAt", input="\\! tr '\\\\0' ' ' </proc/$PPID/cmdline\n")
    assert "--dbname=" in done.stdout and "passfile=" in done.stdout, done
    assert not any(password in done.stdout for password in cluster.site.credentials.passwords.values())


def test_a_node_that_is_none_is_refused(cluster):
    done = psql(cluster, "node9")
    assert done.returncode == 2
    assert_explained(done.stderr)
