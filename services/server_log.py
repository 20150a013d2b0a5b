"""The server's log, as far as it says why a link does not stream: PostgreSQL keeps the last error of an apply worker nowhere else."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

# the end of the log, in which a worker that fails now has its line
TAIL_BYTES = 256 * 1024

LINE = re.compile(r"^\d{4}-\d\d-\d\d \S+ \S+ \[(\d+)\] (.*?)(DEBUG|LOG|NOTICE|WARNING|ERROR|FATAL|PANIC|DETAIL|HINT|CONTEXT|STATEMENT):  (.*)$")
STARTED = re.compile(r'apply worker for subscription "(unison_[^"]+)" has started')
RELATION = re.compile(r'replication target relation "((?:[^"]|"")*)"')
FINISHED = re.compile(r"finished at ([0-9A-F]+/[0-9A-F]+)")
MESSAGE_TYPE = re.compile(r'during message type "(\w+)"')
SENDER = re.compile(r"(unison_\S+_to_\S+) $")
CONNECTION = "could not connect to the publisher: "
# how a worker ends that was told to
ORDERLY = ("terminating ", "logical replication worker for subscription")


@dataclass(frozen=True)
class Failure:
    """The last error of a link's end on this node.

    ``table`` and ``action`` are what an apply worker was at, ``finished`` is the source's position of the transaction that it could not apply.
    ``connecting``: it did not come as far as to receive anything.
    """

    message: str
    connecting: bool = False
    table: str | None = None
    action: str | None = None
    finished: str | None = None


def last_failures(lines: Iterable[str]) -> dict[tuple[str, str], Failure]:
    """Find the last error of each apply worker and each walsender: ``{("apply" or "sender", link): failure}``.

    Details are left out: they hold users' values.
    """
    workers: dict[str, str] = {}
    latest: dict[str, tuple[str, str]] = {}
    found: dict[tuple[str, str], Failure] = {}
    for line in _whole(lines):
        parsed = LINE.match(line)
        if parsed is None:
            continue
        process, who, severity, text = parsed.groups()
        if started := STARTED.search(text):
            workers[process] = started.group(1)
        sender = SENDER.search(who)
        end = ("apply", workers[process]) if process in workers else ("sender", sender.group(1)) if sender else None
        if end is None:
            continue
        same = latest.get(process) == end
        if severity in ("ERROR", "FATAL", "PANIC") and not text.startswith(ORDERLY):
            place = text.find(CONNECTION)
            found[end] = Failure(text if place < 0 else text[place + len(CONNECTION):], connecting=place >= 0)
            latest[process] = end
        elif severity == "CONTEXT" and same and "processing remote data" in text:
            table, action, finished = (pattern.search(text) for pattern in (RELATION, MESSAGE_TYPE, FINISHED))
            found[end] = replace(found[end], table=table and table.group(1), action=action and action.group(1), finished=finished and finished.group(1))
        elif severity not in ("DETAIL", "HINT", "CONTEXT", "STATEMENT"):
            latest.pop(process, None)
    return found


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Put together what PostgreSQL wrote as one: what goes on in a further line begins with a tab there."""
    whole: list[str] = []
    for line in lines:
        if whole and not line.startswith("\t"):
            yield " ".join(whole)
            whole = []
        whole.append(line.strip("\n\t") if whole else line)
    if whole:
        yield " ".join(whole)


class ServerLog:
    """The log files in a directory, of which the newest is looked at, and only when it has grown."""

    def __init__(self, directory: Path | None):
        self._directory = directory
        self._seen: tuple[str, int] | None = None
        self._found: dict[tuple[str, str], Failure] = {}

    def last_failures(self) -> dict[tuple[str, str], Failure]:
        """Look into the end of the newest log; see :func:`last_failures`. Empty where there is no log to look into."""
        logs = list(self._directory.glob("postgresql-*.log")) if self._directory else []
        if not logs:
            return {}
        newest = max(logs, key=lambda path: path.stat().st_mtime)
        with open(newest, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if (str(newest), size) != self._seen:
                file.seek(max(0, size - TAIL_BYTES))
                # the first line may be cut, and matches nothing then
                self._found = last_failures(file.read(TAIL_BYTES).decode(errors="replace").splitlines())
                self._seen = (str(newest), size)
        return self._found
