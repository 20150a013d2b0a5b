"""A cluster by where its nodes run: as processes, or as containers of this machine's engine, whose processes root may kill as well."""

import secrets
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

from chaos.cluster import Cluster
from chaos.processes import children, id_inside, name_of
from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import NodeSpec, load
from pgunison.errors import OrchestratorError
from pgunison.runtime import engine
from pgunison.runtime.containers import CLUSTER, DATA


class ProcessCluster(Cluster):
    """Nodes are processes of this machine, each on a loopback address of its own."""

    def superuser(self, node: str) -> Any:
        return psycopg2.connect(host=str(self.folder(node) / "socket"), port=self.site.configuration.postgresql_port, user="postgres",
                                dbname=self.site.configuration.database, **self.patience)

    def folder(self, node: str) -> Path:
        return self.site.directory / "nodes" / node

    def server_pid(self, node: str) -> int | None:
        return _first_number(self.folder(node) / "data" / "postmaster.pid")

    def agent_pid(self, node: str) -> int | None:
        running = self.site.runtime.state(self.site.spec(node)) == "running"
        return _first_number(self.folder(node) / "agent.lock") if running else None

    def process(self, node: str, pid: int) -> int | None:
        return pid

    def _end(self, node: NodeSpec) -> None:
        self.site.runtime.stop(node)


class DockerCluster(Cluster):
    """Nodes are containers. Their superuser comes over the network, as a role of its own, because the socket is inside."""

    SUPERUSER = "chaos"
    # a container that is off the network says nothing any more; without these a client would wait for it for hours
    patience = {"connect_timeout": 10, "keepalives_idle": 3, "keepalives_interval": 2, "keepalives_count": 3}

    @cached_property
    def client(self) -> Any:
        return engine.connect()

    @cached_property
    def _password(self) -> str:
        return secrets.token_hex(16)

    def container(self, node: str) -> Any:
        """Ask the engine for the node's container as it is now."""
        with engine.asked_to(f"look at {node}"):
            return self.client.containers.get(f"{self.site.configuration.id}-{node}")

    def network(self) -> Any:
        """Ask the engine for the cluster's network."""
        with engine.asked_to("look at the network"):
            return self.client.networks.list(filters={"label": f"{CLUSTER}={self.site.configuration.id}"})[0]

    def superuser(self, node: str) -> Any:
        try:
            return self._as_superuser(node)
        except psycopg2.OperationalError as error:
            # a node that is new has no such role yet
            if "password authentication failed" not in str(error):
                raise
        self._make_superuser(node)
        return self._as_superuser(node)

    def folder(self, node: str) -> Path:
        with engine.asked_to(f"look at the volume of {node}"):
            return Path(self.client.volumes.get(f"{self.site.configuration.id}-{node}").attrs["Mountpoint"])

    def server_pid(self, node: str) -> int | None:
        agent = self.agent_pid(node)
        # the agent may run other programs of PostgreSQL, too
        return next((pid for pid in children(agent) if name_of(pid) == "postgres"), None) if agent else None

    def agent_pid(self, node: str) -> int | None:
        # the container's own process is tini, which has one child
        first = self.container(node).attrs["State"]["Pid"]
        return next(iter(children(first)), None) if first else None

    def process(self, node: str, pid: int) -> int | None:
        server = self.server_pid(node)
        return next((each for each in [server, *children(server)] if id_inside(each) == pid), None) if server else None

    def remove(self) -> None:
        try:
            super().remove()
        finally:
            self.client.close()

    def _end(self, node: NodeSpec) -> None:
        """Leave it to its removal, which kills."""

    def _as_superuser(self, node: str) -> Any:
        return psycopg2.connect(self.site.dsn(self.SUPERUSER, node), password=self._password, **self.patience)

    def _make_superuser(self, node: str) -> None:
        configuration = self.site.configuration
        # an argument can be seen by others: what stands there is the verifier, of which nobody makes the password
        with self.connect(node) as connection:
            verifier = psycopg2.extensions.encrypt_password(self._password, self.SUPERUSER, connection, "scram-sha-256")
        # side by side with another who makes it, or after a run that did
        make = (f"DO $$BEGIN CREATE ROLE {self.SUPERUSER} SUPERUSER LOGIN PASSWORD '{verifier}';"
                " EXCEPTION WHEN duplicate_object OR unique_violation THEN END$$")
        with engine.asked_to(f"run psql in {node}"):
            done = self.container(node).exec_run(["psql", "-X", "-q", "-h", str(DATA / "socket"), "-p", str(configuration.postgresql_port), "-U", "postgres",
                                                  "-d", configuration.database, "-c", make], user="postgres")
        if done.exit_code:
            raise OrchestratorError(f"{node} got no superuser", done.output.decode(errors="replace").strip()[-300:], "see its log")


CLUSTERS = {"process": ProcessCluster, "docker": DockerCluster}


def open_cluster(config_path: Path, runtime: str) -> Cluster:
    """Open the cluster of a configuration, which may not be up yet."""
    return CLUSTERS[runtime](config_path, Site.of(load(config_path), runtime, make=True))


def free_subnet(runtime: str) -> IPv4Network:
    """Draw a private subnet, of which the process runtime takes the loopback addresses; containers get one that leads nowhere yet on this machine."""
    taken = [*_networks(), *_routes()] if runtime == "docker" else []
    while True:
        drawn = IPv4Network((f"10.{100 + secrets.randbelow(150)}.{secrets.randbelow(256)}.0", 24))
        if not any(drawn.overlaps(other) for other in taken):
            return drawn


def _networks() -> list[IPv4Network]:
    """List the subnets of the engine's networks."""
    client = engine.connect()
    try:
        with engine.asked_to("list networks"):
            pools = [pool for network in client.networks.list() for pool in network.attrs["IPAM"]["Config"] or []]
    finally:
        client.close()
    return [IPv4Network(pool["Subnet"]) for pool in pools if ":" not in pool.get("Subnet", ":")]


def _routes() -> list[IPv4Network]:
    """List the networks this machine has a way to, but for the way to everywhere else."""
    lines = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    # as the kernel holds them: hexadecimal, the last byte first
    found = [tuple(IPv4Address(int.from_bytes(bytes.fromhex(words[place]), "little")) for place in (1, 7)) for words in lines]
    return [IPv4Network((str(to), str(mask))) for to, mask in found if int(mask)]


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None
