"""What the promise costs: ``python3 -m bench.cost [--rounds 3] [--only single many keyed disk bank lag steady nodes] [--rival native|pglogical] [--save]``.

Every figure of pgunison stands beside that of a rival: a native mesh (bench/mesh.py: what it is and what it is not) with the same PostgreSQL and the same
settings, or a mesh of pglogical with last_update_wins (bench/pglogical.py), which is what a user would take instead. Both are measured in turn in one run,
each workload on a cluster that was made for it, and of the rounds the median counts; of the ratios that of each round. With ``--save`` the figures
of each part that was measured go to bench/results.json, where bench/figure.py reads them.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import ratios, workloads
from bench.cluster import Cluster
from bench.conditions import conditions
from bench.mesh import TABLE1, NativeMesh
from bench.pglogical import PglogicalMesh
from bench.pgunison import Pgunison, workplace
from bench.results import RESULTS, save
from pgunison.runtime.binaries import find, server_user

NODES = 3


# what commit_delay adds to each flush of the WAL, in which all sessions that wait share it: about what a server's disk takes
DISK_US = 1000
RIVALS = {"native": ("native mesh", lambda nodes, directory, tables, settings: NativeMesh(nodes, directory, None, tables, settings)),
          "pglogical": ("pglogical, last_update_wins", PglogicalMesh)}


class Measurement:
    """Both sides in turn, ``rounds`` times; ``rival`` is a key of RIVALS."""

    def __init__(self, directory: Path, rounds: int, rival: str):
        self._directory = directory
        self._rounds = rounds
        self.rival, self._rival = RIVALS[rival]
        self.shown: tuple[list[dict], list[dict]] = ([], [])

    def both(self, workload: Callable[[Cluster], dict[str, float]], nodes: int = NODES, rounds: int | None = None, tables: Sequence[dict] = (TABLE1,),
             settings: dict[str, str] | None = None) -> tuple[list[dict], list[dict]]:
        """Return the figures of each round, of pgunison and of the rival."""
        ours, theirs = [], []
        for _ in range(rounds or self._rounds):
            for side, figures in ((Pgunison, ours), (self._rival, theirs)):
                with side(nodes, self._directory, tables, settings) as cluster:
                    figures.append(workload(cluster))
        return ours, theirs

    def show(self, ours: list[dict], theirs: list[dict], deadline_s: float | None = None) -> None:
        """Print the table of both, and keep it as what was measured."""
        self.shown = ours, theirs
        print(ratios.table(ours, theirs, deadline_s, self.rival), flush=True)


def single(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### One row a transaction, {workloads.CLIENTS_A_NODE} clients on each of {NODES} nodes at once, {options.seconds} s\n")
    measurement.show(*measurement.both(lambda cluster: workloads.single(cluster, seconds=options.seconds)))


def many(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### {workloads.MANY:,} rows in one statement on one of {NODES} nodes\n")
    measurement.show(*measurement.both(lambda cluster: workloads.many(cluster, options.deadline)), options.deadline)


def keyed(measurement: Measurement, options: argparse.Namespace) -> None:
    print("\n### The same with keys that the client gives\n")
    measurement.show(*measurement.both(lambda cluster: workloads.many(cluster, options.deadline, "keyed1"), tables=(workloads.KEYED,)), options.deadline)


def disk(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### One row a transaction where a commit waits {DISK_US / 1000:.0f} ms for the disk, {options.seconds} s\n")
    slow = {"commit_delay": str(DISK_US), "commit_siblings": "0"}
    measurement.show(*measurement.both(lambda cluster: workloads.single(cluster, seconds=options.seconds), settings=slow))


def bank(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### pgbench's TPC-B, {workloads.CLIENTS_A_NODE} clients on each of {NODES} nodes at once, {options.seconds} s\n")
    measurement.show(*measurement.both(lambda cluster: workloads.bank(cluster, options.seconds), tables=workloads.BANK))


def lag(measurement: Measurement, options: argparse.Namespace) -> None:
    ours, native = measurement.both(lambda cluster: workloads.single(cluster, ("UPDATE",), seconds=4), rounds=1)
    rate = min(workloads.sustainable(figures) for figures in ours + native) / 2
    print(f"\n### Lag between commit and visibility on the {NODES - 1} other nodes, at half of the rate that both sustain\n")
    measurement.show(*measurement.both(lambda cluster: workloads.lag(cluster, rate, options.seconds)))


def steady(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### Sizes while 2,000 rows a node are updated for {options.steady_seconds} s, 300 times a second, on one of {NODES} nodes\n")
    measurement.show(*measurement.both(lambda cluster: workloads.steady(cluster, options.steady_seconds), rounds=1))


def nodes(measurement: Measurement, options: argparse.Namespace) -> None:
    print(f"\n### More nodes: sustainable transactions a second of all, {workloads.CLIENTS_A_NODE} clients on each node at once\n")
    print(f"| nodes | operation | pgunison | {measurement.rival} | ratio |\n|---:|---|---:|---:|---:|")
    for count in options.nodes:
        ours, native = measurement.both(lambda cluster: workloads.single(cluster, seconds=5), nodes=count)
        for name in [name for name in ours[0] if "sustainable" in name]:
            mine, theirs = [figures[name] for figures in ours], [figures[name] for figures in native]
            print(f"| {count} | {name.split(',')[0]} | {ratios.spread(mine)} | {ratios.spread(theirs)} | {ratios.ratio(mine, theirs)} |", flush=True)


PARTS = {"single": single, "many": many, "keyed": keyed, "disk": disk, "bank": bank, "lag": lag, "steady": steady, "nodes": nodes}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--rival", choices=RIVALS, default="native")
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments.add_argument("--nodes", type=int, nargs="+", default=[2, 3, 4, 6, 8, 16])
    arguments.add_argument("--seconds", type=int, default=8, help="of each run of single-row transactions")
    arguments.add_argument("--steady-seconds", type=int, default=240)
    arguments.add_argument("--deadline", type=float, default=90.0, help="seconds after which a statement of many rows is cancelled")
    arguments.add_argument("--save", action="store_true", help="write the figures to bench/results.json")
    options = arguments.parse_args()
    with workplace() as directory:
        said = f"{conditions(find(directory, server_user()))}; {options.rounds} rounds; load average {os.getloadavg()[0]:.1f} before"
        print(f"{said}; median (least to most): what else runs is in the figures, except those of processor time", flush=True)
        measurement = Measurement(directory, options.rounds, options.rival)
        for part in options.only:
            PARTS[part](measurement, options)
            if options.save and measurement.shown[0]:
                save(RESULTS, options.rival, part, said, *measurement.shown)
                measurement.shown = [], []


if __name__ == "__main__":
    main()
