"""PostgreSQL's programs, run for one node: make the data directory, start the server, stop it, wait for its end."""

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2

from container.serverlog import telling
from container.settings import PACE_FILE, pg_hba, pg_ident, postgresql_conf
from pgunison.contract.agent import AgentConfiguration

LEAST_FREE_BYTES = 64 * 1024 * 1024
ORPHAN_PATIENCE_S = 5.0
WALSENDER_PATIENCE_S = 15.0
LOG_READ_BYTES = 256 * 1024
# in the data directory, so that each copy of it says whose it is
OWNER_FILE = "unison_node.json"


class PostgresqlError(Exception):
    """The server cannot be made, started or stopped; the text says why."""


class Postgresql:
    """The one server of a node. It runs on when the agent dies, and the next agent takes it over."""

    def __init__(self, configuration: AgentConfiguration):
        self.configuration = configuration
        self._child: subprocess.Popen[bytes] | None = None
        # how long each log was when the server was started or taken over: what stands before is of another
        self._written: dict[Path, int] = {}

    def major_version(self) -> int:
        """Ask the binaries for their version; PostgresqlError below 16, where ``origin = none`` is missing."""
        output = self._run("postgres", "--version")
        found = re.search(r"\(PostgreSQL\) (\d+)", output)
        if not found or int(found.group(1)) < 16:
            raise PostgresqlError(f"PostgreSQL 16 or newer is needed, {self.configuration.binaries} has {output.strip()}")
        return int(found.group(1))

    def make(self) -> bool:
        """Make the data directory where it is missing; True if it was. An interrupted attempt leaves nothing that counts."""
        configuration = self.configuration
        for directory in (configuration.socket_directory, configuration.log_directory):
            self._own_directory(directory)
        if configuration.data.exists():
            return False
        self._require_space()
        unfinished = configuration.directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._own_directory(unfinished)
        if configuration.template is None:
            self._initdb(unfinished)
        else:
            self._copy(self._template(configuration.template), unfinished)
        unfinished.rename(configuration.data)
        return True

    def start(self) -> int:
        """Start the server, or take over the one that runs on this data directory; returns its process id."""
        running = self.running_pid()
        self._written = {log: log.stat().st_size for log in self._logs()}
        if running is not None:
            # an earlier version may have started it, which did not know who may come in now
            self._admit()
            self.reload()
            return running
        self._require_own_data()
        self._require_space()
        self._end_orphans()
        self._forget_dead_server()
        self._require_free_port()
        content = self._settings(self.configuration)
        # the file that a server started with last stays until there is one that the next can start with
        if (refused := self._refused(content)) is not None:
            raise PostgresqlError(f"PostgreSQL refuses a setting of sysconfig.json: {refused}")
        self._write("postgresql.conf", content)
        self._admit()
        self._write(PACE_FILE, "")
        # A session of its own: the terminal's Ctrl-C is not for the server.
        start_log = self.configuration.log_directory / "start.log"
        self._written[start_log] = 0
        with open(start_log, "wb") as log:
            self._child = subprocess.Popen([self.configuration.binaries / "postgres", "-D", self.configuration.data], stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, start_new_session=True, cwd=self.configuration.data, **self._as_user())
        return self._child.pid

    def refused(self, settings: tuple[tuple[str, str], ...]) -> str | None:
        """Say in PostgreSQL's own words why it would not start with these settings in place of those it has; None when it would.

        Nothing is changed, whether the server runs or not. What PostgreSQL finds out only when it starts (a library that is missing, memory that the
        machine has not got) is not found here.
        """
        return self._refused(self._settings(replace(self.configuration, settings=settings)))

    def _settings(self, configuration: AgentConfiguration) -> str:
        return postgresql_conf(configuration, self.major_version())

    def _refused(self, content: str) -> str | None:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="postgresql.conf.", dir=self.configuration.socket_directory) as file:
            file.write(content)
            file.flush()
            if self.configuration.user:
                os.chown(file.name, self.configuration.user.uid, self.configuration.user.gid)
            # -C reads and checks the whole file, prints one value, and starts nothing
            command: list[str | Path] = [self.configuration.binaries / "postgres", "-D", self.configuration.data,
                                         "-C", "port", "-c", f"config_file={file.name}"]
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/", timeout=60, **self._as_user())
        return None if done.returncode == 0 else telling(done.stderr.splitlines()) or done.stderr.strip()[-300:]

    def await_connections(self, pid: int, timeout_s: float) -> None:
        """Wait until the server accepts connections; PostgresqlError with the last words of its log when it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with_socket = self.configuration
                psycopg2.connect(host=str(with_socket.socket_directory), port=with_socket.postgresql_port, user="postgres", dbname="postgres",
                                 connect_timeout=5).close()
                return
            except psycopg2.OperationalError as error:
                last = str(error).strip().splitlines()[-1]
            if self.wait_end(pid, 0.02):
                raise PostgresqlError(f"PostgreSQL ended while it started: {self.last_words()}")
            if time.monotonic() > deadline:
                raise PostgresqlError(f"PostgreSQL accepts no connections after {timeout_s:.0f} s: {last}")

    def wait_end(self, pid: int, timeout_s: float) -> bool:
        """Wait until the server process has ended, ``timeout_s`` at most; True when it has."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            ended = bool(select.select([descriptor], [], [], timeout_s)[0])
        finally:
            os.close(descriptor)
        if ended and self._child is not None and self._child.pid == pid:
            self._child.wait()
        return ended

    def reload(self) -> None:
        """Let the server read its configuration and certificates again."""
        if (pid := self.running_pid()) is not None:
            os.kill(pid, signal.SIGHUP)

    def set_retry_interval(self, interval_ms: int) -> None:
        """Let apply workers be started again no sooner than that after their last start (container/pace.py)."""
        self._write(PACE_FILE, f"wal_retrieve_retry_interval = {interval_ms}\n")
        self.reload()

    def stop(self, timeout_s: float = 40.0) -> None:
        """Stop the server: fast and clean, and if that takes too long, at once (its next start recovers).

        A fast stop waits for walsenders until their peers have confirmed everything, and a peer that is frozen, or knows more of this node than
        the node itself (services/stale.py), never does: after a while they are ended.
        """
        pid = self.running_pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGINT)
        if self.wait_end(pid, WALSENDER_PATIENCE_S):
            return
        for sender in self._processes("walsender"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(sender, signal.SIGTERM)
        if self.wait_end(pid, timeout_s):
            return
        for signal_number in (signal.SIGQUIT, signal.SIGKILL):
            os.kill(pid, signal_number)
            if self.wait_end(pid, 10.0):
                return
        raise PostgresqlError(f"PostgreSQL (process {pid}) does not end")

    def running_pid(self) -> int | None:
        """Find the process of the server on this data directory, None when there is none."""
        try:
            pid = int((self.configuration.data / "postmaster.pid").read_text().splitlines()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
            return None
        # a process id is used again: it counts only when it is a server on this very directory
        return pid if os.fsencode(self.configuration.data) in command else None

    def _end_orphans(self) -> None:
        """End what a server that was killed left behind.

        Most end by themselves when they notice. One that waits for a lock of one that is dead never does, and its shared memory keeps the next server from
        starting; what such a process had not committed is lost anyway.
        """
        orphans = self._processes()
        deadline = time.monotonic() + ORPHAN_PATIENCE_S
        for pid in orphans:
            if not self.wait_end(pid, max(0.0, deadline - time.monotonic())):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                if not self.wait_end(pid, 10.0):
                    raise PostgresqlError(f"process {pid}, which a killed server left behind, does not end")

    def _forget_dead_server(self) -> None:
        """Remove the lock files of a server that was killed.

        They name its process, and PostgreSQL does not start while there is any process of that number: in a container, where numbers are small and come
        again, that may be a part of this very agent, for ever. That no server is left was seen, and the node's lock keeps other agents out.
        """
        for path in (self.configuration.data / "postmaster.pid", self.configuration.socket_directory / f".s.PGSQL.{self.configuration.postgresql_port}.lock"):
            path.unlink(missing_ok=True)

    def _processes(self, kind: str = "") -> list[int]:
        """List the processes of PostgreSQL that work in this data directory; ``kind`` is a word of the title that ps shows of them."""
        found = []
        data = os.path.realpath(self.configuration.data)
        for process in Path("/proc").glob("[0-9]*"):
            # it may end while we look, or belong to somebody whose processes we may not see
            with contextlib.suppress(OSError):
                if os.readlink(process / "cwd") == data and os.path.basename(os.readlink(process / "exe")) == "postgres" \
                        and kind in (process / "cmdline").read_text(errors="replace"):
                    found.append(int(process.name))
        return found

    def last_words(self) -> str:
        """Return what tells why the server ended, of all that it wrote since it was started or taken over."""
        lines: list[str] = []
        for log in self._logs():
            with open(log, "rb") as file:
                size, before = log.stat().st_size, self._written.get(log, 0)
                # a log that is smaller than it was began anew
                file.seek(max(before if size >= before else 0, size - LOG_READ_BYTES))
                lines += file.read().decode(errors="replace").splitlines()
        return telling(lines) or "it wrote nothing that says why"

    def _logs(self) -> list[Path]:
        """List the server's log files, the oldest first."""
        return sorted(self.configuration.log_directory.glob("*.log"), key=lambda path: path.stat().st_mtime)

    def _template(self, template: Path) -> Path:
        """Return a data directory to copy; the first agent of this machine makes it, the others wait for it."""
        with open(template.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not template.exists():
                unfinished = template.with_suffix(".unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                self._own_directory(unfinished)
                self._initdb(unfinished)
                unfinished.rename(template)
        return template

    def _initdb(self, directory: Path) -> None:
        self._run("initdb", "-D", str(directory), "-U", "postgres", "--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8")

    def _copy(self, source: Path, target: Path) -> None:
        self._checked(["cp", "-a", "--reflink=auto", f"{source}/.", str(target)])
        self._run("initdb", "-D", str(target), "--sync-only")

    def _run(self, program: str, *arguments: str) -> str:
        return self._checked([str(self.configuration.binaries / program), *arguments])

    def _checked(self, command: list[str]) -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/", **self._as_user())
        if done.returncode:
            raise PostgresqlError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-400:]}")
        return done.stdout

    def _as_user(self) -> dict[str, Any]:
        user = self.configuration.user
        return {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}

    def _own_directory(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        if self.configuration.user:
            os.chown(directory, self.configuration.user.uid, self.configuration.user.gid)

    def _admit(self) -> None:
        self._write("pg_hba.conf", pg_hba(self.configuration))
        self._write("pg_ident.conf", pg_ident(self.configuration))

    def _write(self, name: str, content: str) -> None:
        """Write a file of the data directory, whole or not at all: half of one keeps the server from starting, or lets anybody in."""
        unfinished = self.configuration.data / f"{name}.unfinished"
        with open(unfinished, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o600)
        if self.configuration.user:
            os.chown(unfinished, self.configuration.user.uid, self.configuration.user.gid)
        unfinished.replace(self.configuration.data / name)

    def _require_own_data(self) -> None:
        """Refuse the data of another node: its server would take that one's changes from the peers, and nobody could tell the two apart."""
        configuration = self.configuration
        ours = {"cluster": configuration.cluster, "node": configuration.node, "index": configuration.index}
        path = configuration.data / OWNER_FILE
        if not path.exists():
            self._write(OWNER_FILE, json.dumps(ours) + "\n")
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PostgresqlError(f"{path} cannot be read: {error}; where these are the data of {configuration.node}, remove that file") from error
        if found != ours:
            raise PostgresqlError(f"{configuration.data} holds the data of {found.get('node')} (index {found.get('index')}) of cluster {found.get('cluster')}:"
                                  f" put the data of {configuration.node} there, or nothing")

    def _require_space(self) -> None:
        free = shutil.disk_usage(self.configuration.directory).free
        if free < LEAST_FREE_BYTES:
            raise PostgresqlError(f"the disk is full: {free // 2**20} MiB are free at {self.configuration.directory}, {LEAST_FREE_BYTES // 2**20} are needed")

    def _require_free_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.configuration.address, self.configuration.postgresql_port))
            except OSError as error:
                raise PostgresqlError(f"port {self.configuration.postgresql_port} of {self.configuration.address} is not free: {error.strerror}") from error
