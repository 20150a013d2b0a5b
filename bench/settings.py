"""What a setting of PostgreSQL changes for us: ``python3 -m bench.settings [--rounds 3] [--only NAME...]``.

pgunison as it is, and pgunison with one thing set otherwise, in turn in one run. Each figure is a median of the rounds' ratios, otherwise set to as it is:
below 1 the other setting is better, but for rates, where it is better above 1.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg2
from psycopg2 import sql

from bench import ratios, workloads
from bench.cluster import Cluster
from bench.conditions import conditions
from bench.pgunison import Pgunison, workplace
from pgunison.runtime.binaries import find, server_user

NODES = 3
# the columns: what is read, of which workload
SINGLE = {f"{operation}, {what}": f"{operation}, {short}"
          for what, short in (("sustainable transactions a second", "a second"), ("processor time a transaction, all nodes, us", "processor"))
          for operation in ("INSERT", "UPDATE", "DELETE")}
MANY = {f"{done}, {what}": f"{done}, {short}"
        for what, short in (("until visible everywhere, s", "visible"), ("processor time a row, all nodes, us", "processor"),
                            ("WAL bytes a row, all nodes", "WAL"))
        for done in ("inserted", "updated", "deleted")}


@dataclass(frozen=True)
class Variation:
    """``settings`` of postgresql.conf, and ``options`` of each subscription (names are ours, so they go into the statement as they are)."""

    settings: Mapping[str, str] = field(default_factory=dict)
    options: str = ""


VARIATIONS = {
    "nothing": Variation(),
    "binary = true": Variation(options="binary = true"),
    "streaming = parallel": Variation(options="streaming = parallel"),
    "streaming = parallel, logical_decoding_work_mem = 4MB": Variation({"logical_decoding_work_mem": "4MB"}, "streaming = parallel"),
    "logical_decoding_work_mem = 256MB": Variation({"logical_decoding_work_mem": "256MB"}),
    "commit_delay = 100": Variation({"commit_delay": "100"}),
    "wal_compression = lz4": Variation({"wal_compression": "lz4"}),
    "synchronous_commit = off": Variation({"synchronous_commit": "off"}),
}


class Varied(Pgunison):
    """pgunison with something set otherwise."""

    def __init__(self, variation: Variation, nodes: int, directory: Path, tables: Sequence[dict] | None = None):
        super().__init__(nodes, directory, tables, variation.settings)
        self._options = variation.options

    def start(self) -> None:
        super().start()
        if not self._options:
            return
        for node in self.names:
            with closing(psycopg2.connect(self.superuser_dsn(node))) as connection, connection, connection.cursor() as cursor:
                cursor.execute("SELECT subname FROM pg_subscription")
                for (name,) in cursor.fetchall():
                    cursor.execute(sql.SQL("ALTER SUBSCRIPTION {} SET ({})").format(sql.Identifier(name), sql.SQL(self._options)))


def both(make: Callable[..., Cluster], directory: Path, rounds: int, workload: Callable[[Cluster], dict[str, float]]) -> tuple[list[dict], list[dict]]:
    """Return the figures of each round, with the variation and as it is."""
    varied, plain = [], []
    for number in range(rounds):
        # whoever comes second finds the machine warm: in turn
        sides = [(make, varied), (Pgunison, plain)]
        for side, figures in sides if number % 2 else reversed(sides):
            with side(NODES, directory) as cluster:
                figures.append(workload(cluster))
    return varied, plain


def line(names: Mapping[str, str], varied: list[dict], plain: list[dict]) -> list[str]:
    return [ratios.ratio([each[name] for each in varied], [each[name] for each in plain]) for name in names]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=5, help="of each run of single-row transactions")
    arguments.add_argument("--only", nargs="+", choices=VARIATIONS, default=list(VARIATIONS))
    options = arguments.parse_args()
    with workplace() as directory:
        print(f"{conditions(find(directory, server_user()))}; {options.rounds} rounds; load average {os.getloadavg()[0]:.1f} before\n", flush=True)
        print(f"| set otherwise | {' | '.join([*SINGLE.values(), *MANY.values()])} |\n|---|{'---:|' * (len(SINGLE) + len(MANY))}")
        for title in options.only:
            run = partial(both, partial(Varied, VARIATIONS[title]), directory, options.rounds)
            found = [*line(SINGLE, *run(partial(workloads.single, seconds=options.seconds))), *line(MANY, *run(workloads.many))]
            print(f"| {title} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
