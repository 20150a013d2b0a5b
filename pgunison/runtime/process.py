"""The process runtime: nodes as plain processes of this machine, each on a loopback address of its own."""

import collections
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pgunison.configuration.sysconfig import Configuration, NodeSpec
from pgunison.contract.agent import AgentConfiguration, capacity
from pgunison.contract.waiting import Late, wait_until
from pgunison.credentials import Credentials
from pgunison.errors import OrchestratorError, UsageError
from pgunison.files import write_whole
from pgunison.runtime import binaries
from pgunison.runtime.image import own_code
from pgunison.runtime.runtime import Process
from pgunison.tree import TREE, python_path

if TYPE_CHECKING:
    # loaded late: what makes certificates takes its time, and here there are none
    from pgunison.certificates import Certificates

# longer than the agent's own patience with PostgreSQL
STOP_TIMEOUT_S = 120.0
LOG_LINES = 2000
# the longest name of a Unix socket is 107 bytes, of which the server takes the last part
SOCKET_PATH_LIMIT = 107 - len("/socket/.s.PGSQL.65535")


class ProcessRuntime:
    """Start, stop and look at agents. They outlive the orchestrator.

    Whether an agent runs is told by the lock that it holds as long as it lives, and by nothing that could be left over.
    """

    name = "process"
    # nothing leaves the machine, and its PostgreSQL may have been built without TLS
    certificates: "Certificates | None" = None

    def __init__(self, configuration: Configuration, directory: Path, credentials: Credentials):
        self._configuration = configuration
        self._directory = directory
        self._credentials = credentials
        # kept, because an agent may outlive us, and one that we see end must be waited for
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    @staticmethod
    def require_usable() -> None:
        """There is nothing that this runtime needs beforehand."""

    def address(self, node: NodeSpec) -> str:
        """Return where the node's agent and PostgreSQL listen."""
        return node.loopback

    def nodes(self) -> list[str]:
        """List the names of the nodes that were ever made."""
        folder = self._directory / "nodes"
        # what a purge that was interrupted leaves has a name with a dot
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")) if folder.exists() else []

    def state(self, node: NodeSpec) -> Process:
        """Tell whether the node is absent, stopped or running."""
        folder = self._folder(node)
        if not folder.exists():
            return Process.ABSENT
        return Process.RUNNING if _held(folder / "agent.lock") else Process.STOPPED

    def has_server(self, node: NodeSpec) -> bool:
        """Tell whether a PostgreSQL runs on the node's data; it may without its agent."""
        data = self._folder(node) / "data"
        try:
            pid = int((data / "postmaster.pid").read_text().splitlines()[0])
            return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            # there is none, or not any more
            return False

    def start(self, node: NodeSpec) -> None:
        """Start the node's agent if it does not run; does not wait for it."""
        if self.state(node) == Process.RUNNING:
            return
        folder = self._folder(node)
        if len(os.fsencode(folder)) > SOCKET_PATH_LIMIT:
            raise OrchestratorError("the directory of the cluster's files has too long a name", f"{folder}: a Unix socket must fit in 107 bytes",
                                    "set PGUNISON_STATE to a shorter one")
        if self._starting(node):
            return
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._write_configuration(node, folder)
        # What of our environment could change what the agent or PostgreSQL does, stays behind.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": python_path(), "LANG": "C.UTF-8"}
        with open(folder / "agent.err", "wb") as errors:
            self._started[node.name] = subprocess.Popen(
                [sys.executable, "-m", "container.agent", folder / "agent.json"], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                cwd=TREE, env=environment, start_new_session=True)

    def outdated(self, node: NodeSpec) -> bool:
        """Tell whether the node's agent was started from other sources than ours, which it would answer and install as, or was told other settings."""
        configuration = self._configuration
        try:
            told = AgentConfiguration.load(self._folder(node) / "agent.json")
            return (told.code, told.settings, told.upkeep) != (own_code(), configuration.settings, configuration.upkeep) or \
                capacity(told.max_nodes) < capacity(configuration.max_nodes)
        except (OSError, ValueError, KeyError, TypeError):
            # another version writes it in another way
            return True

    def replace(self, node: NodeSpec) -> None:
        """Start the node's agent, and with it its PostgreSQL, from our sources; the data stays."""
        self.stop(node)
        self.start(node)

    def put_certificates(self, node: NodeSpec) -> None:
        """UsageError: nothing leaves the machine, so there are none."""
        raise UsageError(f"{node.name} has no certificates", "nodes that are processes of one machine speak no TLS",
                         "leave it")

    def require_running(self, node: NodeSpec) -> None:
        """OrchestratorError with the agent's last words when it has ended."""
        if self._starting(node):
            return
        if self.state(node) == Process.RUNNING:
            return
        errors = self._folder(node) / "agent.err"
        words = errors.read_text(errors="replace").strip() if errors.exists() else ""
        if not words:
            # nobody would start it again while we wait
            raise OrchestratorError(f"the agent of {node.name} ended", "without a word, as one does that is killed", "python3 orchestrator.py up")
        raise OrchestratorError(f"the agent of {node.name} ended", words.splitlines()[-1], f"python3 orchestrator.py logs {node.name}")

    def stop(self, node: NodeSpec) -> None:
        """Stop the node's agent, which stops its PostgreSQL; also a PostgreSQL whose agent has died. The data stays."""
        folder = self._folder(node)
        self._end_agent(node)
        # an agent that was killed leaves its PostgreSQL behind
        if (folder / "data" / "postmaster.pid").exists():
            done = subprocess.run([sys.executable, "-m", "container.agent", folder / "agent.json", "stop"], cwd=TREE,
                                  env=os.environ | {"PYTHONPATH": python_path()}, capture_output=True, text=True)
            if done.returncode:
                raise OrchestratorError(f"PostgreSQL of {node.name} does not end", done.stderr.strip()[-300:], f"see {folder}")

    def _end_agent(self, node: NodeSpec) -> None:
        """End the agent that holds the lock, and one that we started and that has not taken it yet."""
        told: set[int] = set()

        def pending() -> str | None:
            if not self._starting(node) and self.state(node) != Process.RUNNING:
                return None
            # one that was only about to be the agent is found later
            for pid in self._agents(node) - told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                told.add(pid)
            return " ".join(map(str, sorted(told)))

        try:
            wait_until(pending, f"the agent of {node.name} ends", STOP_TIMEOUT_S)
        except Late as late:
            raise OrchestratorError(f"the agent of {node.name} does not end", f"process {late.last}, {STOP_TIMEOUT_S:.0f} s after SIGTERM",
                                    f"see {self._folder(node) / 'agent.log'}, then kill -9 {late.last}") from late
        self._started.pop(node.name, None)

    def _agents(self, node: NodeSpec) -> set[int]:
        """List the processes that are the node's agent, or are about to be."""
        found = {self._started[node.name].pid} if self._starting(node) else set()
        folder = self._folder(node)
        with contextlib.suppress(OSError, ValueError):
            # who has just taken the lock has not written its number yet, and that of a former one may be anybody's
            pid = int((folder / "agent.lock").read_text())
            if os.fsencode(folder / "agent.json") in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.add(pid)
        return found

    def _starting(self, node: NodeSpec) -> bool:
        """Tell whether the process that we started as the node's agent lives; it may not have taken its lock yet."""
        return node.name in self._started and self._started[node.name].poll() is None

    def purge(self, node: NodeSpec) -> None:
        """Remove a stopped node with its data."""
        folder = self._folder(node)
        doomed = folder.with_name(f".{node.name}.purged")
        if doomed.exists():
            shutil.rmtree(doomed)
        if folder.exists():
            # renamed first: half a node is none
            folder.rename(doomed)
            shutil.rmtree(doomed)

    def how_to_empty(self, node: NodeSpec) -> str:
        """Write the command that stops the node and removes its data, without a word to its peers."""
        folder = self._folder(node)
        return f"kill $(cat {folder}/agent.lock); flock {folder}/agent.lock rm -r {folder}/data"

    def purge_all(self) -> None:
        """Remove what the nodes share, and the cluster's directory; every node must be purged before."""
        if self._directory.exists():
            shutil.rmtree(self._directory)

    def logs(self, node: NodeSpec) -> Iterator[tuple[str, Iterable[str]]]:
        """Return the node's log files, the agent's first, the last lines of each."""
        folder = self._folder(node)
        logs = [folder / "agent.err", folder / "agent.log", *sorted((folder / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)]
        for path in logs:
            if path.exists() and path.stat().st_size:
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield str(path), collections.deque(file, LOG_LINES)

    def _folder(self, node: NodeSpec) -> Path:
        return self._directory / "nodes" / node.name

    def _write_configuration(self, node: NodeSpec, folder: Path) -> None:
        configuration, user = self._configuration, binaries.server_user()
        agent = AgentConfiguration(
            cluster=configuration.id, node=node.name, index=node.index, database=configuration.database, address=node.loopback,
            postgresql_port=configuration.postgresql_port, agent_port=configuration.agent_port, max_nodes=configuration.max_nodes,
            networks=("127.0.0.0/8",), settings=configuration.settings, upkeep=configuration.upkeep, directory=folder,
            binaries=binaries.find(self._directory, user), token_file=self._credentials.token_file, template=self._directory / "template", user=user,
            code=own_code())
        write_whole(folder / "agent.json", agent.dump() + "\n")


def _held(lock: Path) -> bool:
    """Tell whether a process holds the lock file."""
    try:
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
