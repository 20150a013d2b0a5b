"""The rival: native logical replication in full mesh, as one sets it up by hand."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from psycopg2 import sql

from bench.cluster import Cluster
from container.settings import postgresql_conf
from pgunison.contract.agent import AgentConfiguration
from pgunison.contract.waiting import wait_until
from pgunison.runtime.binaries import find, server_user

PASSWORD = "bench-only"
# as sysconfig.json describes a table
TABLE1 = {"name": "table1", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"},
                                        {"name": "col2", "type": "text"}]}
# The pattern of published examples: each write stamps its row, and an UPDATE that is older than the row it meets does nothing. {node} is the writer.
FUNCTIONS = """
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.modified_ts := clock_timestamp(); NEW.modified_node := {node}; RETURN NEW; END';
CREATE FUNCTION newer_wins() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF {older} THEN RETURN NULL; END IF; RETURN NEW; END'
"""
STAMP = """
ALTER TABLE {table} ADD COLUMN modified_ts timestamptz, ADD COLUMN modified_node smallint;
CREATE TRIGGER a_stamp BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TRIGGER b_newer_wins BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION newer_wins()
"""
# "published": as it is found, which never fires in an apply worker. "replica": there it does, and two equal times are told apart by the node.
TRIGGERS = {
    "published": (STAMP, "NEW.modified_ts < OLD.modified_ts"),
    "replica": (STAMP + "; ALTER TABLE {table} ENABLE REPLICA TRIGGER b_newer_wins",
                "(NEW.modified_ts, NEW.modified_node) < (OLD.modified_ts, OLD.modified_node)"),
}


class NativeMesh(Cluster):
    """Every node publishes its tables whole and subscribes to every other one with ``origin = none``.

    It is the same PostgreSQL with the very postgresql.conf that pgunison's agent writes, so that a ratio shows what the merge costs. It is not a
    system that one could use: no versions, no tombstones, no roles, no agents; nodes that change the same key differ for good, or stop.
    ``triggers`` adds what is usually tried against that, see TRIGGERS. ``tables`` are described as sysconfig.json does.
    """

    settings: tuple[tuple[str, str], ...] = ()

    def __init__(self, nodes: int, directory: Path, triggers: str | None = None, tables: Sequence[dict] = (TABLE1,),
                 settings: Mapping[str, str] | None = None):
        self.names = [f"node{index}" for index in range(1, nodes + 1)]
        self._user = server_user()
        self.binaries = find(directory, self._user)
        self._triggers = triggers
        self._tables = tables
        self.settings = (*type(self).settings, *(settings or {}).items())
        self._directory = Path(tempfile.mkdtemp(prefix="native-", dir=directory))
        if self._user:
            os.chown(self._directory, self._user.uid, self._user.gid)
        # addresses of its own: another mesh may run on this machine
        second, third = 128 + os.urandom(1)[0] // 2, os.urandom(1)[0]
        self._addresses = {name: f"127.{second}.{third}.{index}" for index, name in enumerate(self.names, 2)}

    def start(self) -> None:
        """Make the nodes one after another, then the links."""
        for name in self.names:
            self._make(name)
        subscribe_all(self, self.subscribe)

    def stop(self) -> None:
        """Stop every node at once and remove it."""
        for name in self.names:
            if (self._directory / name / "data" / "postmaster.pid").exists():
                self._run("pg_ctl", "-D", str(self._directory / name / "data"), "-m", "immediate", "stop", check=False)
        shutil.rmtree(self._directory)

    def dsn(self, node: str) -> str:
        return f"host={self._addresses[node]} port=5432 dbname=postgres user=postgres password={PASSWORD}"

    superuser_dsn = dsn

    def pause(self, source: str, target: str) -> None:
        """Stop a link, and wait until its apply worker has ended."""
        self.query(target, f"ALTER SUBSCRIPTION {link(source, target)} DISABLE")
        worker = "SELECT pid FROM pg_stat_subscription WHERE subname = %s AND pid IS NOT NULL"
        wait_until(lambda: self.query(target, worker, [link(source, target)]) or None, f"the apply worker of {link(source, target)} ends")

    def resume(self, source: str, target: str) -> None:
        """Let a link go on."""
        self.query(target, f"ALTER SUBSCRIPTION {link(source, target)} ENABLE")

    def folder(self, node: str) -> Path:
        """Return the directory with all files of the node."""
        return self._directory / node

    def server_pid(self, node: str) -> int:
        """Read the id of the node's postmaster; it may have ended. OSError when there is none."""
        return int((self._directory / node / "data" / "postmaster.pid").read_text().splitlines()[0])

    def kill(self, node: str) -> None:
        """Kill a node's PostgreSQL as a crash would; :meth:`revive` starts it again."""
        os.kill(self.server_pid(node), signal.SIGKILL)

    def revive(self, node: str) -> None:
        """Start a node that was killed, as soon as the last process of its former server has ended."""
        log = self._directory / node / "log"
        wait_until(lambda: None if self.try_start(node) else f"it does not, see {log}", f"{node} starts", pause_s=0.1)

    def try_start(self, node: str) -> bool:
        """Start a node whose server has ended; False when it does not start, which it cannot while a process of the former server is left."""
        return self._ctl_start(node, check=False) == 0

    def _make(self, node: str) -> None:
        folder = self._directory / node
        configuration = AgentConfiguration(
            cluster="native", node=node, index=self.names.index(node), database="postgres", address=self._addresses[node], postgresql_port=5432,
            agent_port=0, max_nodes=len(self.names), networks=(), settings=self.settings, directory=folder, binaries=self.binaries, token_file=folder / "token",
            template=None, user=self._user)
        for directory in (folder, configuration.socket_directory, configuration.log_directory):
            directory.mkdir(mode=0o700)
            if self._user:
                os.chown(directory, self._user.uid, self._user.gid)
        password = self._directory / "password"
        password.write_text(PASSWORD + "\n", encoding="utf-8")
        self._run("initdb", "-D", str(configuration.data), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8",
                  "--locale=C.UTF-8")
        version = int(subprocess.run([self.binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout.split()[2].split(".")[0])
        (configuration.data / "postgresql.conf").write_text(postgresql_conf(configuration, version), encoding="utf-8")
        with open(configuration.data / "pg_hba.conf", "a", encoding="utf-8") as file:
            file.write("host all all 127.0.0.0/8 scram-sha-256\n")
        self._ctl_start(node)
        index = self.names.index(node) + 1
        if self._triggers:
            self.query(node, FUNCTIONS.format(node=index, older=TRIGGERS[self._triggers][1]))
        for table in self._tables:
            self._make_table(node, index, table)
        self.publish(node)

    def publish(self, node: str) -> None:
        """Offer the tables of a node."""
        self.query(node, sql.SQL("CREATE PUBLICATION mesh FOR TABLE {}").format(sql.SQL(", ").join(sql.Identifier(table["name"]) for table in self._tables)))

    def subscribe(self, source: str, target: str) -> None:
        """Make a link."""
        subscribe(self, source, target)

    def _make_table(self, node: str, index: int, table: dict) -> None:
        self.query(node, create(table))
        for column in table["columns"]:
            if column["type"] == "bigserial":
                # one range of keys a node, as everybody does who has two writers
                self.query(node, f"ALTER SEQUENCE {table['name']}_{column['name']}_seq RESTART WITH {index * 2**31 + 1}")
        if self._triggers:
            self.query(node, TRIGGERS[self._triggers][0].format(table=table["name"]))

    def _ctl_start(self, node: str, *, check: bool = True) -> int:
        folder = self._directory / node
        return self._run("pg_ctl", "-D", str(folder / "data"), "-l", str(folder / "log" / "start.log"), "-w", "start", check=check)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        as_user = {"user": self._user.uid, "group": self._user.gid, "extra_groups": []} if self._user else {}
        return subprocess.run([self.binaries / program, *arguments], check=check, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, cwd="/", **as_user).returncode


def subscribe_all(cluster: Cluster, subscribe: Callable[[str, str], None]) -> None:
    """Make the link between each two nodes, both ways."""
    for source, target in itertools.permutations(cluster.names, 2):
        subscribe(source, target)


def subscribe(cluster: Cluster, source: str, target: str) -> None:
    """Make one link of a native mesh."""
    cluster.query(target, f"CREATE SUBSCRIPTION {link(source, target)} CONNECTION '{cluster.dsn(source)}' PUBLICATION mesh"
                          " WITH (origin = none, copy_data = false)")


def link(source: str, target: str) -> str:
    """Name the subscription on ``target`` and its slot on ``source``."""
    return f"mesh_{source}_to_{target}"


def create(table: dict) -> sql.Composed:
    """Write CREATE TABLE for a description."""
    columns = [sql.SQL("{} {}{}").format(sql.Identifier(column["name"]), sql.SQL(column["type"]), sql.SQL(" PRIMARY KEY" if column.get("primary_key") else ""))
               for column in table["columns"]]
    return sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(table["name"]), sql.SQL(", ").join(columns))
