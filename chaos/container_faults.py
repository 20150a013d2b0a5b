"""What can befall a container: done by the engine, or to its network. The other faults are in chaos/faults.py.

A container is put back by the same start that a user calls: it lets a paused one go on, and gives one that is off the network its address again.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import docker

from chaos.faults import Fault
from chaos.processes import Freezer
from chaos.runtimes import DockerCluster
from chaos.target import Link
from pgunison.errors import OrchestratorError
from pgunison.everywhere import everywhere
from pgunison.runtime import engine
from pgunison.runtime.containers import SETTINGS


class ContainerFault(Fault):
    """The engine does it to the node's container."""

    def do(self, target: DockerCluster, freezer: Freezer) -> bool:
        with engine.asked_to(f"{self}"):
            return self.strike(target)

    def strike(self, target: DockerCluster) -> bool:
        raise NotImplementedError

    def heal(self, target: DockerCluster, freezer: Freezer) -> None:
        target.start(self.node)


@dataclass
class PauseContainer(ContainerFault):
    """Everything in the container stands still: PostgreSQL, the agent; its network answers as far as the kernel does."""

    def __str__(self) -> str:
        return f"pause the container of {self.node}"

    def strike(self, target: DockerCluster) -> bool:
        try:
            target.container(self.node).pause()
        except docker.errors.APIError as error:
            # the kernel was asked some times, and a process was being made each time
            if "unable to freeze" not in str(error):
                raise
            return False
        return True


@dataclass
class KillContainer(ContainerFault):
    """Everything in the container is killed, and stays so until it is started again."""

    def __str__(self) -> str:
        return f"kill the container of {self.node}"

    def strike(self, target: DockerCluster) -> bool:
        target.container(self.node).kill()
        return True


@dataclass
class Disconnect(ContainerFault):
    """The container is taken off the network; nobody is told."""

    def __str__(self) -> str:
        return f"take {self.node} off the network"

    def strike(self, target: DockerCluster) -> bool:
        target.network().disconnect(target.container(self.node))
        return True


@dataclass
class RestartAll(ContainerFault):
    """All containers are killed at once, as when the machine loses its power, and started again."""

    everywhere: tuple[str, ...]

    def __str__(self) -> str:
        return "kill and start all containers at once"

    @property
    def nodes(self) -> tuple[str, ...]:
        return self.everywhere

    def strike(self, target: DockerCluster) -> bool:
        running = [container for node in self.everywhere if (container := target.container(node)).status == "running"]
        everywhere(running, lambda container: container.kill())
        everywhere(self.everywhere, target.start)
        return bool(running)

    def heal(self, target: DockerCluster, freezer: Freezer) -> None:
        """Nothing is left to undo."""


@dataclass
class Drop(Fault):
    """What one container sends to another is dropped, and nobody is told. What the other sends arrives, and is never confirmed."""

    link: Link

    def __str__(self) -> str:
        return "drop what {} sends to {}".format(*self.link)

    def do(self, target: DockerCluster, freezer: Freezer) -> bool:
        return self._rule(target, "--insert")

    def heal(self, target: DockerCluster, freezer: Freezer) -> None:
        self._rule(target, "--delete")

    def _rule(self, target: DockerCluster, action: str) -> bool:
        source, to = self.link
        pid = target.container(to).attrs["State"]["Pid"]
        if not pid:
            # its rules went with it
            return False
        iptables(pid, action, "INPUT", "--source", target.site.runtime.address(target.site.spec(source)), "--jump", "DROP")
        return True


def signals_impossible(target: DockerCluster) -> str | None:
    """Tell why we cannot send signals to what runs in the containers, None when we can."""
    pid = target.container(target.names()[0]).attrs["State"]["Pid"]
    try:
        # the engine may be on another machine, where other processes have these ids
        told = Path(f"/proc/{pid}/root{SETTINGS}/agent.json").read_text(encoding="utf-8")
    except PermissionError:
        return "only root may signal the processes of containers"
    except OSError as error:
        return f"the engine's processes are not this machine's: {error.strerror}"
    return None if target.site.configuration.id in told else "the engine's processes are not this machine's"


def drop_impossible(target: DockerCluster) -> str | None:
    """Tell why we can make no rules within a container's network, None when we can."""
    if reason := signals_impossible(target):
        return reason
    try:
        iptables(target.container(target.names()[0]).attrs["State"]["Pid"], "--list-rules")
    except OrchestratorError as error:
        return error.detail
    return None


def iptables(pid: int, *words: str) -> None:
    """Call iptables in the network of the container with that process, whose image need not have it."""
    try:
        done = subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "iptables", "--wait", "5", *words], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise OrchestratorError("packets cannot be dropped here", f"there is no {error.filename}", "leave it out: chaos --faults -drop") from error
    if done.returncode:
        raise OrchestratorError("packets cannot be dropped here", done.stderr.strip()[-300:], "leave it out: chaos --faults -drop")
