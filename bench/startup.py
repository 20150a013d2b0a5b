"""How long until a new cluster carries rows: ``python3 -m bench.startup [--nodes 3 8 12] [--rounds 3] [--runtime docker]``.

The rival is the native mesh that one makes by hand from the same PostgreSQL (bench/mesh.py): one initdb and one pg_ctl a node, one after another,
then a publication and a subscription for each pair, with passwords as here; no roles, no triggers, no agent. With containers, these are
all started at once (bench/containers.py). Both are timed in the same run, in turn, from an
empty directory until a row that was inserted on each node is seen on every other.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg2

from bench.cluster import Cluster
from bench.conditions import conditions
from bench.containers import NativeContainers
from bench.mesh import NativeMesh
from bench.pgunison import Pgunison, workplace
from pgunison.cluster.site import Site
from pgunison.runtime.binaries import find, server_user

PROJECT = Path(__file__).resolve().parents[1]
DEADLINE_S = 300.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--nodes", type=int, nargs="+", default=[3, 8, 12])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--runtime", choices=["process", "docker"], default="process")
    options = arguments.parse_args()
    with workplace() as directory:
        print(conditions(find(directory, server_user())))
        print("\n| nodes | pgunison, s | native mesh by hand, s | ratio | `up` again, s |\n|---:|---:|---:|---:|---:|")
        for nodes in options.nodes:
            ours, again, native = [], [], []
            for _ in range(options.rounds):
                first, second = time_pgunison(nodes, directory, options.runtime)
                ours.append(first)
                again.append(second)
                native.append(time_native(NativeContainers(nodes) if options.runtime == "docker" else NativeMesh(nodes, directory)))
            print(f"| {nodes} | {spread(ours)} | {spread(native)} | {statistics.median(ours) / statistics.median(native):.2f} | {spread(again)} |", flush=True)


def spread(seconds: list[float]) -> str:
    """Write the median, and the least and the most."""
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def time_pgunison(nodes: int, directory: Path, runtime: str) -> tuple[float, float]:
    """Return the seconds of the first ``up`` until rows flow, and those of a second ``up``."""
    configuration = Pgunison(nodes, directory)

    def orchestrator(*words: str) -> None:
        command = [sys.executable, PROJECT / "orchestrator.py", "--config", configuration.config_path, "--runtime", runtime, *words]
        subprocess.run(command, check=True, capture_output=True)

    began = time.monotonic()
    orchestrator("up")
    with Site.of(configuration.configuration, runtime) as site:
        await_rows([site.dsn("writer1", node) for node in configuration.names])
    first = time.monotonic() - began
    began = time.monotonic()
    orchestrator("up")
    second = time.monotonic() - began
    orchestrator("down", "--purge")
    return first, second


def time_native(cluster: Cluster) -> float:
    """Return the seconds from nothing until rows flow."""
    began = time.monotonic()
    with cluster as mesh:
        await_rows([mesh.dsn(node) for node in mesh.names])
        return time.monotonic() - began


def await_rows(dsns: list[str]) -> None:
    """Insert a row on each node and wait until every node holds them all."""
    connections = [psycopg2.connect(dsn) for dsn in dsns]
    try:
        for connection in connections:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO table1 (col1) VALUES ('bench')")
        deadline = time.monotonic() + DEADLINE_S
        for connection in connections:
            with connection.cursor() as cursor:
                while True:
                    cursor.execute("SELECT count(*) FROM table1")
                    held = cursor.fetchone()[0]
                    if held == len(connections):
                        break
                    if time.monotonic() > deadline:
                        raise SystemExit(f"{held} of {len(connections)} rows are at {connection.info.host} after {DEADLINE_S:.0f} s")
                    time.sleep(0.01)
    finally:
        for connection in connections:
            connection.close()


if __name__ == "__main__":
    main()
