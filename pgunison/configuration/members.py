"""Members: which nodes were added to those of the configuration, and which were removed for good. Kept beside the cluster's files, by whoever changes it.

A name and an index are never used again: rows carry the index of the node that wrote them, and a node that comes back with its old data must not be taken for
another one.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pgunison.configuration.sysconfig import Configuration, NodeSpec
from pgunison.errors import OrchestratorError
from pgunison.files import write_whole

FILE = "members.json"
VERSION = 1


@dataclass(frozen=True)
class Member:
    """A node; ``replaces`` is the name of another one that is removed when this one has joined."""

    name: str
    index: int
    replaces: str | None = None


@dataclass(frozen=True)
class Members:
    """``added`` are members beside the configured nodes, ``gone`` are none any more, whether they are configured or not."""

    added: tuple[Member, ...] = ()
    gone: tuple[Member, ...] = ()

    def with_added(self, node: NodeSpec, replaces: str | None = None) -> "Members":
        return replace(self, added=(*self.added, Member(node.name, node.index, replaces)))

    def with_gone(self, node: NodeSpec) -> "Members":
        return replace(self, gone=(*self.gone, Member(node.name, node.index)))

    def successor(self, name: str) -> str | None:
        """Return the name of the member that was added in the place of another one, None when there is none."""
        return next((member.name for member in self.added if member.replaces == name), None)

    def of(self, configuration: Configuration) -> Configuration:
        """Return the configuration with the nodes that are members, in the order of their indices; ``former`` are those that were removed."""
        gone = {member.name for member in self.gone}
        configured = {node.name for node in configuration.nodes}
        added = tuple(configuration.node_spec(member.name, member.index) for member in self.added if member.name not in configured)
        nodes = sorted((node for node in (*configuration.nodes, *added) if node.name not in gone), key=lambda node: node.index)
        return replace(configuration, nodes=tuple(nodes), former=tuple(configuration.node_spec(member.name, member.index) for member in self.gone))

    def write(self, directory: Path) -> None:
        """Write the file into the cluster's directory, whole or not at all."""
        write_whole(directory / FILE, json.dumps({"version": VERSION} | asdict(self), indent=1) + "\n", 0o644)


def read(directory: Path) -> Members:
    """Read the file; nobody was added or removed where there is none. OrchestratorError when it cannot be used."""
    path = directory / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError("it is of another version")
        return Members(*(tuple(Member(**member) for member in document[kind]) for kind in ("added", "gone")))
    except FileNotFoundError:
        return Members()
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise OrchestratorError(f"{path} cannot be used", f"{type(error).__name__}: {said}",
                                "restore it: it says which nodes were added and removed since the cluster was made") from error
