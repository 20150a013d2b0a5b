"""The workloads, each on one cluster that was made for it: ``workload(cluster, ...)`` returns figures by their name, which ends with the unit."""

import statistics
import threading
import time

import psycopg2.errors

from bench.client import SINGLE, Keys, Load, percentile, run
from bench.cluster import REST, TITLES, Cluster

MANY = 200_000
CLIENTS_A_NODE = 2
# enough for every DELETE that two cores can do in the time
ROWS_A_NODE = 25_000
BRANCHES, ACCOUNTS = 2, 10_000


def keyed(name: str, key: str, *columns: tuple[str, str]) -> dict:
    """Describe a table as sysconfig.json does, whose key the client gives."""
    return {"name": name, "columns": [{"name": key, "type": "bigint", "primary_key": True},
                                      *({"name": column, "type": kind} for column, kind in columns)]}


KEYED = keyed("keyed1", "id", ("col1", "text"), ("col2", "text"))
# as pgbench makes them, with a key for the history
BANK = (keyed("pgbench_branches", "bid", ("bbalance", "integer"), ("filler", "text")),
        keyed("pgbench_tellers", "tid", ("bid", "bigint"), ("tbalance", "integer"), ("filler", "text")),
        keyed("pgbench_accounts", "aid", ("bid", "bigint"), ("abalance", "integer"), ("filler", "text")),
        {"name": "pgbench_history", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, *(
            {"name": name, "type": kind} for name, kind in (("tid", "bigint"), ("bid", "bigint"), ("aid", "bigint"), ("delta", "integer"),
                                                            ("mtime", "timestamptz"), ("filler", "text")))]})


def single(cluster: Cluster, operations: tuple[str, ...] = SINGLE, seconds: int = 8) -> dict[str, float]:
    """Single-row transactions from clients on every node at once, then the time until every node has caught up."""
    figures = {}
    keys = preload(cluster, ROWS_A_NODE)
    expected = ROWS_A_NODE * len(cluster.names)
    for operation in operations:
        before = {node: cluster.position(node) for node in cluster.names}
        cpu_s, began = cluster.cpu_s(), time.monotonic()
        load = run(cluster, operation, keys, seconds=seconds, clients=CLIENTS_A_NODE)
        cluster.barrier()
        elapsed, cpu_s = time.monotonic() - began, cluster.cpu_s() - cpu_s
        written = sum(cluster.position(node) - before[node] for node in cluster.names)
        expected += {"INSERT": load.transactions, "UPDATE": 0, "DELETE": -load.transactions}[operation]
        require_rows(cluster, expected)
        figures |= {f"{operation}, transactions a second": load.transactions / load.seconds, f"{operation}, latency p50, ms": load.percentile_ms(50),
                    f"{operation}, latency p99, ms": load.percentile_ms(99), f"{operation}, sustainable transactions a second": load.transactions / elapsed,
                    f"{operation}, processor time a transaction, all nodes, us": cpu_s.total() / load.transactions * 1e6,
                    **{f"{operation}, of it {kind}, us": cpu_s[kind] / load.transactions * 1e6 for kind in (REST, *TITLES)},
                    f"{operation}, WAL bytes a row, all nodes": written / load.transactions}
    return figures


def many(cluster: Cluster, deadline_s: float = 90.0, table: str = "table1") -> dict[str, float]:
    """Many rows in one statement on one node, until every node shows them. A statement that takes longer than the deadline is cancelled: infinite.

    The keys of ``table1`` are drawn from its sequence, those of any other table are given.
    """
    figures = {}
    node = cluster.names[0]
    inserted = f"INSERT INTO {table} ({{}}col1, col2) SELECT {{}}'value one', 'value two' FROM generate_series(1, {MANY}) AS i"
    statements = {"inserted": inserted.format("", "") if table == "table1" else inserted.format("id, ", "i, "),
                  "updated": f"UPDATE {table} SET col1 = 'changed'", "deleted": f"DELETE FROM {table}"}
    for done, statement in statements.items():
        before = {each: cluster.position(each) for each in cluster.names}
        cpu_s = cluster.cpu_s()
        statement_s, visible_s = timed(cluster, node, statement, deadline_s)
        cpu_s = (cluster.cpu_s() - cpu_s).total()
        written = {each: cluster.position(each) - before[each] for each in cluster.names}
        ended = visible_s < float("inf")
        if ended:
            require_rows(cluster, 0 if done == "deleted" else MANY, table)
        figures |= {f"{done}, until the statement ends, s": statement_s, f"{done}, until visible everywhere, s": visible_s,
                    f"{done}, processor time a row, all nodes, us": cpu_s / MANY * 1e6 if ended else float("inf"),
                    f"{done}, WAL bytes a row, writer": written[node] / MANY if ended else float("inf"),
                    f"{done}, WAL bytes a row, all nodes": sum(written.values()) / MANY if ended else float("inf")}
        vacuum(cluster)
    return figures


