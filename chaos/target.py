"""The target: what chaos asks of a cluster. A pgunison cluster answers in chaos/cluster.py; a rival can, too."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

Link = tuple[str, str]
"""A link by its source and its target."""


class Target(Protocol):
    """A cluster with nodes, links between them, and the tables of the workloads.

    A process id is None where nothing of that kind runs now. ``versions`` are the columns that hold a row's version, in the order they are
    compared; none when the target has none.
    """

    versions: tuple[str, ...]

    def names(self) -> list[str]:
        """List the nodes."""

    def connect(self, node: str, role: str = "owner", *, autocommit: bool = True) -> AbstractContextManager:
        """Open a connection as a role of the kind owner, writer or reader."""

    def superuser(self, node: str) -> Any:
        """Open a connection as the node's superuser, which the caller closes."""

    def query(self, node: str, statement: str, parameters: Any = None, role: str = "owner") -> list[tuple]:
        """Execute one statement in a connection of its own."""

    def link(self, source: str, target: str) -> str:
        """Name the subscription of a link."""

    def sweep(self, node: str) -> int:
        """Do what has to be done before nodes are compared; returns how many rows it changed."""

    def server_pid(self, node: str) -> int | None:
        """Find the postmaster."""

    def agent_pid(self, node: str) -> int | None:
        """Find the process that keeps PostgreSQL."""

    def process(self, node: str, pid: int) -> int | None:
        """Find the process on this machine that the node's PostgreSQL knows by that id."""

    def start(self, node: str) -> None:
        """Start the node; does not wait."""

    def stop(self, node: str) -> None:
        """Stop the node, clean."""

    def await_node(self, node: str, timeout_s: float) -> None:
        """Wait until the node's PostgreSQL accepts connections."""

    def folder(self, node: str) -> Path:
        """Return the directory with all files of the node."""


def all_links(target: Target) -> list[Link]:
    """List the links as (source, target)."""
    return [(source, other) for source in target.names() for other in target.names() if source != other]
