"""Older versions of this project out of its history, and the program that lets each of them make a node in a database of its own.

As a program it reads from stdin ``{"server": [socket directory, port], "versions": [[folder, database], ...], "calls": [[service, Node], ...]}``, imports what
is in each folder in a child process of its own and calls its services; it writes ``{database: null or what went wrong}``.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import traceback
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# what a node's database is made of: these texts, and the Python that renders them
MAKES = ("services/sql/", "services/node.py", "services/table.py", "services/trigger.py", "services/shape.py", "services/publication.py", "services/role.py",
         "services/statements.py", "services/column.py", "services/sequence.py", "services/installation.py", "services/texts.py",
         "services/agent_role.py", "services/pinned.py", "pgunison/contract/names.py")
PACKAGES = ("services", "esb_config", "pgunison/contract")
# Commits of which no node could ever be made: their services call a method, require_current, that a later commit of the same series brought.
UNABLE = {"3f69489bca32e8956ed8e8cb0990f3069acc525f", "8f530a1420460b9c2d2f4600423d5146ac5b069f",
          "e5e8e534f0e63e6e2159565fa271310afe56295e"}


@dataclass(frozen=True)
class Version:
    """The first commit of the history with such texts."""

    commit: str

    def __str__(self) -> str:
        return self.commit[:10]

    def extract(self, folder: Path, packages: tuple[str, ...] = PACKAGES) -> Path:
        """Put those of the packages that there were then into the folder; the whole checkout where none is named."""
        named = ["git", "ls-tree", "-d", "--name-only", self.commit, *packages]
        there = subprocess.run(named, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split() if packages else []
        packed = subprocess.run(["git", "archive", "--format=tar", self.commit, *there], cwd=PROJECT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        return folder


def find_versions() -> list[Version]:
    """List the versions, the oldest first, one for all commits with the same texts; empty where there is no history."""
    done = subprocess.run(["git", "rev-list", "--topo-order", "--reverse", "HEAD"], cwd=PROJECT, capture_output=True, text=True)
    found: dict[frozenset[str], Version] = {}
    for commit in done.stdout.split():
        listed = subprocess.run(["git", "ls-tree", "-r", commit, *PACKAGES], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
        texts = frozenset(line.split(maxsplit=2)[2] for line in listed if line.split("\t")[1].startswith(MAKES))
        if commit not in UNABLE and any("services/sql/" in text for text in texts):
            found.setdefault(texts, Version(commit))
    return list(found.values())


def install(server: tuple[str, int], versions: list[tuple[Path, str]], calls: list[tuple[str, dict]]) -> dict[str, str | None]:
    """Run this file as a program; returns for each database what went wrong there, or None."""
    asked = {"server": server, "versions": [[str(folder), database] for folder, database in versions], "calls": calls}
    done = subprocess.run([sys.executable, __file__], input=json.dumps(asked), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _make(folder: str, database: str, server: list, calls: list) -> None:
    sys.path.insert(0, folder)
    import services
    assert services.__file__.startswith(folder), services.__file__
    from esb_config.call import execute
    from services.server import Server, configure
    configure(Server(*server))
    for service, node in calls:
        execute({"SYSServiceID": service, "data": [{"Cluster": {"id": "upgrades", "Node": {"name": "node1", "index": 1, "database": database} | node}}]})


def _main() -> None:
    # once for all children: these do not differ
    import jsonschema  # noqa: F401
    import psycopg2  # noqa: F401
    import yaml  # noqa: F401
    asked = json.load(sys.stdin)
    outcome = {}
    for folder, database in asked["versions"]:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _make(folder, database, asked["server"], asked["calls"])
                os._exit(0)
            except BaseException:
                os.write(write_end, traceback.format_exc()[-3000:].encode())
                os._exit(1)
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            said = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        outcome[database] = (said or f"status {status}") if status else None
    json.dump(outcome, sys.stdout)


if __name__ == "__main__":
    # what is imported is what is in the version's folder
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() not in (PROJECT, Path(__file__).resolve().parent)]
    _main()
