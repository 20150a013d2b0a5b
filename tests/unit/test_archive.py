"""pgunison/runtime/archive.py: files for a container, and the end of the logs that come out of it."""

import io
import tarfile
from pathlib import Path

import pytest

from pgunison.runtime.archive import last_lines, pack


def test_what_is_packed_is_its_owners_alone():
    packed = pack([Path("/etc/pgunison")], {Path("/etc/pgunison/agent-token"): b"secret\n"}, 999)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        directory, file = archive.getmembers()
        assert (directory.name, directory.isdir(), directory.mode, directory.uid, directory.gid) == ("etc/pgunison", True, 0o700, 999, 999)
        assert (file.name, file.mode, file.uid, file.gid) == ("etc/pgunison/agent-token", 0o600, 999, 999)
        assert archive.extractfile(file).read() == b"secret\n"


def logs(**files: tuple[int, bytes]) -> bytes:
    """Make an archive of files by name: when it was written, and what it holds."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, (written, content) in files.items():
            member = tarfile.TarInfo(f"log/{name}")
            member.mtime, member.size = written, len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize("size", [1, 100, 512, 10**6])
def test_the_last_lines_of_each_file_come_with_the_newest_file_at_the_end(size):
    archive = logs(monday=(20, b"one\ntwo\nthree \xff\n"), tuesday=(10, b"older\n"), empty=(30, b""), large=(5, b"x" * 5000 + b"\nend"))
    chunks = [archive[at:at + size] for at in range(0, len(archive), size)]
    assert last_lines(chunks, 2) == [("log/large", ["x" * 5000 + "\n", "end"]), ("log/tuesday", ["older\n"]), ("log/monday", ["two\n", "three \ufffd\n"])]
