"""The history: who gave the cluster which command, when, how long it took, and how it ended.

It is kept beside the cluster's files on this machine and in the database of every node, so that it outlives whichever is lost. Each command that changes the
cluster is written here when it begins; when it ends, this machine and all nodes that answer tell each other what they lack of the newest entries.
"""

import getpass
import json
import os
import socket
import sys
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pgunison.cluster.site import Site
from pgunison.contract.names import NO_LINE
from pgunison.errors import OrchestratorError
from pgunison.everywhere import everywhere
from pgunison.files import write_whole

FILE = "history.json"
# so many are kept here, and so many of the newest are exchanged; a call must not be too large
KEPT, EXCHANGED, AT_ONCE = 1000, 100, 25
TIMEOUT_S = 5.0
RUNNING, DONE, FAILED, INTERRUPTED, LOST = "running", "done", "failed", "interrupted", "lost"


@dataclass(frozen=True)
class Entry:
    """A command. ``began`` and ``ended`` are ISO 8601 in UTC, so their texts sort as they do; ``ended`` is None while it runs, and when nobody knows."""

    id: str
    command: str
    who: str
    began: str
    ended: str | None = None
    outcome: str = RUNNING
    detail: str | None = None

    @property
    def seconds(self) -> float | None:
        """Return how long it took, None when that is not known."""
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.began)).total_seconds() if self.ended else None


def merge(*told: Iterable[Entry]) -> list[Entry]:
    """Return each entry once, the newest first; as the one who knows most of it tells it."""
    known: dict[str, Entry] = {}
    for entry in (entry for entries in told for entry in entries):
        if entry.id not in known or _knows_more(entry, known[entry.id]):
            known[entry.id] = entry
    return sorted(known.values(), key=lambda entry: (entry.began, entry.id), reverse=True)


def closed(entries: Iterable[Entry]) -> list[Entry]:
    """Say of what runs that it was lost: for whoever knows that no command runs but his own."""
    return [replace(entry, outcome=LOST) if entry.outcome == RUNNING else entry for entry in entries]


def lacking(held: Iterable[Entry], known: Iterable[Entry]) -> list[Entry]:
    """Return what somebody who holds some entries lacks of those that are known."""
    there = {entry.id: entry for entry in held}
    return [entry for entry in known if entry.id not in there or _knows_more(entry, there[entry.id])]


def _knows_more(entry: Entry, than: Entry) -> bool:
    """Tell whether it says more of the outcome: that it was lost says somebody who was not told how it ended."""
    known = {RUNNING: 0, LOST: 1}
    return known.get(than.outcome, 2) < known.get(entry.outcome, 2)


@contextmanager
def recorded(site: Site, command: str) -> Iterator[None]:
    """Write down that the command begins, and how it ended. The caller sees to it that no other command runs (:func:`pgunison.directory.only_orchestrator`)."""
    entry = Entry(str(uuid.uuid4()), _line(command, 300), who(), _now())
    _write(site.directory, [entry, *closed(_read(site.directory))])
    outcome, detail = FAILED, None
    try:
        yield
        outcome = DONE
    except KeyboardInterrupt:
        outcome = INTERRUPTED
        raise
    except OrchestratorError as error:
        detail = error.message
        raise
    except BaseException as error:
        detail = f"{type(error).__name__}: {error}"
        raise
    finally:
        ended = replace(entry, ended=_now(), outcome=outcome, detail=detail and _line(detail, 500))
        _write(site.directory, merge([ended], _read(site.directory)))
        exchange(site, ended)


def exchange(site: Site, ended: Entry) -> None:
    """Tell every node that answers of the command that has ended, and what else it lacks of the newest entries; the others are told another time.

    What only nodes know is written down here.
    """
    held, _ = ask(site, EXCHANGED)
    # the file may not have taken it, and by a clock that was set it may not be the newest
    known = merge([ended], _read(site.directory), closed(merge(*held.values())))
    _write(site.directory, known)
    told = merge([ended], known[:EXCHANGED])
    everywhere(list(held), lambda name: _tell(site, name, lacking(held[name], told)))


def collect(site: Site, limit: int) -> tuple[list[Entry], dict[str, str]]:
    """Return the newest entries that anybody knows, and for each node that could not be asked why not."""
    held, missing = ask(site, limit)
    return merge(_read(site.directory), *held.values())[:limit], missing


def ask(site: Site, limit: int) -> tuple[dict[str, list[Entry]], dict[str, str]]:
    """Ask every node that runs; returns what each holds, and of each other why it said nothing."""
    def asked(name: str) -> list[Entry] | str:
        try:
            if site.runtime.state(site.spec(name)) != "running":
                return "it does not run"
            return [Entry(**entry) for entry in site.call(name, "node.history", TIMEOUT_S, limit=limit)["entries"]]
        except OrchestratorError as error:
            return f"{error.message}: {error.detail}"
        except (KeyError, TypeError) as error:
            return f"its agent is of another version, which tells its history in another way: {error}"

    answers = everywhere([node.name for node in site.configuration.nodes], asked)
    return ({name: answer for name, answer in answers.items() if not isinstance(answer, str)},
            {name: answer for name, answer in answers.items() if isinstance(answer, str)})


def who() -> str:
    """Name the user who calls, and the machine."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        # a user without a name, as containers have them
        user = f"user {os.getuid()}"
    return _line(f"{user}@{socket.gethostname()}", 100)


def _line(text: str, longest: int) -> str:
    """Make of a text, which may come from anywhere, what a line and a database can hold."""
    kept = "".join(" " if unicodedata.category(character) in NO_LINE else character for character in text)
    return " ".join(kept.split())[:longest]


def _tell(site: Site, name: str, entries: list[Entry]) -> None:
    try:
        for first in range(0, len(entries), AT_ONCE):
            site.call(name, "node.record", TIMEOUT_S, Entry=[asdict(entry) for entry in entries[first:first + AT_ONCE]])
    except OrchestratorError:
        # it has just answered; what it lacks now, it is told with the next command, and this one has done its work
        return


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _read(directory: Path) -> list[Entry]:
    path = directory / FILE
    try:
        return [Entry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []
    except (OSError, ValueError, TypeError):
        # the nodes have it, too: what is no history must not keep a cluster from being mended
        return []


def _write(directory: Path, entries: list[Entry]) -> None:
    """Write the newest entries, whole or not at all. A full disk is said, and keeps nobody from stopping a node."""
    try:
        write_whole(directory / FILE, json.dumps([asdict(entry) for entry in entries[:KEPT]], indent=1) + "\n")
    except OSError as error:
        print(f"warning: the history is not written: {directory / FILE}: {error.strerror}", file=sys.stderr)
