"""The clusters of the tests themselves: they meet no other, what kills their processes finds them, and nothing of them is left behind."""

import contextlib
import os

import pytest

from chaos.runtimes import DockerCluster, free_subnet
from pgunison.runtime import engine
from pgunison.runtime.containers import CLUSTER
from tests.convergence.comparison import MARKS, names


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[MARKS]).up()


def test_a_subnet_overlaps_no_other(cluster, runtime):
    taken = cluster.site.configuration.subnet
    drawn = [free_subnet(runtime) for _ in range(100)]
    assert len(set(drawn)) > 90
    if runtime == "docker":
        assert not any(taken.overlaps(each) for each in drawn)


@pytest.mark.skipif(os.getuid() != 0, reason="only root sees the processes of containers")
def test_processes_are_those_that_postgresql_knows(cluster):
    for node in names(cluster):
        with contextlib.closing(cluster.superuser(node)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid(), current_setting('cluster_name')")
            known, name = cursor.fetchone()
            server, agent = cluster.server_pid(node), cluster.agent_pid(node)
            # as long as the connection is open
            assert parent(cluster.process(node, known)) == server
        assert name.endswith(node)
        with open(f"/proc/{agent}/cmdline") as file:
            assert "container.agent" in file.read()
        assert int((cluster.folder(node) / "data" / "postmaster.pid").read_text().splitlines()[0]) == inside(server)


def parent(pid: int) -> int:
    return int(status(pid)["PPid"])


def inside(pid: int) -> int:
    return int(status(pid)["NSpid"].split()[-1])


def status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def test_nothing_of_a_cluster_is_left_behind(make_cluster):
    made = make_cluster(nodes=1, tables=[MARKS]).up()
    made.remove()
    assert made.site.runtime.nodes() == []
    assert not made.site.directory.exists()
    if isinstance(made, DockerCluster):
        with contextlib.closing(engine.connect()) as client:
            ours = {"label": f"{CLUSTER}={made.site.configuration.id}"}
            assert not client.containers.list(all=True, filters=ours) and not client.volumes.list(filters=ours) and not client.networks.list(filters=ours)
