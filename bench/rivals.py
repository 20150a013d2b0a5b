"""The same chaos against others: ``python3 -m bench.rivals [--seed N] [--seconds S] [--faults LIST] [--workloads LIST] [--pglogical] [--deadline S]``.

One after another, each with the same seed: a native mesh without triggers, one with the usual timestamp triggers, one with these triggers enabled for
replicas (bench/mesh.py), pglogical where it is asked for (bench/pglogical.py), and pgunison. Writers on three nodes, and faults; then all is healed, and
the nodes have until the deadline to catch up. What the users' columns hold then is compared; the columns of a version are left out.
"""

import argparse
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.conditions import conditions
from bench.mesh import NativeMesh
from bench.pglogical import PglogicalMesh, programs
from bench.pgunison import PROJECT, workplace
from bench.rival import Rival
from chaos.checker import read
from chaos.comparison import MARKS, differing, error_counts, everywhere, put_mark
from chaos.options import FAULTS, Options, fault_list
from chaos.run import disturb
from chaos.stage import Stage
from chaos.target import Link, Target, all_links
from chaos.workload import Rows, Workload, finding
from chaos.workloads import WORKLOADS
from chaos.workloads.append import Append
from pgunison.contract.waiting import Late, wait_until
from pgunison.errors import UsageError
from pgunison.runtime.binaries import find, server_user

NODES = 3
VERSIONS = ("modified_ts", "modified_node")
# Those that need an agent or a directory of ours; a wrong clock is left out unless it is asked for, because nobody promised to bear it.
OURS = ("kill-agent", "stop", "disk", "settings", "interrupt")
PLAIN = tuple(name for name in FAULTS if name not in (*OURS, "clock"))
ERRORS_S = 3.0

Design = Callable[[Path, Sequence[dict]], object]


@dataclass(frozen=True)
class Outcome:
    """``differ`` are the rows that differ by table, where there are any; ``looping`` are links whose apply worker fails again and again at the deadline,
    ``late`` others that have not caught up; ``seen`` is what else was found."""

    design: str
    writes: int
    differ: dict[str, int]
    rows: int
    looping: tuple[Link, ...]
    late: tuple[Link, ...]
    missing: int
    appended: int
    seen: tuple[str, ...] = ()


def native(triggers: str | None) -> Design:
    """Make a mesh with these triggers."""
    return lambda directory, tables: Rival(NativeMesh(NODES, directory, triggers, tables))


