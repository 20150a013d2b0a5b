"""What tests ask of a cluster, by SQL of their own, so that nothing of pgunison is checked against itself. chaos/comparison.py does the waiting."""

import contextlib
from collections.abc import Iterator

import psycopg2
from psycopg2 import sql

from chaos.comparison import MARKS, differing, error_counts, errors, everywhere, pause, put_mark, resume, settle
from chaos.target import all_links
from pgunison.contract.waiting import wait_until

__all__ = ["MARKS", "administer", "all_links", "arrived", "assert_same", "blocked", "differences", "error_counts", "errors", "everywhere",
           "held", "link", "names", "pause", "paused", "replica", "resume", "settle", "wait_until"]


def names(cluster) -> list[str]:
    """List the cluster's nodes."""
    return cluster.names()


def held(cluster, node: str, table: str, *, schema: str = "public") -> dict[str, str]:
    """Return each row of a table as text by the text of its key, versions included."""
    key = [row[0] for row in cluster.query(node, (
        "SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey) AS k (number) JOIN pg_attribute a ON (a.attrelid, a.attnum) = (i.indrelid, k.number)"
        " WHERE i.indisprimary AND i.indrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))"), [schema, table])]
    with cluster.connect(node) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT ROW({})::text, md5(t::text) || ' ' || left(t::text, 200) FROM {} AS t").format(
            sql.SQL(", ").join(sql.Identifier("t", column) for column in key), sql.Identifier(schema, table)))
        return dict(cursor.fetchall())


def differences(cluster, table: str, *, schema: str = "public") -> dict[str, dict[str, str | None]]:
    """Return ``{key: {node: row or None}}`` for the keys of which the nodes hold different rows."""
    return differing(everywhere(cluster, lambda node: held(cluster, node, table, schema=schema)))


def assert_same(cluster, *tables: str, schema: str = "public") -> dict[str, int]:
    """Settle the cluster, then assert that each table holds the same rows everywhere; returns how many rows each node swept."""
    swept = settle(cluster)
    for table in tables:
        found = differences(cluster, table, schema=schema)
        shown = "\n".join(f"{key}: {nodes}" for key, nodes in list(found.items())[:5])
        assert not found, f"{len(found)} keys of {table} differ:\n{shown}"
    return swept


def link(source: str, target: str) -> str:
    return f"unison_{source}_to_{target}"


@contextlib.contextmanager
def paused(cluster, *links: tuple[str, str]) -> Iterator[None]:
    """Pause the links, (source, target), within the block."""
    for source, target in links:
        pause(cluster, source, target)
    try:
        yield
    finally:
        for source, target in links:
            resume(cluster, source, target)


def arrived(cluster, source: str, target: str, timeout_s: float = 30.0) -> None:
    """Wait until the target has applied all that the source committed until now."""
    mark = put_mark(cluster, source)

    def missing() -> str | None:
        return None if cluster.query(target, "SELECT 1 FROM mark WHERE id = %s", [mark]) else errors(cluster, target)

    wait_until(missing, f"{target} has what {source} has", timeout_s)


@contextlib.contextmanager
def replica(cluster, node: str) -> Iterator[psycopg2.extensions.cursor]:
    """Open a cursor of the superuser whose changes no trigger sees and no peer gets."""
    connection = cluster.superuser(node)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            yield cursor
    finally:
        connection.close()


def administer(cluster, node: str, *statements: str) -> None:
    """Execute statements as the node's superuser, each in a transaction of its own."""
    with contextlib.closing(cluster.superuser(node)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def blocked(cluster, node: str, pid: int) -> None:
    """Wait until the session waits for a lock."""
    def running() -> str | None:
        found = cluster.query(node, "SELECT wait_event_type, state FROM pg_stat_activity WHERE pid = %s", [pid])
        return None if found and found[0][0] == "Lock" else f"it is {found}"

    wait_until(running, f"session {pid} waits for a lock", 10.0)
