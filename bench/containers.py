"""The rival in containers: native logical replication in full mesh, as the usual script sets it up with the docker command."""

import os
import subprocess
from functools import partial

import psycopg2

from bench.cluster import Cluster
from bench.mesh import PASSWORD, TABLE1, create, subscribe, subscribe_all
from chaos.runtimes import free_subnet
from pgunison.configuration.sysconfig import IMAGE
from pgunison.contract.waiting import wait_until

START_TIMEOUT_S = 60.0
# what the entry point of the official image does, in short
SERVER = """
set -e; data=/var/lib/pgunison/data; bin=/opt/pgunison/postgresql
echo "$POSTGRES_PASSWORD" >/tmp/password
$bin/initdb -D $data -U postgres --auth=scram-sha-256 --pwfile=/tmp/password --encoding=UTF8 --locale=C.UTF-8 >/dev/null
echo "host all all all scram-sha-256" >>$data/pg_hba.conf
exec $bin/postgres -D $data -c listen_addresses=* -c unix_socket_directories=/tmp -c wal_level=logical \
    -c max_replication_slots=24 -c max_wal_senders=24 -c max_logical_replication_workers=20 -c max_worker_processes=32
"""


class NativeContainers(Cluster):
    """One container a node, all started at once, each with its volume and address; then a table, a publication and a subscription for each pair.

    It is the PostgreSQL of our own image, without TLS, roles, agents and everything else that :class:`bench.mesh.NativeMesh` lacks, too.
    """

    def __init__(self, nodes: int):
        self.names = [f"node{index}" for index in range(1, nodes + 1)]
        self._prefix = f"native-{os.urandom(3).hex()}"
        self._subnet = free_subnet("docker")

    def start(self) -> None:
        _docker("network", "create", "--subnet", str(self._subnet), self._prefix)
        for name in self.names:
            _docker("run", "--detach", "--name", f"{self._prefix}-{name}", "--network", self._prefix, "--ip", self._address(name), "--volume",
                    f"{self._prefix}-{name}:/var/lib/pgunison", "--env", f"POSTGRES_PASSWORD={PASSWORD}", "--no-healthcheck", "--entrypoint", "sh",
                    IMAGE, "-c", SERVER)
        for index, name in enumerate(self.names, 1):
            self._await(name)
            self.query(name, create(TABLE1))
            self.query(name, f"ALTER SEQUENCE table1_id_seq RESTART WITH {index * 2**31 + 1}")
            self.query(name, "CREATE PUBLICATION mesh FOR TABLE table1")
        subscribe_all(self, partial(subscribe, self))

    def stop(self) -> None:
        """Remove everything."""
        containers = [f"{self._prefix}-{name}" for name in self.names]
        _docker("rm", "--force", "--volumes", *containers)
        _docker("volume", "rm", *containers)
        _docker("network", "rm", self._prefix)

    def dsn(self, node: str) -> str:
        return f"host={self._address(node)} port=5432 dbname=postgres user=postgres password={PASSWORD}"

    superuser_dsn = dsn

    def _address(self, node: str) -> str:
        return str(self._subnet[self.names.index(node) + 2])

    def _await(self, node: str) -> None:
        def pending() -> str | None:
            try:
                return psycopg2.connect(self.dsn(node), connect_timeout=3).close()
            except psycopg2.OperationalError as error:
                return str(error)

        wait_until(pending, f"{node} accepts connections", START_TIMEOUT_S, pause_s=0.05)


def _docker(*words: str) -> None:
    subprocess.run(["docker", *words], check=True, stdout=subprocess.DEVNULL)
