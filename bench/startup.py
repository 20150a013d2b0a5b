"""How long until a new cluster carries rows: ``python3 -m bench.startup [--nodes 3 8 12] [--rounds 3]``.

The rival is the native mesh that one makes by hand from the same PostgreSQL: one initdb and one pg_ctl a node, one after another, then a
publication and a subscription for each pair, with passwords as here; no roles, no triggers, no agent. Both are timed in the same run, in turn, from an
empty directory until a row that was inserted on each node is seen on every other.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2

from bench.conditions import conditions
from host.config import load
from host.runtime.binaries import find, server_user
from host.runtime.directory import cluster_directory

PROJECT = Path(__file__).resolve().parents[1]
DEADLINE_S = 300.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--nodes", type=int, nargs="+", default=[3, 8, 12])
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgunison-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        os.environ["PGUNISON_STATE"] = str(directory)
        print(conditions(find(directory, server_user())))
        print("\n| nodes | pgunison, s | native mesh by hand, s | ratio | `up` again, s |\n|---:|---:|---:|---:|---:|")
        for nodes in options.nodes:
            ours, again, native = [], [], []
            for _ in range(options.rounds):
                first, second = time_pgunison(nodes, directory)
                ours.append(first)
                again.append(second)
                native.append(NativeMesh(nodes, directory).time())
            print(f"| {nodes} | {spread(ours)} | {spread(native)} | {statistics.median(ours) / statistics.median(native):.2f} | {spread(again)} |", flush=True)


def spread(seconds: list[float]) -> str:
    """Write the median, and the least and the most."""
    return f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def time_pgunison(nodes: int, directory: Path) -> tuple[float, float]:
    """Return the seconds of the first ``up`` until rows flow, and those of a second ``up``."""
    written = json.loads((PROJECT / "sysconfig.json").read_text(encoding="utf-8"))
    network = written["system"]["networks"][0]["config"]
    written["system"]["id"] = f"bench-{nodes}"
    network["scale"]["max_nodes"] = nodes
    network["net"]["ipv4"] = {"subnet": "10.64.64.0", "netbits": 24, "gateway": "10.64.64.1"}
    path = directory / f"bench-{nodes}.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    configuration = load(path)

    def orchestrator(*words: str) -> None:
        subprocess.run([sys.executable, PROJECT / "orchestrator.py", "--config", path, "--runtime", "process", *words], check=True, capture_output=True)

    began = time.monotonic()
    orchestrator("up")
    passfile = cluster_directory(configuration.id) / "secrets" / "passfile"
    await_rows([f"host={node.loopback} port={configuration.postgresql_port} dbname={configuration.database}"
                f" user={configuration.role('writer').name} passfile={passfile}" for node in configuration.nodes])
    first = time.monotonic() - began
    began = time.monotonic()
    orchestrator("up")
    second = time.monotonic() - began
    orchestrator("down", "--purge")
    return first, second


class NativeMesh:
    """Native logical replication in full mesh, as one sets it up by hand."""

    def __init__(self, nodes: int, directory: Path):
        self._user = server_user()
        self._binaries = find(directory, self._user)
        self._directory = Path(tempfile.mkdtemp(prefix="native-", dir=directory))
        self._addresses = [f"127.65.65.{index}" for index in range(2, nodes + 2)]
        if self._user:
            os.chown(self._directory, self._user.uid, self._user.gid)

    def time(self) -> float:
        """Return the seconds from nothing until rows flow."""
        began = time.monotonic()
        try:
            password = self._directory / "password"
            password.write_text("bench-only\n", encoding="utf-8")
            for address in self._addresses:
                self._start(address, password)
            for address in self._addresses:
                self._mesh(address)
            await_rows([self._dsn(address) for address in self._addresses])
            return time.monotonic() - began
        finally:
            for address in self._addresses:
                self._run("pg_ctl", "-D", str(self._directory / address), "-m", "immediate", "stop", check=False)

    def _start(self, address: str, password: Path) -> None:
        data = self._directory / address
        self._run("initdb", "-D", str(data), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C.UTF-8")
        workers = 2 * len(self._addresses) + 8
        with open(data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"listen_addresses = '{address}'\nunix_socket_directories = '{data}'\nwal_level = logical\nmax_worker_processes = {workers}\n"
                       f"max_logical_replication_workers = {workers}\nmax_replication_slots = {workers}\nmax_wal_senders = {workers}\n")
        with open(data / "pg_hba.conf", "a", encoding="utf-8") as file:
            file.write("host all all 127.0.0.0/8 scram-sha-256\n")
        self._run("pg_ctl", "-D", str(data), "-l", str(data / "log"), "-w", "start")
        self._execute(address, "CREATE TABLE table1 (id bigserial PRIMARY KEY, col1 text, col2 text)",
                      f"ALTER SEQUENCE table1_id_seq RESTART WITH {self._addresses.index(address) * 2**31 + 1}", "CREATE PUBLICATION mesh FOR TABLE table1")

    def _mesh(self, address: str) -> None:
        here = self._addresses.index(address)
        for peer, peer_address in enumerate(self._addresses):
            if peer != here:
                self._execute(address, f"CREATE SUBSCRIPTION s{here}_{peer} CONNECTION '{self._dsn(peer_address)}' PUBLICATION mesh"
                                       " WITH (origin = none, copy_data = false)")

    def _dsn(self, address: str) -> str:
        return f"host={address} dbname=postgres user=postgres password=bench-only"

    def _execute(self, address: str, *statements: str) -> None:
        connection = psycopg2.connect(self._dsn(address))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        as_user = {"user": self._user.uid, "group": self._user.gid, "extra_groups": []} if self._user else {}
        subprocess.run([self._binaries / program, *arguments], check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **as_user)


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
