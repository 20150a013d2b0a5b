"""What the pool costs, and what a fault costs: ``python3 -m bench.pool [--seconds 0.5] [--rounds 8]``.

Three nodes as processes. SELECT 1 and a one-row INSERT, from 1 and from 8 threads, by four clients in turn, round after round; the best round of each
counts, because whatever else runs on the machine only ever slows one down. Raw psycopg2 is a connection a thread to each node, used in turn, with a cursor
for each statement: the same work at the same servers. Then one node is killed (PostgreSQL, SIGKILL) and one is frozen (agent and PostgreSQL, SIGSTOP, 5 s)
under the load of 8 threads: errors, the longest call, and how long until the node has 80 % of its share in each second.
"""

import argparse
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import psycopg2

from bench.conditions import conditions
from bench.pgunison import PROJECT, Silent, workplace
from chaos.cluster import Cluster, own_configuration
from chaos.runtimes import free_subnet, open_cluster
from pgunison.pool import Pool, PoolError
from pgunison.pool.slots import _load
from pgunison.runtime.binaries import find, server_user

THREADS = (1, 8)
STATEMENTS = {"SELECT 1": ("reader1", "SELECT 1"), "INSERT of a row": ("writer1", "INSERT INTO table1 (col1) VALUES ('bench')")}
WATCH_S = 25.0
FROZEN_S = 5.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=0.5)
    arguments.add_argument("--rounds", type=int, default=8)
    options = arguments.parse_args()
    with workplace() as directory:
        document = json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8"))
        groups = [group | {"connections_per_node": max(THREADS)} for group in document["system"]["config"]["groups"]]
        path = directory / "bench.json"
        path.write_text(json.dumps(own_configuration(document, "bench", free_subnet("process"), 3, groups=groups)), encoding="utf-8")
        cluster = open_cluster(path, "process")
        try:
            cluster.up(Silent())
            print(f"{conditions(find(directory, server_user()))}, load average {os.getloadavg()[0]:.1f} before\n")
            speed(cluster, options.seconds, options.rounds)
            with Pool.open(cluster.config_path, "process") as pool:
                print("\n| fault of one of three nodes | calls | errors | longest call, s | share back after, s |\n|---|---:|---:|---:|---:|")
                fault("PostgreSQL killed", pool, cluster, "node2", lambda node: os.kill(cluster.server_pid(node), signal.SIGKILL))
                fault(f"frozen for {FROZEN_S:g} s", pool, cluster, "node3", lambda node: freeze(cluster, node))
        finally:
            cluster.remove()


def speed(cluster: Cluster, seconds: float, rounds: int) -> None:
    """Print calls a second as parts of raw psycopg2's."""
    print("| statement | threads | raw psycopg2, a second | pool | plain pgdbpool |\n|---|---:|---:|---:|---:|")
    for title, (group, statement) in STATEMENTS.items():
        for threads in THREADS:
            with Pool.open(cluster.config_path, "process") as pool, contextlib.closing(Raw(cluster, group, threads)) as raw, plain(cluster, group) as pgdbpool:
                clients = {"raw": raw.call, "pool": pooled(pool, group), "plain": pgdbpool}
                best = dict.fromkeys(clients, 0.0)
                for _ in range(rounds):
                    for name, call in clients.items():
                        best[name] = max(best[name], rate(call, statement, threads, seconds))
            print(f"| {title} | {threads} | {best['raw']:.0f} | {best['pool'] / best['raw']:.2f} | {best['plain'] / best['raw']:.2f} |", flush=True)


def rate(call: Callable[[int, str], None], statement: str, threads: int, seconds: float) -> float:
    """Return how many calls a second so many threads make together."""
    counts, until = [0] * threads, time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < until:
            call(number, statement)
            counts[number] += 1

    began = time.perf_counter()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began)


