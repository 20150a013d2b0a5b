"""What every runtime can do: the one kind of thing that the rest of the host knows of where nodes live."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pgunison.configuration.sysconfig import Configuration, NodeSpec
from pgunison.credentials import Credentials

if TYPE_CHECKING:
    # not at run time: what makes certificates takes its time, and not every runtime has any
    from pgunison.certificates import Certificates


class Process(StrEnum):
    """Whether a node is there, and runs."""

    # it was never made, or its data was removed
    ABSENT = "absent"
    STOPPED = "stopped"
    RUNNING = "running"


class Runtime(Protocol):
    """Start, stop and look at the nodes of one cluster.

    ``certificates`` is None where nothing leaves the machine: then nobody speaks TLS.
    """

    name: str

    def __init__(self, configuration: Configuration, directory: Path, credentials: Credentials) -> None: ...

    @property
    def certificates(self) -> "Certificates | None":
        """Return what makes the cluster's certificates."""
        ...

    @staticmethod
    def require_usable() -> None:
        """OrchestratorError when nodes cannot live there: before anything is made."""

    def address(self, node: NodeSpec) -> str:
        """Return where the node's agent and PostgreSQL listen."""
        ...

    def nodes(self) -> list[str]:
        """List the names of the nodes that are there."""
        ...

    def state(self, node: NodeSpec) -> Process:
        """Tell whether the node is absent, stopped or running."""
        ...

    def has_server(self, node: NodeSpec) -> bool:
        """Tell whether a PostgreSQL runs on the node's data without its agent."""
        ...

    def outdated(self, node: NodeSpec) -> bool:
        """Tell whether the node runs from something else than it would if it were made now."""
        ...

    def start(self, node: NodeSpec) -> None:
        """Start the node if it does not run; does not wait for its agent."""

    def replace(self, node: NodeSpec) -> None:
        """Stop the node, and start it from what is current; the data stays."""

    def put_certificates(self, node: NodeSpec) -> None:
        """Give a node that runs the certificates that the host holds; UsageError where ``certificates`` is None."""

    def require_running(self, node: NodeSpec) -> None:
        """OrchestratorError with the node's last words when it has ended."""

    def stop(self, node: NodeSpec) -> None:
        """Stop the node; the data stays."""

    def purge(self, node: NodeSpec) -> None:
        """Remove a stopped node with its data."""

    def how_to_empty(self, node: NodeSpec) -> str:
        """Write the command that stops the node and removes its data, without a word to its peers."""
        ...

    def purge_all(self) -> None:
        """Remove what the nodes share, and the cluster's directory; every node must be purged before."""

    def logs(self, node: NodeSpec) -> Iterator[tuple[str, Iterable[str]]]:
        """Return the node's log files, the last lines of each."""
        ...
