#!/usr/bin/env python3
"""The door: command line in, exit status out."""

import os
import signal
import sys


def interrupted(number: int, frame: object) -> None:
    """End at once: an exception in the midst of an import may be lost in one of its callbacks."""
    os.write(2, b"error: interrupted\ndetail: nothing was done\nhint: call the same command again\n")
    os._exit(1)


# not where a shell had us ignore it
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, interrupted)
try:
    from pgunison.cli import main
except ModuleNotFoundError as missing:
    if missing.name in ("pgunison", "container", "services", "esb_config"):
        raise
    from pgunison.interpreter import hand_over
    hand_over(missing.name)

if signal.getsignal(signal.SIGINT) is interrupted:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if __name__ == "__main__":
    sys.exit(main())
