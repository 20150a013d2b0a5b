"""Processes: found in /proc, frozen, thawed and killed by their id."""

import contextlib
import os
import signal
import threading
from pathlib import Path


def children(pid: int) -> list[int]:
    """List the processes that ``pid`` started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # the name stands in brackets and may hold anything; state and parent follow it
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def name_of(pid: int) -> str:
    """Return the name of the program that the process runs; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def id_inside(pid: int) -> int | None:
    """Return the id by which the process knows itself: within a container it is another one. None when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None


def send(pid: int | None, signal_number: int) -> bool:
    """Send a signal; False when there is no such process any more."""
    if pid is None:
        return False
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return False
    return True


class Freezer:
    """Stop processes and let them go on; what is frozen is remembered, so that nothing stays so."""

    def __init__(self):
        self._frozen: set[int] = set()
        self._lock = threading.Lock()

    def freeze(self, pids: list[int]) -> list[int]:
        """Stop the processes, in this order; returns those that were still there."""
        with self._lock:
            stopped = [pid for pid in pids if send(pid, signal.SIGSTOP)]
            self._frozen |= set(stopped)
            return stopped

    def thaw(self, pids: list[int]) -> None:
        """Let the processes go on."""
        with self._lock:
            for pid in pids:
                send(pid, signal.SIGCONT)
            self._frozen -= set(pids)

    def thaw_all(self) -> None:
        """Let everything go on that is frozen."""
        self.thaw(sorted(self._frozen))