class Raw:
    """A connection a thread to each node, used in turn."""

    def __init__(self, cluster: Cluster, group: str, threads: int):
        self._connections = [[connected(cluster, group, node) for node in cluster.names()] for _ in range(threads)]
        self._turns = [0] * threads

    def call(self, number: int, statement: str) -> None:
        self._turns[number] += 1
        with self._connections[number][self._turns[number] % len(self._connections[number])].cursor() as cursor:
            cursor.execute(statement)
            if cursor.description:
                cursor.fetchall()

    def close(self) -> None:
        for connections in self._connections:
            for connection in connections:
                connection.close()


def connected(cluster: Cluster, group: str, node: str):
    connection = psycopg2.connect(cluster.site.dsn(group, node))
    connection.autocommit = True
    return connection


def pooled(pool: Pool, group: str) -> Callable[[int, str], None]:
    def call(number: int, statement: str) -> None:
        with pool.connection(group) as db:
            db.query(statement)

    return call


@contextlib.contextmanager
def plain(cluster: Cluster, group: str) -> Iterator[Callable[[int, str], None]]:
    """pgdbpool as it is, in a module of its own; its connections are closed behind the block."""
    module = _load(f"plain_{group}_{time.monotonic_ns()}")
    configuration = cluster.site.configuration
    os.environ["PGPORT"] = str(configuration.postgresql_port)
    servers = [{"host": cluster.site.runtime.address(node), "name": configuration.database, "user": group,
                "pass": cluster.site.credentials.passwords[group]} for node in configuration.nodes]
    module.Connection.init({"db": servers, "groups": {group: {"connection_count": max(THREADS), "autocommit": True}}})

    def call(number: int, statement: str) -> None:
        with module.Handler(group) as db:
            cursor = db.query(statement)
            if cursor.description:
                cursor.fetchall()

    try:
        yield call
    finally:
        for connection, _ in module.Connection._config["groups"][group]["connections"]:
            connection.close()


def freeze(cluster: Cluster, node: str) -> None:
    """Stop a node's agent and server with all that they have started, and let them go on after a while."""
    processes = [each for pid in (cluster.agent_pid(node), cluster.server_pid(node))
                 for each in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    for each in processes:
        each.suspend()

    def thaw() -> None:
        for each in processes:
            # a session whose client has gone may have ended
            with contextlib.suppress(psutil.NoSuchProcess):
                each.resume()

    threading.Timer(FROZEN_S, thaw).start()


def fault(title: str, pool: Pool, cluster: Cluster, node: str, strike: Callable[[str], None]) -> None:
    """Strike a node under load, and print what that cost."""
    calls: list[tuple[float, str, float]] = []
    errors: list[Exception] = []
    end = threading.Event()

    def work(group: str) -> None:
        while not end.is_set():
            began, where = time.monotonic(), ""
            try:
                with pool.connection(group) as db:
                    db.query(STATEMENTS["INSERT of a row" if group.startswith("writer") else "SELECT 1"][1])
                where = db.node
            except (PoolError, psycopg2.Error) as error:
                errors.append(error)
            calls.append((began, where, time.monotonic() - began))
            end.wait(0.002)

    workers = [threading.Thread(target=work, args=(group,)) for group in ("writer1", "writer2", "reader1", "reader2") * 2]
    for worker in workers:
        worker.start()
    time.sleep(2)
    struck = time.monotonic()
    strike(node)
    time.sleep(WATCH_S)
    end.set()
    for worker in workers:
        worker.join()
    seconds = [[where for began, where, _ in calls if 0 <= began - struck - second < 1] for second in range(int(WATCH_S))]
    low = [second for second, used in enumerate(seconds) if used.count(node) < 0.8 * len(used) / len(cluster.names())]
    longest = max(took for began, _, took in calls if began + took > struck)
    print(f"| {title} | {len(calls)} | {len(errors)} | {longest:.2f} | {max(low, default=-1) + 1} |", flush=True)


if __name__ == "__main__":
    main()
