"""The standard output, with errors of its own: a full disk under it is no fault of ours, and not one of the files that we write."""

import errno
import io
import os
import sys
from typing import Any


class OutputError(OSError):
    """The standard output cannot be written to."""


class _Output(io.FileIO):
    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            raise OutputError(error.errno, os.strerror(error.errno or 0)) from error


class _Closed(io.TextIOBase):
    """Stands for an output that was closed by whoever called us."""

    def write(self, text: str) -> int:
        raise OutputError(errno.EBADF, os.strerror(errno.EBADF))


def guard() -> None:
    """From here on whatever goes wrong with the standard output raises OutputError, and nothing else does."""
    if sys.stdout is None:
        # its number must not become that of a file of ours, which our children would write to
        os.open(os.devnull, os.O_WRONLY)
        sys.stdout = _Closed()
    elif sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)), encoding=sys.stdout.encoding,
                                      errors=sys.stdout.errors, line_buffering=sys.stdout.line_buffering)


def give_up() -> None:
    """Throw away what could not be written, so that the interpreter does not try again when it ends."""
    if not isinstance(sys.stdout, _Closed):
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
