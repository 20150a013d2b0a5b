"""The Docker engine: found, and its refusals turned into what a user can do about them."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pgunison.errors import OrchestratorError

if TYPE_CHECKING:
    import docker

SOCKET = Path("/var/run/docker.sock")
ANSWER_TIMEOUT_S = 5
CALL_TIMEOUT_S = 120
# what the engine says, and what it means
OVERLAPS = ("the subnet overlaps another network of this machine",
            "choose another one at $.system.networks[0].config.net.ipv4, or remove that network: docker network ls")
REFUSALS = (
    ("Pool overlaps", *OVERLAPS), ("networks have overlapping IPv4", *OVERLAPS), ("failed to allocate gateway", *OVERLAPS),
    ("Address already in use", "an address of the cluster is taken", "docker network inspect shows by whom"),
    ("is already in use by container", "a container that is not of this cluster has the name of a node",
     "remove or rename it, or give this cluster another id in sysconfig.json"),
    ("has active endpoints", "other containers use the cluster's network", "remove them from it: docker network disconnect"),
    ("permission denied", "the Docker engine may not do that", "see the engine's own log"),
)


def answers() -> bool:
    """Tell whether an engine answers, without loading what is needed to ask when there cannot be one."""
    if not os.environ.get("DOCKER_HOST") and not SOCKET.exists():
        return False
    try:
        connect().close()
    except OrchestratorError:
        return False
    return True


def connect() -> "docker.DockerClient":
    """Return a client of the engine that DOCKER_HOST names, else this machine's; OrchestratorError when none answers."""
    # loaded late: a fifth of a second that the process runtime need not pay
    import docker
    where = os.environ.get("DOCKER_HOST", f"unix://{SOCKET}")
    client = None
    try:
        _knock(where)
        client = docker.from_env(timeout=ANSWER_TIMEOUT_S)
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        if client is not None:
            client.close()
        causes = _causes(error)
        if any(isinstance(cause, PermissionError) for cause in causes):
            raise OrchestratorError(f"the Docker engine at {where} may not be used by this user", "the socket is not readable and writable",
                                    "add the user to the group docker and log in again, or use sudo") from error
        raise OrchestratorError("no Docker engine answers", f"{where}: {str(causes[-1])[:200]}",
                                "start it, set DOCKER_HOST, or use --runtime process") from error
    client.api.timeout = CALL_TIMEOUT_S
    return client


def _knock(where: str) -> None:
    """OSError when nobody listens at a Unix socket. The SDK, which would find that out as well, leaves a socket open then."""
    if where.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(ANSWER_TIMEOUT_S)
            probe.connect(where.removeprefix("unix://"))


@contextmanager
def asked_to(what: str) -> Iterator[None]:
    """Turn what the engine refuses within the block into an OrchestratorError; ``what`` completes 'the Docker engine could not ...'."""
    import docker
    try:
        yield
    except docker.errors.APIError as error:
        said = " ".join(str(error.explanation or error).split())[:300]
        for fragment, message, hint in REFUSALS:
            if fragment in said:
                raise OrchestratorError(message, said, hint) from error
        raise OrchestratorError(f"the Docker engine could not {what}", said, "docker ps --all shows the containers, docker logs their last words") from error
    except (docker.errors.DockerException, OSError) as error:
        raise OrchestratorError(f"the Docker engine did not {what}", f"{type(error).__name__}: {error}"[:300], "does docker info answer?") from error


def _causes(error: BaseException) -> list[BaseException]:
    """List an exception and what led to it, also where a library wrapped it into arguments."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        inner = [each for each in cause.args if isinstance(each, BaseException)] + [getattr(cause, "reason", None)]
        wrapped = (each for each in inner if isinstance(each, BaseException))
        cause = cause.__cause__ or cause.__context__ or next(wrapped, None)
    return found