def bank(cluster: Cluster, seconds: int = 8) -> dict[str, float]:
    """pgbench's TPC-B from clients on every node at once: three UPDATEs, a SELECT and an INSERT a transaction. Each node's clients have branches, tellers
    and accounts of their own, as a router by key gives them."""
    keys = {}
    for number, node in enumerate(cluster.names):
        keys[node] = Keys(number * BRANCHES + 1, (number + 1) * BRANCHES)
        given = [keys[node].first, keys[node].last]
        cluster.query(node, "INSERT INTO pgbench_branches (bid, bbalance) SELECT i, 0 FROM generate_series(%s, %s) AS i", given)
        cluster.query(node, "INSERT INTO pgbench_tellers (tid, bid, tbalance) SELECT 10 * i - j, i, 0"
                            " FROM generate_series(%s, %s) AS i, generate_series(0, 9) AS j", given)
        cluster.query(node, f"INSERT INTO pgbench_accounts (aid, bid, abalance, filler) SELECT {ACCOUNTS} * i - j, i, 0, ''"
                            f" FROM generate_series(%s, %s) AS i, generate_series(0, {ACCOUNTS - 1}) AS j", given)
    cluster.barrier()
    vacuum(cluster)
    cpu_s, began = cluster.cpu_s(), time.monotonic()
    load = run(cluster, "TPC-B", keys, seconds=seconds, clients=CLIENTS_A_NODE)
    cluster.barrier()
    elapsed, cpu_s = time.monotonic() - began, cluster.cpu_s() - cpu_s
    sums = {node: cluster.query(node, "SELECT (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers),"
                                      " (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(delta) FROM pgbench_history)")[0] for node in cluster.names}
    if len({total for each in sums.values() for total in each}) != 1:
        raise RuntimeError(f"every sum of every node should be the same: {sums}")
    return {"TPC-B, transactions a second": load.transactions / load.seconds, "TPC-B, latency p50, ms": load.percentile_ms(50),
            "TPC-B, latency p99, ms": load.percentile_ms(99), "TPC-B, sustainable transactions a second": load.transactions / elapsed,
            "TPC-B, processor time a transaction, all nodes, us": cpu_s.total() / load.transactions * 1e6}


def timed(cluster: Cluster, node: str, statement: str, deadline_s: float) -> tuple[float, float]:
    """Return the seconds until the statement ends, and until every node has applied it."""
    began = time.monotonic()
    with cluster.connect(node) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [f"{deadline_s:.0f}s"])
        try:
            cursor.execute(statement)
        except psycopg2.errors.QueryCanceled:
            return float("inf"), float("inf")
    statement_s = time.monotonic() - began
    cluster.barrier()
    return statement_s, time.monotonic() - began


def lag(cluster: Cluster, rate: float, seconds: int = 10) -> dict[str, float]:
    """How long until a committed row is seen on the other nodes, while every node is updated at ``rate`` transactions a second in all."""
    keys = preload(cluster, 5000)
    lags_ms: list[float] = []
    load: list[Load] = []
    client = threading.Thread(target=lambda: load.append(run(cluster, "UPDATE", keys, seconds=seconds, clients=CLIENTS_A_NODE, rate=rate)))
    client.start()
    while client.is_alive():
        lags_ms += probe(cluster)
    client.join()
    if not load:
        raise RuntimeError("the clients failed")
    lags_ms.sort()
    return {"load, transactions a second": load[0].transactions / load[0].seconds,
            "lag p50, ms": percentile(lags_ms, 50), "lag p99, ms": percentile(lags_ms, 99)}


