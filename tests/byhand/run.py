"""A run of one test: the cluster it looks at, the rows that are its own, and how it reads them."""

import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import sql

from byhand.report import Report
from pgunison.cluster.barrier import Barrier
from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import Group, Table
from pgunison.errors import OrchestratorError, UsageError

COLUMNS = ("id", "col1", "col2")
# for what the tests read from a node directly; larger than the balancer's, because it may scan the table
READ_TIMEOUT_S = 60


class Row(NamedTuple):
    """A row of the table with its version."""

    id: int
    col1: str
    col2: str
    modified_ts: datetime
    modified_node: int

    @property
    def version(self) -> tuple[datetime, int]:
        return self.modified_ts, self.modified_node


# the columns of a Row, as SQL
ROW = sql.SQL(", ").join(map(sql.Identifier, Row._fields))


@dataclass(frozen=True)
class Run:
    """``id`` marks the rows of this run, in col1: runs do not meet each other."""

    site: Site
    timeout_s: float
    id: str = field(default_factory=lambda: f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}")
    report: Report = field(default_factory=Report)

    @property
    def configured_table(self) -> Table:
        """Return the first configured table with the columns that the tests use; UsageError when there is none."""
        for table in self.site.configuration.tables:
            if {column.name for column in table.columns} == set(COLUMNS):
                return table
        raise UsageError("no table is configured that this test can use", f"none has the columns {', '.join(COLUMNS)} and no other",
                         "configure one as in the sysconfig.json that comes with pgunison")

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.configured_table.schema, self.configured_table.name)

    @property
    def nodes(self) -> list[str]:
        return [node.name for node in self.site.configuration.nodes]

    def __post_init__(self) -> None:
        # what asks the nodes is loaded now, so that the time until they have applied everything is theirs alone
        _ = self.site.agents

    def groups(self, kind: str) -> list[Group]:
        """List the groups whose role is of a kind; UsageError when there is none."""
        roles = {role.name for role in self.site.configuration.roles if role.kind == kind}
        groups = [group for group in self.site.configuration.groups if group.role in roles]
        if not groups:
            raise UsageError(f"this test needs a group whose role is a {kind}", "the configuration has none", "add one at $.system.config.groups")
        return groups

    def await_barrier(self) -> None:
        """Wait until every node has applied all that was written up to now."""
        began = time.monotonic()
        Barrier(self.site).wait(self.timeout_s)
        self.report.checked(f"every node has applied everything, {time.monotonic() - began:.2f} s after the last statement")

    def sweep(self) -> None:
        """Let every node delete the rows that are older than their tombstone."""
        side_by_side(lambda node: self.site.call(node, "node.sweep"), self.nodes)

    def connect(self, node: str, role: str):
        """Open a connection to one node, past the balancer."""
        return closing(psycopg2.connect(self.site.dsn(role, node), connect_timeout=5, options=f"-c statement_timeout={READ_TIMEOUT_S}s"))

    def held(self) -> dict[str, dict[int, Row]]:
        """Read this run's rows from each node directly: ``{node: {id: row}}``."""
        return dict(zip(self.nodes, side_by_side(self._held, self.nodes), strict=True))

    def _held(self, node: str) -> dict[int, Row]:
        with self.connect(node, self.site.configuration.role("owner").name) as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT {} FROM {} WHERE col1 = %s").format(ROW, self.table), [self.id])
            return {row[0]: Row(*row) for row in cursor}


def shown(row: Row | None) -> str:
    """Write what a node holds under a key, for a message."""
    return f"{row.col2!r} of {row.modified_ts} by node {row.modified_node}" if row else "no row"


def side_by_side(do: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
    """Call ``do`` for all arguments at once, each in a thread; returns the results in their order, or raises the first error when all have ended."""
    arguments = list(arguments)
    with ThreadPoolExecutor(max_workers=max(1, len(arguments))) as pool:
        return list(pool.map(do, arguments))


def require(holds: object, message: str, detail: str = "", hint: str = "python3 orchestrator.py verify compares all rows of the nodes") -> None:
    """OrchestratorError when what was checked does not hold."""
    if not holds:
        raise OrchestratorError(message, detail, hint)
