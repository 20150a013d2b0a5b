"""The docker runtime: nodes as containers on a network of their own, each with a fixed address and a volume for its data.

What there is, is asked of the engine each time. Everything that is ours bears the label of the cluster; nothing else is ever touched.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pgunison.certificates import Certificates
from pgunison.configuration.sysconfig import Configuration, NodeSpec
from pgunison.contract.addresses import places_of_others
from pgunison.contract.agent import AgentConfiguration, capacity
from pgunison.credentials import Credentials
from pgunison.errors import OrchestratorError
from pgunison.runtime import engine
from pgunison.runtime.archive import last_lines, pack
from pgunison.runtime.image import node_image
from pgunison.runtime.runtime import Process

if TYPE_CHECKING:
    # at run time only where an engine is asked: it takes a fifth of a second
    from docker.models.containers import Container
    from docker.models.images import Image
    from docker.models.networks import Network
    from docker.models.volumes import Volume

CLUSTER, NODE = "org.pgunison.cluster", "org.pgunison.node"
# as the image makes them (container/Dockerfile)
USER_ID = 999
HOME, SETTINGS, DATA = Path("/opt/pgunison"), Path("/etc/pgunison"), Path("/var/lib/pgunison")
# longer than the agent's own patience with PostgreSQL
STOP_TIMEOUT_S = 120
# how often the engine starts a container again before we call it failed: it waits longer each time, some seconds in all
FAILED_STARTS = 5
# parallel queries of PostgreSQL keep their shared memory there; the engine's default is 64 MB
SHARED_MEMORY = "256m"
LOG_LINES = 2000


class DockerRuntime:
    """Start, stop and look at the containers of one cluster."""

    name = "docker"

    def __init__(self, configuration: Configuration, directory: Path, credentials: Credentials):
        self._configuration = configuration
        self._directory = directory
        self._credentials = credentials
        self._client = engine.connect()
        self._labels = {CLUSTER: configuration.id}
        self.certificates = Certificates(configuration.id, directory / "secrets" / "tls")
        self.certificates.ensure()

    @staticmethod
    def require_usable() -> None:
        """OrchestratorError when no engine answers: before anything is made."""
        engine.connect().close()

    def address(self, node: NodeSpec) -> str:
        """Return where the node's agent and PostgreSQL listen."""
        return node.address

    def nodes(self) -> list[str]:
        """List the names of the nodes that have a container or a volume."""
        with engine.asked_to("list containers and volumes"):
            found = self._client.containers.list(all=True, filters=self._filter(), ignore_removed=True)
            names = {container.labels[NODE] for container in found}
            return sorted(names | {volume.attrs["Labels"][NODE] for volume in self._client.volumes.list(filters=self._filter())})

    def state(self, node: NodeSpec) -> Process:
        """Tell whether the node is absent, stopped or running; one that is paused or off the network is stopped: it takes a start to have it back."""
        with engine.asked_to(f"look at {node.name}"):
            container = self._container(node)
            if container is None:
                return Process.ABSENT if self._volume(node) is None else Process.STOPPED
            return Process.RUNNING if container.status == "running" and self._attached(container, node) else Process.STOPPED

    def has_server(self, node: NodeSpec) -> bool:
        """Tell whether a PostgreSQL runs on the node's data without its agent; in a container all ends with it."""
        return False

    def outdated(self, node: NodeSpec) -> bool:
        """Tell whether the node's container is of another image, or has other limits, than a new one would have."""
        try:
            image = node_image(self._client, self._configuration.container.image)
        except OrchestratorError:
            # without one there is nothing to make it of: what runs may run on
            return False
        with engine.asked_to(f"look at {node.name}"):
            container = self._container(node)
            return container is not None and not self._current(container, image)

    def start(self, node: NodeSpec) -> None:
        """Make the node's container if it is missing or outdated, and start it; does not wait for its agent."""
        image = node_image(self._client, self._configuration.container.image)
        with engine.asked_to(f"start {node.name}"):
            network, container = self._network(), self._container(node)
            if container is not None and container.status == "running":
                if not self._attached(container, node):
                    self._attach(network, container, node)
                return
            if container is not None and container.status == "paused":
                container.unpause()
                return
            if container is not None and not (self._current(container, image) and self._can_start(network, container)):
                container.remove(v=True, force=True)
                container = None
            if container is None:
                container = self._create(node, image, network)
            elif container.status == "restarting":
                # it fails again and again: with what is put there now it may not. Should it have come up just now, there is nothing worth a long wait.
                container.stop(timeout=10)
            if not self._attached(container, node):
                self._attach(network, container, node)
            container.put_archive("/", self._files(node))
            container.start()

    def replace(self, node: NodeSpec) -> None:
        """Put a container of the current image in the place of the node's container; the data stays."""
        self.stop(node)
        with engine.asked_to(f"remove the container of {node.name}"):
            container = self._container(node)
            if container is not None:
                container.remove(v=True)
        self.start(node)

    def put_certificates(self, node: NodeSpec) -> None:
        """Give a node that runs the certificates that the host holds; its agent takes them within seconds."""
        with engine.asked_to(f"put certificates into {node.name}"):
            container = self._container(node)
            if container is None:
                raise OrchestratorError(f"{node.name} has no container", "it was removed", "python3 orchestrator.py up")
            container.put_archive("/", self._files(node))

    def require_running(self, node: NodeSpec) -> None:
        """OrchestratorError with the container's last words when it has ended."""
        with engine.asked_to(f"look at {node.name}"):
            container = self._container(node)
            if container is None or container.status in ("running", "created"):
                return
            if container.status == "restarting" and container.attrs["RestartCount"] < FAILED_STARTS:
                # its agent ended, and the engine starts it again
                return
            words = container.logs(tail=1).decode(errors="replace").strip() or f"exit status {container.attrs['State']['ExitCode']}"
        raise OrchestratorError(f"the container of {node.name} is {container.status}", words, f"python3 orchestrator.py logs {node.name}")

    def stop(self, node: NodeSpec) -> None:
        """Stop the node's container with time for its PostgreSQL to shut down. The data stays."""
        with engine.asked_to(f"stop {node.name}"):
            container = self._container(node)
            if container is None:
                return
            if container.status == "paused":
                container.unpause()
            container.stop(timeout=STOP_TIMEOUT_S)

    def purge(self, node: NodeSpec) -> None:
        """Remove a stopped node with its data."""
        with engine.asked_to(f"remove {node.name}"):
            container, volume = self._container(node), self._volume(node)
            if container is not None:
                container.remove(v=True, force=True)
            if volume is not None:
                volume.remove()

    def how_to_empty(self, node: NodeSpec) -> str:
        """Write the command that stops the node and removes its data, without a word to its peers."""
        return f"docker rm -f {self._name(node)} && docker volume rm {self._name(node)}"

    def purge_all(self) -> None:
        """Remove the network and the cluster's directory; every node must be purged before."""
        with engine.asked_to("remove the network"):
            for network in self._client.networks.list(filters=self._filter()):
                network.remove()
        if self._directory.exists():
            shutil.rmtree(self._directory)

    def logs(self, node: NodeSpec) -> Iterator[tuple[str, Iterable[str]]]:
        """Return what the agent wrote, then the node's log files, the last lines of each; also of a node that is stopped."""
        with engine.asked_to(f"read the logs of {node.name}"):
            container = self._container(node)
            if container is None:
                return
            yield f"docker logs {container.name}", container.logs(tail=LOG_LINES).decode(errors="replace").splitlines(keepends=True)
            chunks, _ = container.get_archive(str(DATA / "log"))
            yield from ((str(DATA / name), lines) for name, lines in last_lines(chunks, LOG_LINES))

    def _filter(self) -> dict[str, str | list[str] | bool]:
        return {"label": f"{CLUSTER}={self._configuration.id}"}

    def _name(self, node: NodeSpec) -> str:
        return f"{self._configuration.id}-{node.name}"

    def _container(self, node: NodeSpec) -> "Container | None":
        """Find the node's container by its labels, None when there is none."""
        found = self._client.containers.list(all=True, filters={"label": [f"{CLUSTER}={self._configuration.id}", f"{NODE}={node.name}"]}, ignore_removed=True)
        return found[0] if found else None

    def _volume(self, node: NodeSpec) -> "Volume | None":
        found = [volume for volume in self._client.volumes.list(filters={"name": self._name(node)}) if volume.name == self._name(node)]
        if found and (found[0].attrs["Labels"] or {}).get(CLUSTER) != self._configuration.id:
            raise OrchestratorError(f"there is a volume {self._name(node)} that is not of this cluster", "it has not the cluster's label",
                                    f"docker volume rm {self._name(node)}, if nobody needs it, or give this cluster another id")
        return found[0] if found else None

    def _network(self) -> "Network":
        """Find or make the cluster's network."""
        configuration = self._configuration
        name, wanted = f"{configuration.id}-{configuration.network_id}", {"Subnet": str(configuration.subnet), "Gateway": str(configuration.gateway)}
        found = [network for network in self._client.networks.list(names=[name]) if network.name == name]
        if not found:
            from docker.types import IPAMConfig, IPAMPool
            # a node's address lets in a replicator, so the engine gives none of them to whoever joins the network without asking for one
            others = places_of_others(configuration.subnet, configuration.gateway, configuration.max_nodes)
            pool = IPAMPool(subnet=wanted["Subnet"], gateway=wanted["Gateway"], iprange=str(others) if others else None)
            return self._client.networks.create(name, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels=self._labels, check_duplicate=True)
        labels, pools = found[0].attrs["Labels"] or {}, found[0].attrs["IPAM"]["Config"] or [{}]
        if labels.get(CLUSTER) != configuration.id:
            raise OrchestratorError(f"there is a network {name} that is not of this cluster", "it has not the cluster's label",
                                    f"docker network rm {name}, if nobody needs it, or give this cluster another id")
        if {key: pools[0].get(key) for key in wanted} != wanted:
            raise OrchestratorError(f"the network {name} has another subnet or gateway than sysconfig.json", f"it has {pools[0]}",
                                    "restore them in sysconfig.json; to move the cluster: python3 orchestrator.py down --purge, then up")
        return found[0]

    def _create(self, node: NodeSpec, image: "Image", network: "Network") -> "Container":
        from docker.types import LogConfig
        limits = self._configuration.container
        if self._volume(node) is None:
            self._client.volumes.create(self._name(node), labels=self._labels | {NODE: node.name})
        api = self._client.api
        endpoint = api.create_endpoint_config(ipv4_address=node.address, aliases=[node.name])
        host = api.create_host_config(
            binds={self._name(node): {"bind": str(DATA), "mode": "rw"}}, restart_policy={"Name": "unless-stopped"}, shm_size=SHARED_MEMORY,
            mem_limit=f"{limits.memory_mib}m" if limits.memory_mib else None, nano_cpus=int(limits.cpus * 1e9) if limits.cpus else None,
            log_config=LogConfig(type="json-file", config={"max-size": "8m", "max-file": "2"}),
            network_mode=network.name)
        # the stub is wrong: the client takes an endpoint for each network
        networking = api.create_networking_config({network.name: endpoint})  # type: ignore[arg-type]  # see above
        made = api.create_container(
            image.id, name=self._name(node), hostname=node.name, stop_timeout=STOP_TIMEOUT_S, host_config=host,
            labels=self._labels | {NODE: node.name, **self._made_of(image)}, networking_config=networking)
        return self._client.containers.get(made["Id"])

    def _made_of(self, image: "Image") -> dict[str, str]:
        """Say what a container is made of, as a label, so that it can be told when it has to be made anew."""
        configuration, limits = self._configuration, self._configuration.container
        # what its agent is told when it starts is part of it
        told = [configuration.settings, configuration.upkeep, capacity(configuration.max_nodes)]
        return {"org.pgunison.made-of": json.dumps([image.id, limits.memory_mib, limits.cpus, *told])}

    def _current(self, container: "Container", image: "Image") -> bool:
        return all(container.labels.get(label) == value for label, value in self._made_of(image).items())

    def _attached(self, container: "Container", node: NodeSpec) -> bool:
        endpoint = container.attrs["NetworkSettings"]["Networks"].get(f"{self._configuration.id}-{self._configuration.network_id}")
        asked = ((endpoint or {}).get("IPAMConfig") or {}).get("IPv4Address")
        return node.address in (asked, (endpoint or {}).get("IPAddress"))

    def _can_start(self, network: "Network", container: "Container") -> bool:
        """False for a container of a network that was removed meanwhile (docker network prune): no engine starts it, nor lets it leave."""
        endpoint = container.attrs["NetworkSettings"]["Networks"].get(network.name) or {}
        return endpoint.get("NetworkID") in (None, "", network.id)

    def _attach(self, network: "Network", container: "Container", node: NodeSpec) -> None:
        if network.name in container.attrs["NetworkSettings"]["Networks"]:
            network.disconnect(container, force=True)
        network.connect(container, ipv4_address=node.address, aliases=[node.name])

    def _files(self, node: NodeSpec) -> bytes:
        """Pack what the agent is told: its configuration, the token, the certificates. Nobody but it may read them, and no inspection shows them."""
        configuration = self._configuration
        agent = AgentConfiguration(
            cluster=configuration.id, node=node.name, index=node.index, database=configuration.database, address="0.0.0.0",
            postgresql_port=configuration.postgresql_port, agent_port=configuration.agent_port, max_nodes=configuration.max_nodes,
            networks=(str(configuration.subnet),), settings=configuration.settings, upkeep=configuration.upkeep, directory=DATA,
            binaries=HOME / "postgresql", token_file=SETTINGS / "agent-token", template=HOME / "template", user=None, tls=SETTINGS / "tls", console=True,
            gateway=str(configuration.gateway))
        files = {"agent.json": agent.dump().encode(), "agent-token": self._credentials.token_file.read_bytes(),
                 "tls/ca.pem": self.certificates.authorities.read_bytes(), "tls/node.pem": self.certificates.node(node).read_bytes()}
        return pack([SETTINGS, SETTINGS / "tls"], {SETTINGS / name: content for name, content in files.items()}, USER_ID)
