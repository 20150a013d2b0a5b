#!/usr/bin/env python3
"""Insert rows through all writers at once, then check that every node holds exactly these rows."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pgunison.interpreter import require_packages

require_packages()

from byhand.commandline import main
from byhand.fight import again
from byhand.run import ROW, Row, Run, require, shown, side_by_side
from byhand.spread import Spread
from psycopg2 import sql

from pgunison.configuration.sysconfig import Group
from pgunison.pool import Pool

ROWS = 960
THREADS = 3
# A node's share may be so much smaller than that of an even spread.
LEAST_SHARE = 0.5


def insert(run: Run, pool: Pool, group: Group, count: int, spread: Spread) -> dict[str, list[Row]]:
    """Insert so many rows through a group; returns what was acknowledged, by the node that it was written to."""
    statement = sql.SQL("INSERT INTO {} (col1, col2) VALUES (%s, %s) RETURNING {}").format(run.table, ROW)
    acknowledged = {node: [] for node in run.nodes}

    def one(number: int) -> tuple[str, dict]:
        with pool.connection(group.name) as db, spread.measured(group.name, db.node):
            (row,) = db.query(statement, [run.id, f"{group.name} {number}"])
            if not group.autocommit:
                db.commit()
        return db.node, row

    for number in range(count):
        node, row = again(partial(one, number))
        acknowledged[node].append(Row(**row))
    return acknowledged


def test(run: Run) -> None:
    """Insert rows through all writers at once; every node must then hold exactly these rows."""
    groups, spread = run.groups("writer"), Spread()
    writers = [group for group in groups for _ in range(THREADS)]
    each = -(-ROWS // len(writers))
    run.report.say(f"insert: {', '.join(group.name for group in groups)} write {each * len(writers)} rows at once, {THREADS} threads each;"
                   f" every node must then hold exactly these\nrun {run.id}")
    with run.pool(groups) as pool:
        parts = side_by_side(lambda writer: insert(run, pool, writer, each, spread), writers)
    written = {node: [row for part in parts for row in part[node]] for node in run.nodes}
    run.report.spread(spread)
    check_ranges(run, written)
    run.await_barrier()
    check_rows(run, {row.id: row for rows in written.values() for row in rows}, sum(map(len, written.values())))
    # last: a node whose rows are wrong loses its share for it, and the rows are what has to be said
    run.require_all_served()
    check_shares(run, written)


def check_shares(run: Run, written: dict[str, list[Row]]) -> None:
    """Each node that takes work must have written its share."""
    counts = {node: len(written[node]) for node in run.serving}
    least = int(sum(counts.values()) / len(counts) * LEAST_SHARE)
    shares = ", ".join(f"{node} {count}" for node, count in counts.items())
    require(min(counts.values()) >= least, "the load is not spread over the nodes", f"{shares}; at least {least} each are asked for")
    run.report.checked(f"each node wrote its share: {shares} (at least {least} asked for)")


def check_ranges(run: Run, written: dict[str, list[Row]]) -> None:
    """Each row must carry the mark of the node that wrote it, and an id of that node's range."""
    for node in run.site.configuration.nodes:
        low, high = node.index * 2**31 + 1, (node.index + 1) * 2**31
        for row in written[node.name]:
            require(row.modified_node == node.index, f"a row was not stamped by {node.name}, which wrote it",
                    f"id {row.id} has modified_node {row.modified_node}, not {node.index}")
            require(low <= row.id <= high, f"{node.name} gave an id beyond its range", f"id {row.id} is not in {low}..{high}")
        run.report.checked(f"{node.name}: {len(written[node.name])} ids in {low}..{high}")


def check_rows(run: Run, acknowledged: dict[int, Row], count: int) -> None:
    """Every node must hold the rows that were acknowledged, value by value, and no other."""
    require(len(acknowledged) == count, "an id was given twice", f"{count} rows were acknowledged, with {len(acknowledged)} different ids")
    for node, rows in run.held().items():
        wrong = [id for id in sorted(acknowledged | rows) if acknowledged.get(id) != rows.get(id)]
        detail = wrong and f"{len(wrong)} of {count} differ; first id {wrong[0]}: written {shown(acknowledged.get(wrong[0]))}, held {shown(rows.get(wrong[0]))}"
        require(not wrong, f"{node} does not hold the rows that were written", detail)
        run.report.checked(f"{node}: holds the {len(rows)} rows that were acknowledged, and no other")


if __name__ == "__main__":
    sys.exit(main(test))
