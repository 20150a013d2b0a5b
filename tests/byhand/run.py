"""A run of one test: the cluster it looks at, the rows that are its own, and how it reads them."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import sql

from byhand.report import Report
from pgunison.cluster.barrier import Barrier
from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import Group, Table
from pgunison.errors import OrchestratorError, UsageError
from pgunison.pool import Pool

COLUMNS = ("id", "col1", "col2")
# for what the tests read from a node directly; larger than a pool's, because it may scan the table
READ_TIMEOUT_S = 60
# longer than it takes a node that has just come back to get its whole share
POOL_TIMEOUT_S = 8.0


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
    """``id`` marks the rows of this run, in col1: runs do not meet each other. ``seed`` is for what a test draws by chance."""

    site: Site
    timeout_s: float
    config: Path
    runtime: str
    seed: int
    id: str = field(default_factory=lambda: f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}")
    report: Report = field(default_factory=Report)
    # the nodes that take no work, with the reason
    idle: dict[str, str] = field(default_factory=dict)

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

    @contextmanager
    def pool(self, groups: Iterable[Group]) -> Iterator[Pool]:
        """Open the pool as an application does, and wait until every node takes its whole share of the groups.

        OrchestratorError when one cannot be reached. One that answers and takes no work is told, and left out; :meth:`require_all_served` fails in the end.
        """
        with Pool.open(self.config, self.runtime) as pool:
            deadline = time.monotonic() + POOL_TIMEOUT_S
            while idle := sorted({node for group in groups for node in self.nodes if pool.ready(group.name).get(node) != 1}):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            known = pool.nodes()
            # one that is back since a moment has a part of its share, and more with each second
            idle = [node for node in idle if any(node not in pool.ready(group.name) for group in groups)]
            why = {node: (known[node].reason if node in known else "") or "it is ready, and too slow or too far behind" for node in idle}
            unreachable = [node for node in idle if node not in known or known[node].state not in ("ready", "not ready")]
            require(not unreachable, f"{', '.join(unreachable)} cannot be reached", "\n        ".join(f"{node}: {why[node]}" for node in unreachable),
                    "python3 orchestrator.py up")
            self.idle.update(why)
            for node, reason in why.items():
                self.report.say(f"{node} takes no work: {reason}")
            yield pool

    @property
    def serving(self) -> list[str]:
        """List the nodes that the pool uses."""
        return [node for node in self.nodes if node not in self.idle]

    def require_all_served(self) -> None:
        """OrchestratorError when a node took no work."""
        require(not self.idle, f"{', '.join(self.idle)} cannot serve", "\n        ".join(f"{node}: {reason}" for node, reason in self.idle.items()),
                "python3 orchestrator.py up")

    def await_barrier(self) -> None:
        """Wait until every node has applied all that was written up to now."""
        began = time.monotonic()
        Barrier(self.site).wait(self.timeout_s)
        self.report.checked(f"every node has applied everything, {time.monotonic() - began:.2f} s after the last statement")

    def sweep(self) -> None:
        """Let every node delete the rows that are older than their tombstone."""
        side_by_side(lambda node: self.site.call(node, "node.sweep"), self.nodes)

    def connect(self, node: str, role: str):
        """Open a connection to one node, past the pool."""
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
