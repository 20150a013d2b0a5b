"""A disk that can be full: a file system in memory under a node's directory, which shrinks to what is used and grows again."""

import os
import subprocess
import tempfile
from pathlib import Path

from pgunison.errors import OrchestratorError

SIZE_BYTES = 3 * 2**30
# what is left free, tried in this order: a file system cannot shrink below what was written since we looked
SPARE_BYTES = (0, 0, 0, 2**16, 2**18, 2**20, 2**22)


def impossible() -> str | None:
    """Try it on an empty directory; returns why this user can make no file system here, None when it can."""
    with tempfile.TemporaryDirectory(prefix="pgunison-chaos-") as name:
        folder = Path(name) / "disk"
        try:
            mount(folder)
            fill(folder)
        except OrchestratorError as error:
            return error.detail
        finally:
            unmount(folder)
    return None


def mount(folder: Path) -> None:
    """Put an empty file system at the folder; it takes memory only for what is in it."""
    folder.mkdir(mode=0o755, parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=755", "pgunison-chaos", str(folder))


def fill(folder: Path) -> None:
    """Leave no room, or next to none. OrchestratorError when the server writes faster than that."""
    for spare in SPARE_BYTES:
        found = os.statvfs(folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        try:
            # a size of 0 would be none
            return _run("mount", "-o", f"remount,size={max(found.f_frsize, used + spare)}", str(folder))
        except OrchestratorError as error:
            last = error
    raise last


def free(folder: Path) -> None:
    """Give the space back."""
    _run("mount", "-o", f"remount,size={SIZE_BYTES}", str(folder))


def unmount(folder: Path) -> None:
    """Take the file system away, with all that is in it."""
    if os.path.ismount(folder):
        _run("umount", str(folder))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OrchestratorError(f"{command[0]} does not work here", done.stderr.strip()[-300:], "leave the full disk out: chaos --faults -disk")
