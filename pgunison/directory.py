"""Where a cluster's files are on this machine."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgunison.errors import OrchestratorError


def cluster_directory(cluster_id: str, runtime: str) -> Path:
    """Return the directory of a cluster's files; it may not exist. Clusters of two runtimes share none, not even when they have one id.

    ``PGUNISON_STATE`` names the place for all clusters; else it is /var/lib/pgunison for root, because PostgreSQL then runs as another user, who must get
    there, and the user's own state directory for everybody else (XDG base directory specification).
    """
    # no id has a dot
    name = cluster_id if runtime == "process" else f"{cluster_id}.{runtime}"
    given = os.environ.get("PGUNISON_STATE")
    if given:
        return Path(given).absolute() / name
    if os.getuid() == 0:
        return Path("/var/lib/pgunison") / name
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "pgunison" / name


@contextmanager
def only_orchestrator(directory: Path) -> Iterator[None]:
    """Keep other orchestrators from changing the cluster; the system frees the lock of one that is killed."""
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise OrchestratorError(f"{directory} cannot be made", error.strerror or str(error), "set PGUNISON_STATE to a directory that you can write") from error
    with open(directory / "orchestrator.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OrchestratorError("another orchestrator is changing this cluster", f"it holds {lock.name}", "wait until it has ended") from error
        yield
