"""The pool: what an application uses. docs/pool.md describes it."""

from pathlib import Path
from typing import Self

from pgunison.configuration.sysconfig import Configuration
from pgunison.errors import UsageError
from pgunison.pool.borrowed import Borrowed
from pgunison.pool.lanes import Lanes
from pgunison.pool.node import NodeState
from pgunison.pool.routes import found
from pgunison.pool.stock import Stock


class Pool:
    """Connections of the groups of a configuration to all nodes of its cluster. Threads share it; a process that forks opens it afterwards."""

    def __init__(self, configuration: Configuration, path: Path, passwords: dict[str, str], local: str | None = None):
        self._stock = Stock(configuration, path, passwords, local)

    @classmethod
    def open(cls, config: str | Path = "sysconfig.json", runtime: str = "auto", *, local: str | None = None) -> Self:
        """Open the pool of a cluster that was made on this machine.

        Waits half a second at the most for the nodes that answer; the others are taken in when they do. ``local`` names the node that is nearest, for groups
        with the policy local-first. Raises OrchestratorError when the cluster was never made, UsageError for a wrong configuration.
        """
        configuration, path, passwords = found(config, runtime)
        pool = cls(configuration, path, passwords, local)
        pool._stock.router.await_first_answers()
        return pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections that nobody has; those that are lent are closed when they come back."""
        self._stock.close()

    def connection(self, group: str, *, key: object = None, after: str | None = None, timeout_s: float | None = None) -> Borrowed:
        """Lend a connection of a group: ``with pool.connection("writer1") as db: db.query(statement, parameters)``.

        ``key`` (any value with a text) takes the key's home node; ``after`` a node that has applied the token; ``timeout_s`` is how long it may take to get
        the connection, and each statement in the block, the group's ``timeout_s`` and ``statement_timeout_s`` by default. Raises at the beginning of the block
        Unavailable; in it and at its end ConnectionLost, UnknownOutcome, and PostgreSQL's own errors as they are.
        """
        return Borrowed(self._stock, self._group(group), None if key is None else str(key), after, timeout_s)

    def nodes(self) -> dict[str, NodeState]:
        """Return what is known of each node."""
        return self._stock.router.states

    def busy(self, node: str) -> int:
        """Return how many connections to a node are lent, or being opened."""
        return self._stock.busy(node)

    def ready(self, group: str) -> dict[str, float]:
        """Return which nodes get new work of a group, each with its part of a full share (0 to 1)."""
        return dict(self._stock.router.choices[self._group(group).name].weights)

    def _group(self, name: str) -> Lanes:
        if name not in self._stock.groups:
            raise UsageError(f"there is no group {name}", f"the groups are {', '.join(self._stock.groups) or 'none'}", "name one of them")
        return self._stock.groups[name]
