"""What an interruption (Ctrl-C) does while the program is still being imported. Imports nothing that takes time."""

import os
import signal


def end_at_once() -> None:
    """From here on an interruption ends the process: an exception in the midst of an import may be lost in one of its callbacks."""
    # not where a shell had us ignore it
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_as_usual() -> None:
    """From here on an interruption is a KeyboardInterrupt again, because there is something to clean up."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: object) -> None:
    os.write(2, b"error: interrupted\ndetail: nothing was done\nhint: call the same command again\n")
    os._exit(1)