@contextmanager
def pgunison(directory: Path, tables: Sequence[dict]) -> Iterator[Target]:
    """Make a cluster of this project in chaos' own way."""
    stage = Stage(json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8")), NODES, list(tables), mounted=False)
    try:
        yield stage.make()
    finally:
        stage.remove()


DESIGNS: dict[str, Design] = {
    "native mesh": native(None),
    "native mesh, timestamp triggers": native("published"),
    "native mesh, timestamp triggers enabled for replicas": native("replica"),
    "pglogical": lambda directory, tables: Rival(PglogicalMesh(NODES, directory, tables)),
    "pgunison": pgunison,
}
# its subscriptions are no subscriptions of PostgreSQL's
NOT_OF_PGLOGICAL = ("pause", "kill-worker")


def measure(name: str, options: Options, kinds: list[type[Workload]], deadline_s: float, directory: Path) -> Outcome:
    """Shake one design, wait until the deadline, and compare."""
    # without versions, so that every design gets the same statements
    workloads = [kind(versions=()) for kind in kinds]
    tables = [table for workload in workloads for table in workload.tables]
    with DESIGNS[name](directory, [*tables, MARKS]) as target:
        report = disturb(target, options, workloads, lambda sentence: print(f"{name}: {sentence}", file=sys.stderr, flush=True))
        print(f"{name}: faults: {'; '.join(report.faults) or 'none'}", file=sys.stderr, flush=True)
        behind = catch_up(target, deadline_s)
        before = error_counts(target)
        if behind:
            time.sleep(ERRORS_S)
        after = error_counts(target)
        looping = tuple(link for link in behind if after.get(target.link(*link), 0) > before.get(target.link(*link), 0))
        everywhere(target, target.sweep)
        held = {table["name"]: read(target, table["name"]) for table in tables}
    counts = {table: count_differing(rows) for table, rows in held.items()}
    marks = next((workload.marks.ok for workload in workloads if isinstance(workload, Append)), set())
    # of what a workload may find only what it saw at the time: of the rest the table tells
    found = [*report.findings, *(each for workload in workloads for each in finding(f"{workload.name}: seen while writers wrote", workload.broken))]
    return Outcome(name, sum(workload.counts()["ok"] for workload in workloads), {table: count for table, (count, _) in counts.items() if count},
                   sum(rows for _, rows in counts.values()), looping, tuple(link for link in behind if link not in looping),
                   count_missing(marks, held["line"]) if marks else 0, len(marks), tuple(map(str, found)))


def catch_up(target: Target, deadline_s: float) -> list[Link]:
    """Wait until every link has carried all that was committed; returns those that have not at the deadline."""
    marks = everywhere(target, lambda node: put_mark(target, node))

    def behind() -> list[Link]:
        held = everywhere(target, lambda node: {row[0] for row in target.query(node, "SELECT id::text FROM mark")})
        return [(source, to) for source, to in all_links(target) if marks[source] not in held[to]]

    try:
        wait_until(lambda: behind() or None, "every link has caught up", deadline_s, pause_s=0.5)
    except Late:
        return behind()
    return []


def count_differing(rows: Rows) -> tuple[int, int]:
    """Count the keys of a table of which the nodes hold different rows, and all keys; the columns of a version do not count."""
    found = {node: {key: tuple((column, value) for column, value in row.items() if column not in VERSIONS) for key, row in held.items()}
             for node, held in rows.items()}
    return len(differing(found)), len(set().union(*found.values()))


def count_missing(marks: set[str], rows: Rows) -> int:
    """Count the acknowledged rows that at least one node lacks."""
    everywhere_held = set.intersection(*({row["mark"] for row in held.values()} for held in rows.values()))
    return len(marks - everywhere_held)


def table(outcomes: list[Outcome]) -> str:
    """Write the outcomes as a table in Markdown."""
    lines = ["| design | acknowledged writes | rows that differ | links that fail again and again | acknowledged appends that are missing somewhere |",
             "|---|---:|---:|---:|---:|"]
    for each in outcomes:
        late = f", {len(each.late)} more behind" if each.late else ""
        where = f" ({', '.join(f'{table} {count:,}' for table, count in each.differ.items())})" if each.differ else ""
        differ = f"{sum(each.differ.values()):,} of {each.rows:,}{where}"
        lines.append(f"| {each.design} | {each.writes:,} | {differ} | {len(each.looping)} of {NODES * (NODES - 1)}{late}"
                     f" | {each.missing:,} of {each.appended:,} |")
    return "\n".join(lines + [f"\n{each.design}: {seen}" for each in outcomes for seen in each.seen])


def main() -> None:
    # those that need more than their tables are for this project alone
    names = {kind.name.split()[0]: kind for kind in WORKLOADS if not (kind.definitions or kind.settings or kind.role == "owner")}
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    arguments.add_argument("--seconds", type=int, default=15)
    arguments.add_argument("--faults", default=",".join(PLAIN), help=f"with commas, of {', '.join((*PLAIN, 'clock'))}; or none")
    arguments.add_argument("--workloads", default="hot,reborn,append", help=f"with commas, of {', '.join(names)}")
    arguments.add_argument("--pglogical", action="store_true", help=f"shake pglogical, too, without {' and '.join(NOT_OF_PGLOGICAL)}")
    arguments.add_argument("--deadline", type=float, default=30.0, help="seconds to catch up after all is healed")
    given = arguments.parse_args()
    try:
        faults = fault_list(given.faults)
    except UsageError as error:
        arguments.error(f"{error}: {error.detail}")
    if unfit := [name for name in faults if name in OURS]:
        arguments.error(f"a plain server has nothing for {', '.join(unfit)}")
    if unknown := [name for name in given.workloads.split(",") if name not in names]:
        arguments.error(f"no workload is named {unknown[0]}")
    if given.pglogical:
        if programs() is None:
            arguments.error("no PostgreSQL here has pglogical (Debian 12: apt-get install postgresql-15-pglogical)")
        faults = tuple(name for name in faults if name not in NOT_OF_PGLOGICAL)
    designs = [name for name in DESIGNS if name != "pglogical" or given.pglogical]
    options = Options(seed=given.seed, seconds=given.seconds, nodes=NODES, faults=faults)
    with workplace() as directory:
        print(f"{conditions(find(directory, server_user()))}\n{options}; workloads: {given.workloads}; {given.deadline:.0f} s to catch up\n", flush=True)
        kinds = [names[name] for name in given.workloads.split(",")]
        print(table([measure(design, options, kinds, given.deadline, directory) for design in designs]))


if __name__ == "__main__":
    main()
