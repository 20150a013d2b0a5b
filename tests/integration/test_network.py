"""Containers and their network: who comes in from it as a replicator, and what is said of a node whose packets vanish."""

import contextlib
import os
from collections.abc import Iterator

import docker
import pytest

from chaos.container_faults import iptables
from tests.integration.partial import assert_answers_for_the_others, await_health, cluster_of_ten_rows

pytestmark = pytest.mark.docker_runtime("it is about containers")

PSQL = "/opt/pgunison/postgresql/psql"


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return cluster_of_ten_rows(make_cluster)


@pytest.fixture
def stranger(cluster) -> Iterator[docker.models.containers.Container]:
    """A container of somebody else in the cluster's network, with the address that the engine gives it."""
    with contextlib.closing(docker.from_env(timeout=120)) as client:
        guest = client.containers.run(cluster.site.configuration.container.image, entrypoint=["sleep", "600"], network=cluster.network().name, detach=True)
        try:
            yield guest
        finally:
            guest.remove(force=True)


def psql(cluster, container, kind: str, *parameters: str) -> tuple[int, str]:
    """Call psql in the container with the password of the role of that kind for node1; its exit status and what it wrote."""
    role = cluster.site.configuration.role(kind).name
    dsn = " ".join([f"host={cluster.site.spec('node1').address} dbname={cluster.site.configuration.database} user={role} sslmode=require", *parameters])
    done = container.exec_run([PSQL, "-XAtc", "SELECT 'came in'" if not parameters else "IDENTIFY_SYSTEM", dsn],
                              environment={"PGPASSWORD": cluster.site.credentials.passwords[role]})
    return done.exit_code, done.output.decode()


def test_only_nodes_come_in_as_the_replicator(cluster, stranger):
    assert psql(cluster, cluster.container("node2"), "replicator") == (0, "came in\n")
    assert psql(cluster, cluster.container("node2"), "replicator", "replication=database")[0] == 0
    for parameters in ((), ("replication=database",), ("replication=true",)):
        status, said = psql(cluster, stranger, "replicator", *parameters)
        assert status == 2 and ("pg_hba.conf rejects" in said or "no pg_hba.conf entry" in said), said
    # the network is not what keeps it out: a writer may come from anywhere in it
    assert psql(cluster, stranger, "writer") == (0, "came in\n")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may make rules for the packets of a container")
@pytest.mark.parametrize("chain", ["INPUT", "OUTPUT"])
def test_the_packets_of_a_node_vanish(cluster, chain):
    """Nobody is told: neither the node, nor its peers, nor who asks."""
    pid = cluster.container("node2").attrs["State"]["Pid"]
    iptables(pid, "--insert", chain, "--jump", "DROP")
    try:
        assert_answers_for_the_others(cluster, "unavailable", "neither its agent nor its PostgreSQL answers")
    finally:
        iptables(pid, "--delete", chain, "--jump", "DROP")
    await_health(cluster)