def probe(cluster: Cluster) -> list[float]:
    """Insert rows on the first node, one after another for a second; returns after how many ms each was seen on each other node."""
    found = []
    source, *targets = cluster.names
    with cluster.connect(source) as connection, connection.cursor() as writer:
        others = []
        try:
            for target in targets:
                others.append(cluster.connect(target))
            cursors = [other.__enter__().cursor() for other in others]
            began = time.monotonic()
            while time.monotonic() - began < 1.0:
                writer.execute("INSERT INTO table1 (col1) VALUES ('probe') RETURNING id")
                key, committed, waiting = writer.fetchone()[0], time.monotonic(), list(cursors)
                while waiting:
                    for cursor in list(waiting):
                        cursor.execute("SELECT FROM table1 WHERE id = %s", [key])
                        if cursor.rowcount:
                            found.append((time.monotonic() - committed) * 1000)
                            waiting.remove(cursor)
                    time.sleep(0.001)
        finally:
            for other in others:
                other.__exit__(None, None, None)
    return found


def steady(cluster: Cluster, seconds: int = 120, rate: float = 300.0, samples: int = 4) -> dict[str, float]:
    """The size of the user's table, and of each table that stands beside it, while rows are updated at a steady rate for long, on the first node."""
    first = cluster.names[0]
    keys = {first: preload(cluster, 2000)[first]}
    figures = {f"{kind}, at the start, KiB": size for kind, size in sizes_kib(cluster, first).items()}
    for sample in range(1, samples + 1):
        run(cluster, "UPDATE", keys, seconds=seconds // samples, clients=1, rate=rate)
        figures |= {f"{kind}, after {sample * (seconds // samples)} s, KiB": size for kind, size in sizes_kib(cluster, first).items()}
    cluster.barrier()
    figures |= {f"{kind}, on a peer at the end, KiB": size for kind, size in sizes_kib(cluster, cluster.names[1]).items()}
    return figures


def sizes_kib(cluster: Cluster, node: str) -> dict[str, float]:
    """Return the sizes of the user's table and of those that pgunison keeps for it, indexes included; 0 where the rival has none."""
    sizes = {"table1": 0.0, "images": 0.0, "tombstones": 0.0}
    rows = cluster.query(node, "SELECT n.nspname, c.relname, pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                               " WHERE c.relkind = 'r' AND n.nspname IN ('public', 'unison') AND c.relname LIKE 'table1%%'", superuser=True)
    for schema, name, size in rows:
        kind = "table1" if schema == "public" else "images" if "image" in name else "tombstones"
        sizes[kind] += size / 1024
    return sizes


def preload(cluster: Cluster, rows: int) -> dict[str, Keys]:
    """Insert rows on each node, wait until they are everywhere and in good order; returns each node's own keys."""
    keys = {}
    for node in cluster.names:
        first, last, count = cluster.query(node, (
            "WITH made AS (INSERT INTO table1 (col1, col2) SELECT 'value one', 'value two' FROM generate_series(1, %s) RETURNING id)"
            " SELECT min(id), max(id), count(*) FROM made"), [rows])[0]
        if last - first + 1 != count:
            raise RuntimeError(f"the keys of {node} have gaps")
        keys[node] = Keys(first, last)
    cluster.barrier()
    vacuum(cluster)
    return keys


def vacuum(cluster: Cluster) -> None:
    """Let no workload pay for the one before it."""
    for node in cluster.names:
        cluster.query(node, "VACUUM ANALYZE", superuser=True)
        cluster.query(node, "CHECKPOINT", superuser=True)


def require_rows(cluster: Cluster, expected: int, table: str = "table1") -> None:
    """RuntimeError when a node does not hold so many rows: then no figure would mean anything."""
    held = {node: cluster.query(node, f"SELECT count(*) FROM {table}")[0][0] for node in cluster.names}
    if set(held.values()) != {expected}:
        raise RuntimeError(f"every node should hold {expected} rows, they hold {held}")


def sustainable(figures: dict[str, float]) -> float:
    """Return the sustainable rate among the figures of :func:`single` with one operation."""
    return statistics.mean(value for name, value in figures.items() if "sustainable" in name)
