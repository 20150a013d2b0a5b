"""The checker: reads what every node holds when all has settled, and says what must not be."""

from collections.abc import Iterator

import psycopg2
from psycopg2 import sql

from chaos.comparison import differing, error_counts, everywhere, settle
from chaos.history import History
from chaos.target import Target
from chaos.workload import Finding, Rows, Workload
from pgunison.contract.waiting import Late
from pgunison.errors import OrchestratorError

# a value that is longer is compared by its hash
LONG = 200


def check(target: Target, workloads: list[Workload], timeout_s: float) -> tuple[list[Finding], dict[str, int]]:
    """Wait until the nodes have settled, then compare them with each other and with what was acknowledged.

    Returns what was found, and how many rows the tables have on the node that holds most of them.
    """
    try:
        settle(target, timeout_s)
        before = error_counts(target)
        # a second time: a link that fails again and again shows now
        settle(target, timeout_s)
    except (Late, OrchestratorError, psycopg2.Error) as error:
        return [Finding("links that are stuck", 1, " ".join(str(error).split()))], {}
    stuck = {name: count - before.get(name, 0) for name, count in error_counts(target).items() if count > before.get(name, 0)}
    found = [Finding("links that still fail", len(stuck), ", ".join(f"{name} {count} times" for name, count in sorted(stuck.items())))] if stuck else []
    tables = {table["name"]: read(target, table["name"]) for workload in workloads for table in workload.tables}
    for workload in workloads:
        for table in workload.tables:
            found += different(table["name"], tables[table["name"]], workload)
        found += workload.findings(tables)
    return found, {name: max(len(held) for held in rows.values()) for name, rows in tables.items()}


def read(target: Target, table: str) -> Rows:
    """Read a table on every node, whole, by the text of its column ``id``; of long values only the hash."""
    columns = [row for row in target.query(target.names()[0], (
        "SELECT attname, atttypid = 'text'::regtype FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"),
        [table])]
    wanted = sql.SQL(", ").join(
        sql.SQL("CASE WHEN length({column}) > {long} THEN md5({column}) ELSE {column} END").format(column=sql.Identifier(name), long=sql.Literal(LONG))
        if is_text else sql.SQL("{}::text").format(sql.Identifier(name)) if name in ("mark", "owner") else sql.Identifier(name)
        for name, is_text in columns)
    statement = sql.SQL("SELECT {} FROM {}").format(wanted, sql.Identifier(table))
    names = [name for name, _ in columns]

    def rows(node: str) -> dict[str, dict]:
        found = (dict(zip(names, row, strict=True)) for row in target.query(node, statement))
        return {str(row["id"]): row for row in found}

    return everywhere(target, rows)


def different(table: str, rows: Rows, workload: Workload) -> Iterator[Finding]:
    """Find the keys of which the nodes hold different rows; the worst is the one with the most different rows."""
    found = differing({node: {key: tuple(row.items()) for key, row in held.items()} for node, held in rows.items()})
    if found:
        texts = {key: _told(key, nodes, workload.history_of(table)) for key, nodes in found.items()}
        worst = max(found, key=lambda key: len(set(found[key].values())))
        yield Finding(f"keys of {table} of which the nodes hold different rows", len(found), next(iter(texts.values())), texts[worst])


def _told(key: str, nodes: dict[str, tuple | None], history: History | None) -> str:
    lines = [key]
    for node, row in nodes.items():
        lines.append(f"{node}: " + ("no row" if row is None else ", ".join(f"{column} {value}" for column, value in row if column != "id")))
    if history:
        lines.append(f"acknowledged last: {history.told(key)}")
    return "\n      ".join(lines)
