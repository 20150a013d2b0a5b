"""Routes: which node is next, for drivers that keep their connections themselves (pgunison/pool/adapters/)."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pgunison import credentials, endpoints
from pgunison.configuration.sysconfig import Configuration, Group, load
from pgunison.endpoints import Endpoint, Endpoints
from pgunison.errors import UsageError
from pgunison.pool.errors import Unavailable
from pgunison.pool.node import Limits
from pgunison.pool.router import Router, Rule

STATUS = "python3 orchestrator.py status shows the nodes"
# libpq's least
CONNECT_TIMEOUT_S = 2
LOOK_EVERY_S = 0.02


class Routes:
    """Follow the nodes of a cluster for the groups of its configuration. Threads share it."""

    def __init__(self, configuration: Configuration, path: Path, passwords: dict[str, str], local: str | None = None):
        self._passwords, self._groups = passwords, {group.name: group for group in configuration.groups}
        self._router = Router(path, rules(configuration, local), lambda: None, lambda _: None)
        self._router.start()

    @classmethod
    def open(cls, config: str | Path = "sysconfig.json", runtime: str = "auto", *, local: str | None = None) -> Self:
        """Open as Pool.open does."""
        configuration, path, passwords = found(config, runtime)
        routes = cls(configuration, path, passwords, local)
        routes._router.await_first_answers()
        return routes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End its thread."""
        self._router.close()

    def group(self, name: str) -> Group:
        """Return what the configuration says of a group; UsageError when there is none."""
        if name not in self._groups:
            raise UsageError(f"there is no group {name}", f"the groups are {', '.join(self._groups) or 'none'}", "name one of them")
        return self._groups[name]

    def next(self, name: str, key: object = None) -> Endpoint:
        """Return the node that is next for a group, or a key's home; waits for one that takes work. Unavailable when none does in time."""
        return next(self.tries(name, key))

    def tries(self, name: str, key: object = None) -> Iterator[Endpoint]:
        """Yield the nodes to try one after the other, as :meth:`next` returns them; Unavailable when the group's time is over. At least one is tried."""
        group = self.group(name)
        deadline = time.monotonic() + group.timeout_s
        tried: set[str] = set()
        while True:
            for node in self._router.choices[name].order(None if key is None else str(key), lambda _: 0):
                if tried and time.monotonic() > deadline:
                    break
                endpoint = self._router.nodes.get(node)
                # it may be out since the one before it was tried
                if endpoint is not None and node in self._router.choices[name].weights:
                    tried.add(node)
                    yield endpoint
            if time.monotonic() > deadline:
                said = "; ".join(f"{node}: {'it gave no connection' if node in tried else self._router.why(node, name)}" for node in sorted(self._router.nodes))
                raise Unavailable(f"no node can serve {name} within {group.timeout_s:g} s", said or "the cluster has no nodes", STATUS)
            time.sleep(LOOK_EVERY_S)

    def parameters(self, name: str, endpoint: Endpoint) -> dict[str, Any]:
        """Return libpq's parameters for a connection of a group to a node."""
        group = self.group(name)
        return parameters(group, endpoint, self._router.endpoints, self._passwords[group.role])

    def lost(self, endpoint: Endpoint) -> None:
        """Take note that a connection to a node failed or was lost."""
        self._router.suspect(endpoint.name)


def found(config: str | Path, runtime: str) -> tuple[Configuration, Path, dict[str, str]]:
    """Find what a pool opens from: the configuration, the endpoints file, the passwords. OrchestratorError, or UsageError for what is wrong."""
    if runtime not in ("auto", *endpoints.RUNTIMES):
        raise UsageError(f"there is no runtime {runtime}", "", f"name one of auto, {', '.join(endpoints.RUNTIMES)}")
    configuration = load(Path(config))
    path = endpoints.find(configuration.id, runtime)
    return configuration, path, credentials.stored(configuration, path.parent / "secrets")


def rules(configuration: Configuration, local: str | None) -> dict[str, Rule]:
    """Return by which rule each group chooses."""
    return {group.name: Rule(group.policy, Limits(group.max_lag_s, group.max_latency_ms / 1000), local) for group in configuration.groups}


def parameters(group: Group, endpoint: Endpoint, of: Endpoints, password: str) -> dict[str, Any]:
    """Return libpq's parameters for a connection of a group to a node."""
    security = {"sslmode": "verify-full", "sslrootcert": of.root_certificate} if of.root_certificate else {"sslmode": "disable"}
    return security | {
        "host": endpoint.address, "port": endpoint.postgresql_port, "dbname": of.database, "user": group.role, "password": password,
        "connect_timeout": CONNECT_TIMEOUT_S, "application_name": f"pgunison {group.name} {endpoint.name}",
        "keepalives_idle": 10, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 5000,
        "options": f"-c statement_timeout={int(group.statement_timeout_s * 1000)}"}
