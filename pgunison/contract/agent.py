"""What an agent is told when it starts: a JSON file, written by whoever made the node."""

import json
from dataclasses import dataclass
from pathlib import Path

# A cluster grows to this size, or half as much again as it was meant for, without a restart of its nodes.
LEAST_CAPACITY = 16

@dataclass(frozen=True)
class User:
    """The operating system's user that PostgreSQL runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class AgentConfiguration:
    """One node: who it is, where it listens, where its files are.

    ``directory`` holds everything of the node, ``binaries`` PostgreSQL's programs. ``user`` is None where the agent is not root: then PostgreSQL
    runs as the agent does. ``template`` is a directory that the nodes of this machine share, to run initdb once for all.
    ``upkeep`` are properties for ``node.maintain``; ``max_nodes`` is how many nodes the cluster may have, ``networks`` (CIDR) where clients come from.
    ``tls`` is the directory of the node's certificates (:mod:`container.certificates`); None where nothing leaves the machine. ``console``: log to
    stderr, too, which a container's engine keeps. ``code`` is the digest of the sources that the agent was started from, for whoever made the node to look up.
    ``gateway`` is the address from which the host and the world behind it come, where the nodes have a network of their own: no peer is there.
    """

    cluster: str
    node: str
    index: int
    database: str
    address: str
    postgresql_port: int
    agent_port: int
    max_nodes: int
    networks: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    directory: Path
    binaries: Path
    token_file: Path
    template: Path | None
    user: User | None
    upkeep: tuple[tuple[str, int], ...] = ()
    tls: Path | None = None
    console: bool = False
    code: str | None = None
    gateway: str | None = None

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def socket_directory(self) -> Path:
        return self.directory / "socket"

    @property
    def log_directory(self) -> Path:
        return self.directory / "log"

    @classmethod
    def load(cls, path: Path) -> "AgentConfiguration":
        """Read the file; KeyError, TypeError or ValueError when it is not what :meth:`dump` writes."""
        read = json.loads(path.read_text(encoding="utf-8"))
        for key in ("directory", "binaries", "token_file", "template", "tls"):
            read[key] = Path(read[key]) if read[key] is not None else None
        read["networks"] = tuple(read["networks"])
        read["settings"] = tuple((name, value) for name, value in read["settings"])
        read["upkeep"] = tuple((name, value) for name, value in read["upkeep"])
        read["user"] = User(**read["user"]) if read["user"] else None
        return cls(**read)

    def dump(self) -> str:
        """Write the configuration as JSON; it holds no secret, only the path of the token."""
        written = {name: getattr(self, name) for name in self.__dataclass_fields__}
        written["user"] = vars(self.user) if self.user else None
        return json.dumps(written, default=str, indent=1, sort_keys=True)


def capacity(max_nodes: int) -> int:
    """Return how many nodes the settings leave room for."""
    return max(LEAST_CAPACITY, max_nodes + max_nodes // 2)
