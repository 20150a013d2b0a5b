"""Are the rows the same everywhere? Asked by SQL of the tests' own, so that nothing of pgunison is checked against itself."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
from psycopg2 import sql

# A replicated table that carries nothing but marks: a row that arrives says that all of its node has arrived that was committed before.
MARKS = {"name": "mark", "columns": [{"name": "id", "type": "uuid", "primary_key": True}, {"name": "source", "type": "text"}]}


def names(cluster) -> list[str]:
    """List the cluster's nodes."""
    return [node.name for node in cluster.site.configuration.nodes]


def wait_until(pending: Callable[[], Any], what: str, timeout_s: float = 30.0, pause_s: float = 0.02) -> None:
    """Wait until ``pending()`` is None; AssertionError with what it said last when it takes longer."""
    deadline = time.monotonic() + timeout_s
    while (reason := pending()) is not None:
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s until {what}; at last: {reason}"
        time.sleep(pause_s)


def everywhere(cluster, ask: Callable[[str], Any]) -> dict[str, Any]:
    """Ask every node side by side."""
    nodes = names(cluster)
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        return dict(zip(nodes, pool.map(ask, nodes), strict=True))


def settle(cluster, timeout_s: float = 60.0) -> dict[str, int]:
    """Wait until all that was committed is applied everywhere, then let every node sweep; returns how many rows each swept."""
    marks = everywhere(cluster, lambda node: _mark(cluster, node))

    def missing(node: str) -> str | None:
        found = {row[0] for row in cluster.query(node, "SELECT id::text FROM mark WHERE id = ANY(%s::uuid[])", [list(marks.values())])}
        late = [source for source, mark in marks.items() if mark not in found]
        return f"{node} lacks the mark of {', '.join(late)} ({errors(cluster, node)})" if late else None

    for node in names(cluster):
        wait_until(lambda node=node: missing(node), "every node has applied all", timeout_s)
    return everywhere(cluster, lambda node: cluster.site.call(node, "node.sweep")["swept"])


def _mark(cluster, node: str) -> str:
    mark = str(uuid.uuid4())
    cluster.query(node, "INSERT INTO mark (id, source) VALUES (%s, %s)", [mark, node])
    return mark


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
    found = everywhere(cluster, lambda node: held(cluster, node, table, schema=schema))
    keys = sorted(set().union(*found.values()))
    rows = {key: {node: found[node].get(key) for node in found} for key in keys}
    return {key: nodes for key, nodes in rows.items() if len(set(nodes.values())) > 1}


def assert_same(cluster, *tables: str, schema: str = "public") -> dict[str, int]:
    """Settle the cluster, then assert that each table holds the same rows everywhere; returns how many rows each node swept."""
    swept = settle(cluster)
    for table in tables:
        found = differences(cluster, table, schema=schema)
        shown = "\n".join(f"{key}: {nodes}" for key, nodes in list(found.items())[:5])
        assert not found, f"{len(found)} keys of {table} differ:\n{shown}"
    return swept


def errors(cluster, node: str) -> str:
    """Sum up what the node's subscriptions met, for a message."""
    rows = cluster.query(node, "SELECT subname, apply_error_count FROM pg_stat_subscription_stats WHERE apply_error_count > 0 ORDER BY 1")
    return ", ".join(f"{name}: {count} errors" for name, count in rows) or "no apply errors"


def error_counts(cluster) -> dict[str, int]:
    """Return how often each link's apply worker failed."""
    counts = {}
    for node in names(cluster):
        counts |= dict(cluster.query(node, "SELECT subname, apply_error_count FROM pg_stat_subscription_stats"))
    return counts


def link(source: str, target: str) -> str:
    return f"unison_{source}_to_{target}"


def pause(cluster, source: str, target: str) -> None:
    """Stop the link, as the owner would, and wait until its apply worker has ended."""
    cluster.query(target, f"ALTER SUBSCRIPTION {link(source, target)} DISABLE")

    def working() -> str | None:
        found = cluster.query(target, "SELECT pid FROM pg_stat_subscription WHERE subname = %s AND pid IS NOT NULL", [link(source, target)])
        return f"process {found[0][0]}" if found else None

    wait_until(working, f"the apply worker of {link(source, target)} ends")


def resume(cluster, source: str, target: str) -> None:
    """Let the link go on."""
    cluster.query(target, f"ALTER SUBSCRIPTION {link(source, target)} ENABLE")


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
    mark = _mark(cluster, source)

    def missing() -> str | None:
        return None if cluster.query(target, "SELECT 1 FROM mark WHERE id = %s", [mark]) else errors(cluster, target)

    wait_until(missing, f"{target} has what {source} has", timeout_s)


def all_links(cluster) -> list[tuple[str, str]]:
    """List the links as (source, target)."""
    return [(source, target) for source in names(cluster) for target in names(cluster) if source != target]


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


def blocked(cluster, node: str, pid: int) -> None:
    """Wait until the session waits for a lock."""
    def running() -> str | None:
        found = cluster.query(node, "SELECT wait_event_type, state FROM pg_stat_activity WHERE pid = %s", [pid])
        return None if found and found[0][0] == "Lock" else f"it is {found}"

    wait_until(running, f"session {pid} waits for a lock", 10.0)
