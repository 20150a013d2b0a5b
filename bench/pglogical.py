"""A mesh of pglogical 2, the usual extension for this job, where ``last_update_wins`` is its way to resolve conflicts.

Debian has it for its own PostgreSQL only (``apt-get install postgresql-15-pglogical`` on Debian 12), so the server is another one than that of the
other designs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.mesh import TABLE1, NativeMesh, link

DATABASES = "/usr/lib/postgresql/*/lib/pglogical.so"
SETTINGS = (("shared_preload_libraries", "pglogical"), ("track_commit_timestamp", "on"), ("pglogical.conflict_resolution", "last_update_wins"))


def programs() -> Path | None:
    """Find the programs of a PostgreSQL that has pglogical, the newest; None where none has."""
    found = sorted(Path("/").glob(DATABASES.lstrip("/")), key=lambda path: int(path.parts[-3]))
    return found[-1].parents[1] / "bin" if found else None


class PglogicalMesh(NativeMesh):
    """Every node subscribes to every other one, and forwards nothing of what it got."""

    settings = SETTINGS

    def __init__(self, nodes: int, directory: Path, tables: Sequence[dict] = (TABLE1,), settings: Mapping[str, str] | None = None):
        super().__init__(nodes, directory, None, tables, settings)
        found = programs()
        if found is None:
            raise FileNotFoundError("no PostgreSQL here has pglogical")
        self.binaries = found

    def publish(self, node: str) -> None:
        self.query(node, "CREATE EXTENSION pglogical")
        self.query(node, "SELECT pglogical.create_node(%s, %s)", [node, self.dsn(node)])
        self.query(node, "SELECT pglogical.replication_set_add_all_tables('default', '{public}')")

    def subscribe(self, source: str, target: str) -> None:
        self.query(target, "SELECT pglogical.create_subscription(%s, %s, '{default}', false, false, '{}')", [link(source, target), self.dsn(source)])
        self.query(target, "SELECT pglogical.wait_for_subscription_sync_complete(%s)", [link(source, target)])
