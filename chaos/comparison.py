"""Are the rows the same everywhere? Asked by SQL of our own, so that nothing of pgunison is checked against itself."""

import uuid
from collections.abc import Callable
from typing import Any

from psycopg2 import sql

from chaos.target import Target
from pgunison.contract.waiting import wait_until
from pgunison.everywhere import everywhere as side_by_side

# A replicated table that carries nothing but marks: a row that arrives says that all of its node has arrived that was committed before.
MARKS = {"name": "mark", "columns": [{"name": "id", "type": "uuid", "primary_key": True}, {"name": "source", "type": "text"}]}


def everywhere(target: Target, ask: Callable[[str], Any]) -> dict[str, Any]:
    """Ask every node of the target side by side."""
    return side_by_side(target.names(), ask)


def settle(target: Target, timeout_s: float = 60.0) -> dict[str, int]:
    """Wait until all that was committed is applied everywhere, then let every node sweep; returns how many rows each swept. Late when it takes longer."""
    marks = everywhere(target, lambda node: put_mark(target, node))

    def missing(node: str) -> str | None:
        found = {row[0] for row in target.query(node, "SELECT id::text FROM mark WHERE id = ANY(%s::uuid[])", [list(marks.values())])}
        late = [source for source, mark in marks.items() if mark not in found]
        return f"{node} lacks the mark of {', '.join(late)} ({errors(target, node)})" if late else None

    for node in target.names():
        wait_until(lambda node=node: missing(node), "every node has applied all", timeout_s)
    return everywhere(target, target.sweep)


def put_mark(target: Target, node: str) -> str:
    """Write a mark on a node; returns its id."""
    mark = str(uuid.uuid4())
    target.query(node, "INSERT INTO mark (id, source) VALUES (%s, %s)", [mark, node])
    return mark


def differing(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Turn ``{node: {key: row}}`` into ``{key: {node: row or None}}`` for the keys of which the nodes hold different rows."""
    rows = {key: {node: found[node].get(key) for node in found} for key in sorted(set().union(*found.values()))}
    return {key: nodes for key, nodes in rows.items() if len(set(nodes.values())) > 1}


def errors(target: Target, node: str) -> str:
    """Sum up what the node's subscriptions met, for a message."""
    rows = target.query(node, "SELECT subname, apply_error_count FROM pg_stat_subscription_stats WHERE apply_error_count > 0 ORDER BY 1")
    return ", ".join(f"{name}: {count} errors" for name, count in rows) or "no apply errors"


def error_counts(target: Target) -> dict[str, int]:
    """Return how often each link's apply worker failed."""
    counts = {}
    for node in target.names():
        counts |= dict(target.query(node, "SELECT subname, apply_error_count FROM pg_stat_subscription_stats"))
    return counts


def disable(target: Target, source: str, to: str) -> None:
    """Stop the link, as the owner would; its apply worker ends when it notices."""
    target.query(to, sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(target.link(source, to))))


def pause(target: Target, source: str, to: str) -> None:
    """Stop the link, and wait until its apply worker has ended."""
    disable(target, source, to)
    name = target.link(source, to)

    def working() -> str | None:
        found = target.query(to, "SELECT pid FROM pg_stat_subscription WHERE subname = %s AND pid IS NOT NULL", [name])
        return f"process {found[0][0]}" if found else None

    wait_until(working, f"the apply worker of {name} ends")


def resume(target: Target, source: str, to: str) -> None:
    """Let the link go on."""
    target.query(to, sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(target.link(source, to))))
