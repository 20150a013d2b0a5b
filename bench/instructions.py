"""What a statement costs in instructions: ``python3 -m bench.instructions [--statements 200] [--only NAME...] [--check]``. Needs valgrind.

Processor time on a shared machine says little of a change of a few percent. Instructions repeat to a thousandth, whatever
else runs: PostgreSQL in single-user mode under callgrind, a cluster's data behind it. Each figure is the difference between
a run with many statements and one with few, so that start and end of the server are not in it.

"At the writer" is the statement itself. "On arrival" is what an apply worker's triggers do, in replica role; the statement
around it stands for the worker's own work, in both columns. The rival is the same table without a merge. What is not counted:
the kernel, the protocol, walsenders, waiting. With ``--check`` the exit status is 1 where a ratio is a tenth worse than that in bench/tables.md.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from bench import ratios
from bench.conditions import conditions
from bench.mesh import TABLE1
from bench.pgunison import Pgunison, workplace
from pgunison.runtime.binaries import server_user

TABLES = Path(__file__).parent / "tables.md"
FEW = 20
# rows that are there before
FILLED = 1000
# at the writer and on arrival: keys of this node's range, and of the next one's
OWN, OTHER = 1 << 31, 2 << 31
FIRST, SECOND = "'2026-01-01', 2::smallint", "'2026-01-02', 2::smallint"
NATIVE = "native1"


@dataclass(frozen=True)
class Case:
    """A statement, once with the merge and once without, executed for the keys ``first`` + 1, 2, 3 and so on; ``{n}`` is their number where it
    is one statement for many rows."""

    name: str
    ours: str
    native: str
    first: int = OWN
    replica: bool = False

    @property
    def at_once(self) -> bool:
        return "{n}" in self.ours


def cases(image: str, tombstone: str) -> Iterator[Case]:
    """List what is counted; ``image`` and ``tombstone`` are the companions of table1."""
    inserted = "INSERT INTO {} (col1, col2) VALUES ('value one', 'value two')"
    yield Case("INSERT at the writer", inserted.format("table1"), inserted.format(NATIVE))
    for name, statement in (("UPDATE", "UPDATE {} SET col1 = 'changed' WHERE id = $1"), ("DELETE", "DELETE FROM {} WHERE id = $1")):
        yield Case(f"{name} at the writer", statement.format("table1"), statement.format(NATIVE))
    yield Case("INSERT on arrival", f"INSERT INTO table1 (id, col1, col2, modified_ts, modified_node) VALUES ($1 + {FILLED}, 'one', 'two', {FIRST})",
               f"INSERT INTO {NATIVE} (id, col1, col2) VALUES ($1 + {FILLED}, 'one', 'two')", OTHER, replica=True)
    yield Case("UPDATE on arrival", f"INSERT INTO {image} (id, col1, col2, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)"
               f" VALUES ($1, 'changed', 'two', {SECOND}, {FIRST})", f"UPDATE {NATIVE} SET col1 = 'changed' WHERE id = $1", OTHER, replica=True)
    yield Case("DELETE on arrival", f"INSERT INTO {tombstone} (id, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)"
               f" VALUES ($1, {SECOND}, {FIRST})", f"DELETE FROM {NATIVE} WHERE id = $1", OTHER, replica=True)
    many = "INSERT INTO {} (col1, col2) SELECT 'value one', 'value two' FROM generate_series(1, {{n}})"
    yield Case("INSERT of many, a row", many.format("table1"), many.format(NATIVE))
    for name, statement in (("UPDATE", "UPDATE {} SET col1 = 'changed' WHERE id BETWEEN {first} AND {first} + {{n}}"),
                            ("DELETE", "DELETE FROM {} WHERE id BETWEEN {first} AND {first} + {{n}}")):
        yield Case(f"{name} of many, a row", statement.format("table1", first=OWN), statement.format(NATIVE, first=OWN))


class Counted:
    """A stopped server's data directory, of which each count takes a copy."""

    def __init__(self, data: Path, binaries: Path, database: str):
        self._data, self._binaries, self._database = data, binaries, database
        self._user = server_user()

    def figure(self, case: Case, table: str, statements: int) -> float:
        """Return the instructions of one statement, or row, in thousands."""
        statement = case.native if table == NATIVE else case.ours
        before = [f"INSERT INTO {table} (id, col1, col2) SELECT {OWN} + i, 'value one', 'value two' FROM generate_series(1, {FILLED}) AS i"]
        if table != NATIVE:
            before[:] = [f"INSERT INTO {table} (col1, col2) SELECT 'value one', 'value two' FROM generate_series(1, {FILLED})"]
        if case.replica:
            version = (", modified_ts, modified_node", f", {FIRST}") if table != NATIVE else ("", "")
            before += ["SET session_replication_role = replica", f"INSERT INTO {table} (id, col1, col2{version[0]})"
                       f" SELECT {OTHER} + i, 'one', 'two'{version[1]} FROM generate_series(1, {FILLED}) AS i"]
        # what PostgreSQL has not reported yet of these rows would decide how a DELETE looks for rows that are back (services/sql/bury.sql)
        before.append("SELECT pg_stat_force_next_flush()")
        if case.at_once:
            return (self._count([*before, statement.format(n=FILLED)]) - self._count([*before, statement.format(n=FEW)])) / (FILLED - FEW) / 1000
        before += ["ANALYZE", f"PREPARE counted (bigint) AS {statement}"]
        few, many = ([f"EXECUTE counted ({case.first + key})" for key in range(1, number + 1)] for number in (FEW, FEW + statements))
        return (self._count(before + many) - self._count(before + few)) / statements / 1000

    def _count(self, statements: list[str]) -> int:
        with tempfile.TemporaryDirectory(dir=self._data.parent) as name:
            copy = Path(name) / "data"
            shutil.copytree(self._data, copy, symlinks=True)
            if user := self._user:
                for path in (Path(name), *Path(name).rglob("*")):
                    os.chown(path, user.uid, user.gid)
            done = subprocess.run(
                ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", self._binaries / "postgres", "--single", "-D", copy,
                 "-c", "fsync=off", "-c", "logging_collector=off", "-c", "log_min_messages=warning", self._database],
                input="\n".join(statements) + "\n", capture_output=True, text=True, cwd="/",
                **({"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}))
        failed = [line for line in done.stderr.splitlines() if re.search(r"\b(ERROR|FATAL|PANIC):", line)]
        if failed or done.returncode:
            raise RuntimeError("; ".join(failed[:3]) or done.stderr[-500:])
        return int(re.search(r"Collected : (\d+)", done.stderr)[1])


def committed(text: str) -> dict[str, float]:
    """Read the ratios of the table in bench/tables.md, by the case's name."""
    names = {case.name for case in cases("", "")}
    rows = ([cell.strip() for cell in line.strip("| \n").split("|")] for line in text.splitlines() if line.startswith("| "))
    return {row[0]: float(row[-1]) for row in rows if row[0] in names}


def worse(found: dict[str, float], before: dict[str, float]) -> list[str]:
    """Say of each case whose ratio is a tenth worse than before by how much; a case that was never measured is one of them."""
    return [f"{name}: {ratio:.2f} times native, {before[name]:.2f} before" if name in before else f"{name}: bench/tables.md has it not"
            for name, ratio in found.items() if ratio > 1.1 * before.get(name, 0.0)]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--statements", type=int, default=200)
    arguments.add_argument("--only", nargs="+", default=[""], help="cases whose names begin so")
    arguments.add_argument("--check", action="store_true")
    options = arguments.parse_args()
    if shutil.which("valgrind") is None:
        print("error: valgrind is missing\nhint: apt-get install valgrind", file=sys.stderr)
        return 1
    found: dict[str, float] = {}
    with workplace() as directory, Pgunison(1, directory, [TABLE1]) as cluster:
        with closing(psycopg2.connect(cluster.superuser_dsn("node1"))) as connection, connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {NATIVE} (id bigserial PRIMARY KEY, col1 text, col2 text)")
            cursor.execute("SELECT format('unison.%I', image_name), format('unison.%I', tombstone_name) FROM unison.replicated_table")
            companions = cursor.fetchone()
        data = cluster.halt("node1")
        counted = Counted(data, cluster.binaries, cluster.configuration.database)
        print(f"{conditions(cluster.binaries)}\n\n| thousands of instructions | pgunison | native | ratio |\n|---|---:|---:|---:|", flush=True)
        for case in (case for case in cases(*companions) if case.name.startswith(tuple(options.only))):
            ours, native = (counted.figure(case, table, options.statements) for table in ("table1", NATIVE))
            found[case.name] = ours / native
            print(f"| {case.name} | {ratios.shown(ours)} | {ratios.shown(native)} | {ours / native:.2f} |", flush=True)
    slower = worse(found, committed(TABLES.read_text(encoding="utf-8"))) if options.check else []
    for line in slower:
        print(f"worse: {line}", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
