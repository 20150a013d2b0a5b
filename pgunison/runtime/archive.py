"""Archives: how files get into a container and out of it, also when it does not run."""

import collections
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def pack(directories: Iterable[Path], files: dict[Path, bytes], owner: int) -> bytes:
    """Pack directories and files that only their owner, a user id, may read; the paths are absolute, and unpacked at the root."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in directories:
            _add(archive, path, tarfile.DIRTYPE, 0o700, owner)
        for path, content in files.items():
            _add(archive, path, tarfile.REGTYPE, 0o600, owner, content)
    return packed.getvalue()


def last_lines(chunks: Iterable[bytes], count: int) -> list[tuple[str, list[str]]]:
    """Return the name and the last lines of each file in an archive that comes piece by piece, the file that was written last at the end."""
    found = []
    # as it comes, because a day's log may be large
    with tarfile.open(fileobj=io.BufferedReader(Chunks(chunks)), mode="r|") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() and member.size else None
            if file is not None:
                lines = collections.deque(file, count)
                found.append((member.mtime, member.name, [line.decode(errors="replace") for line in lines]))
    return [(name, lines) for _, name, lines in sorted(found)]


class Chunks(io.RawIOBase):
    """A file to read from, of what comes piece by piece."""

    def __init__(self, chunks: Iterable[bytes]):
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _add(archive: tarfile.TarFile, path: Path, kind: bytes, mode: int, owner: int, content: bytes = b"") -> None:
    member = tarfile.TarInfo(str(path).lstrip("/"))
    member.type, member.mode, member.uid, member.gid, member.size = kind, mode, owner, owner, len(content)
    archive.addfile(member, io.BytesIO(content))
