"""A cluster under measurement: what a workload may ask of pgunison's nodes and of its rival's alike."""

import collections
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from pgunison.cluster.barrier import lsn

DEADLINE_S = 300.0
POLL_S = 0.005
# what stands in the title of a process; these live as long as the server, so nothing of them is among the postmaster's children that ended
TITLES = {"apply workers": "logical replication", "walsenders": ": walsender "}
REST = "sessions and all else"


class Cluster:
    """``names`` are its nodes, ``binaries`` the directory of PostgreSQL's programs. Each node has a table ``table1 (id bigserial, col1 text, col2 text)``.

    Used as a context it is started first, and leaves nothing behind.
    """

    names: list[str]
    binaries: Path

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def dsn(self, node: str) -> str:
        """Return how a client that reads and writes reaches the node."""
        raise NotImplementedError

    def superuser_dsn(self, node: str) -> str:
        """Return how to look at the node without any limit."""
        raise NotImplementedError

    def __enter__(self) -> "Cluster":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @contextmanager
    def connect(self, node: str, *, superuser: bool = False) -> Iterator:
        """Open a connection to the node in autocommit mode."""
        connection = psycopg2.connect(self.superuser_dsn(node) if superuser else self.dsn(node), connect_timeout=10)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def query(self, node: str, statement: str, parameters: object = None, *, superuser: bool = False) -> list[tuple]:
        """Execute a statement in a connection of its own; returns its rows, if it has any."""
        with self.connect(node, superuser=superuser) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def position(self, node: str) -> int:
        """Return how many bytes of WAL the node has ever written."""
        return lsn(self.query(node, "SELECT pg_current_wal_insert_lsn()::text", superuser=True)[0][0])

    def agents_cpu_s(self) -> float:
        """Return the processor time that the nodes' agents have taken until now; a rival has none."""
        return 0.0

    def cpu_s(self) -> collections.Counter[str]:
        """Return the processor time that the processes of every node have taken, by kind; it says the price also where other work shares the processors."""
        return sum((cpu_s(self.query(node, "SHOW data_directory", superuser=True)[0][0]) for node in self.names), collections.Counter())

    def barrier(self, timeout_s: float = DEADLINE_S) -> None:
        """Wait until every node has applied all that was committed until now; TimeoutError with who is behind when it takes longer."""
        deadline = time.monotonic() + timeout_s
        for node in self.names:
            with self.connect(node, superuser=True) as connection, connection.cursor() as cursor:
                # what is committed is flushed; the rest is nobody's row
                cursor.execute("SELECT pg_current_wal_flush_lsn()::text")
                position = cursor.fetchone()[0]
                while (reason := self._pending(cursor, position)) is not None:
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"the peers of {node} have not caught up after {timeout_s:.0f} s: {reason}")
                    time.sleep(POLL_S)

    def _pending(self, cursor, position: str) -> str | None:
        cursor.execute("SELECT s.slot_name, pg_wal_lsn_diff(%s, coalesce(r.replay_lsn, s.confirmed_flush_lsn))::bigint"
                       " FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_type = 'logical'", [position])
        found = cursor.fetchall()
        if len(found) < len(self.names) - 1:
            return f"{len(found)} replication slots"
        behind = [f"{slot} is {count} bytes behind" for slot, count in found if count is None or count > 0]
        return ", ".join(behind) or None


def cpu_s(data_directory: str) -> collections.Counter[str]:
    """Return the seconds that a server's processes have taken, those that have ended included, by kind: a key of TITLES, or REST."""
    postmaster = (Path(data_directory) / "postmaster.pid").read_text().splitlines()[0]
    ticks = collections.Counter()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            # behind the name, which may hold anything: state, parent, ...; 14th to 17th are the times, one's own and those of children that ended
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            title = (directory / "cmdline").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if postmaster in (directory.name, fields[1]):
            ticks[next((kind for kind, words in TITLES.items() if words in title), REST)] += sum(map(int, fields[11:15]))
    return collections.Counter({kind: count / os.sysconf("SC_CLK_TCK") for kind, count in ticks.items()})
