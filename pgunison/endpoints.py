"""The endpoints: where the nodes of a cluster are, in a file that ``up`` writes and that every pool of this machine opens from. No secrets are in it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pgunison.directory import cluster_directory
from pgunison.errors import OrchestratorError
from pgunison.files import write_whole

FILE = "endpoints.json"
# of the file's form: a program of another version must not guess
VERSION = 1
# the order in which `auto` looks: as a command does where both are there (pgunison/runtime/choice.py)
RUNTIMES = ("process", "docker")


@dataclass(frozen=True)
class Endpoint:
    """One node: its agent and its PostgreSQL listen at ``address``."""

    name: str
    index: int
    address: str
    postgresql_port: int
    agent_port: int


@dataclass(frozen=True)
class Endpoints:
    """All nodes of a cluster. ``root_certificate`` is the file of the authorities that the nodes' certificates come from, None where they speak no TLS."""

    cluster: str
    database: str
    nodes: tuple[Endpoint, ...]
    root_certificate: str | None = None

    def write(self, directory: Path) -> None:
        """Write the file into the cluster's directory, whole or not at all; a file that says the same stays as it is."""
        path, text = directory / FILE, json.dumps({"version": VERSION} | asdict(self), indent=1) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        write_whole(path, text)


def find(cluster_id: str, runtime: str) -> Path:
    """Return the file of a cluster that was made on this machine; OrchestratorError when there is none."""
    paths = [cluster_directory(cluster_id, name) / FILE for name in (RUNTIMES if runtime == "auto" else (runtime,))]
    found = next((path for path in paths if path.exists()), None)
    if found is None:
        raise OrchestratorError(f"there is no cluster {cluster_id} on this machine", f"no file {' or '.join(map(str, paths))}",
                                "python3 orchestrator.py up")
    return found


def read(path: Path) -> Endpoints:
    """Read the file; OrchestratorError when it cannot be used."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("version") != VERSION:
            raise ValueError("it is of another version")
        nodes = tuple(Endpoint(**node) for node in document.pop("nodes"))
        return Endpoints(nodes=nodes, **document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise OrchestratorError(f"{path} cannot be used", f"{type(error).__name__}: {said}", "python3 orchestrator.py up writes it anew") from error
