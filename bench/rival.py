"""A native mesh as a target of chaos, with what systemd would do: a server that has ended is started again."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from bench.mesh import NativeMesh, link
from pgunison.contract.waiting import wait_until

LOOK_EVERY_S = 0.2


class Rival:
    """The mesh is started by the block, and removed when it is left. There are no agents and no roles: everybody is the superuser."""

    versions = ()

    def __init__(self, mesh: NativeMesh):
        self._mesh = mesh
        self._ending = threading.Event()
        self._locks = {node: threading.Lock() for node in mesh.names}
        self._keepers = [threading.Thread(target=self._keep, args=(node,), name=f"keeper of {node}", daemon=True) for node in mesh.names]

    def __enter__(self) -> "Rival":
        self._mesh.__enter__()
        for keeper in self._keepers:
            keeper.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.set()
        for keeper in self._keepers:
            # as long as pg_ctl waits for a server that it started
            keeper.join(60.0)
        self._mesh.stop()

    def names(self) -> list[str]:
        return self._mesh.names

    @contextlib.contextmanager
    def connect(self, node: str, role: str = "owner", *, autocommit: bool = True) -> Iterator:
        with self._mesh.connect(node) as connection:
            connection.autocommit = autocommit
            yield connection

    def superuser(self, node: str) -> Any:
        return psycopg2.connect(self._mesh.superuser_dsn(node), connect_timeout=10)

    def query(self, node: str, statement: str, parameters: Any = None, role: str = "owner") -> list[tuple]:
        return self._mesh.query(node, statement, parameters)

    def link(self, source: str, target: str) -> str:
        return link(source, target)

    def sweep(self, node: str) -> int:
        return 0

    def server_pid(self, node: str) -> int | None:
        try:
            pid = self._mesh.server_pid(node)
        except (OSError, ValueError, IndexError):
            return None
        return pid if runs(pid) else None

    def agent_pid(self, node: str) -> int | None:
        return None

    def process(self, node: str, pid: int) -> int | None:
        return pid

    def start(self, node: str) -> None:
        with self._locks[node]:
            if self.server_pid(node) is None:
                self._mesh.try_start(node)

    def stop(self, node: str) -> None:
        raise NotImplementedError("a mesh has no agent that would keep a server stopped")

    def await_node(self, node: str, timeout_s: float) -> None:
        def silent() -> str | None:
            try:
                self.query(node, "SELECT 1")
            except psycopg2.OperationalError as error:
                return str(error).strip()
            return None

        wait_until(silent, f"{node} accepts connections", timeout_s)

    def folder(self, node: str) -> Path:
        return self._mesh.folder(node)

    def _keep(self, node: str) -> None:
        while not self._ending.wait(LOOK_EVERY_S):
            self.start(node)


def runs(pid: int) -> bool:
    """Tell whether the process is there and more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False
