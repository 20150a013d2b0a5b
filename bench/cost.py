"""What the promise costs: ``python3 -m bench.cost [--rounds 3] [--only single many lag steady nodes] [--nodes 2 3 4 6 8]``.

Every figure of pgunison stands beside that of a native mesh (bench/mesh.py: what it is and what it is not) with the same PostgreSQL and the same
settings. Both are measured in turn in one run, each workload on a cluster that was made for it, and of the rounds the median counts.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import ratios, workloads
from bench.cluster import Cluster
from bench.conditions import conditions
from bench.mesh import NativeMesh
from bench.pgunison import Pgunison, use
from host.runtime.binaries import find, server_user

NODES = 3


class Measurement:
    """Both sides in turn, ``rounds`` times."""

    def __init__(self, directory: Path, rounds: int):
        self._directory = directory
        self._rounds = rounds

    def both(self, workload: Callable[[Cluster], dict[str, float]], nodes: int = NODES, rounds: int | None = None) -> tuple[list[dict], list[dict]]:
        """Return the figures of each round, of pgunison and of the mesh."""
        ours, native = [], []
        for _ in range(rounds or self._rounds):
            for side, figures in ((Pgunison, ours), (NativeMesh, native)):
                with side(nodes, self._directory) as cluster:
                    figures.append(workload(cluster))
        return ours, native


def single(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### One row a transaction, {workloads.CLIENTS_A_NODE} clients on each of {NODES} nodes at once, {options.seconds} s\n")
    print(ratios.table(*measurement.both(lambda cluster: workloads.single(cluster, seconds=options.seconds))), flush=True)


def many(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### {workloads.MANY:,} rows in one statement on one of {NODES} nodes\n")
    print(ratios.table(*measurement.both(lambda cluster: workloads.many(cluster, options.deadline)), options.deadline), flush=True)


def lag(measurement: Measurement, options: argparse.Namespace) -> None:
    ours, native = measurement.both(lambda cluster: workloads.single(cluster, ("UPDATE",), seconds=4), rounds=1)
    rate = min(workloads.sustainable(figures) for figures in ours + native) / 2
    print(f"\n### Lag between commit and visibility on the {NODES - 1} other nodes, at half of the rate that both sustain\n")
    print(ratios.table(*measurement.both(lambda cluster: workloads.lag(cluster, rate, options.seconds))), flush=True)


def steady(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### Sizes while 2,000 rows a node are updated for {options.steady_seconds} s, 300 times a second, on one of {NODES} nodes\n")
    print(ratios.table(*measurement.both(lambda cluster: workloads.steady(cluster, options.steady_seconds), rounds=1)), flush=True)


def nodes(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### More nodes: sustainable transactions a second of all, {workloads.CLIENTS_A_NODE} clients on each node at once\n")
    print("| nodes | operation | pgunison | native mesh | ratio |\n|---:|---|---:|---:|---:|")
    for count in options.nodes:
        ours, native = measurement.both(lambda cluster: workloads.single(cluster, seconds=5), nodes=count)
        for name in [name for name in ours[0] if "sustainable" in name]:
            mine, theirs = [figures[name] for figures in ours], [figures[name] for figures in native]
            print(f"| {count} | {name.split(',')[0]} | {ratios.spread(mine)} | {ratios.spread(theirs)} | {ratios.ratio(mine, theirs)} |", flush=True)


PARTS = {"single": single, "many": many, "lag": lag, "steady": steady, "nodes": nodes}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments.add_argument("--nodes", type=int, nargs="+", default=[2, 3, 4, 6, 8])
    arguments.add_argument("--seconds", type=int, default=8, help="of each run of single-row transactions")
    arguments.add_argument("--steady-seconds", type=int, default=240)
    arguments.add_argument("--deadline", type=float, default=90.0, help="seconds after which a statement of many rows is cancelled")
    options = arguments.parse_args()
    # leave nothing behind when we are told to end, either
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="pgunison-bench-") as name:
        directory = Path(name)
        use(directory)
        print(f"{conditions(find(directory, server_user()))}; median of {options.rounds} rounds (least to most);"
              f" load average {os.getloadavg()[0]:.1f} before: what else runs is in the figures, except those of processor time", flush=True)
        measurement = Measurement(directory, options.rounds)
        for part in options.only:
            PARTS[part](measurement, options)


if __name__ == "__main__":
    main()
