"""Waiting: every wait has a deadline, and says what it waited for and what it last saw."""

import time
from collections.abc import Callable
from typing import Any


class Late(TimeoutError):
    """What was waited for did not come in time; ``last`` is why not, as it was seen last."""

    def __init__(self, message: str, last: str = ""):
        super().__init__(message)
        self.last = last


def wait_until(pending: Callable[[], Any], what: str, timeout_s: float = 30.0, pause_s: float = 0.02) -> None:
    """Wait until ``pending()`` is None; Late with what it said last when it takes longer."""
    deadline = time.monotonic() + timeout_s
    while (reason := pending()) is not None:
        if time.monotonic() > deadline:
            raise Late(f"waited {timeout_s:.0f} s until {what}; at last: {reason}", str(reason))
        time.sleep(pause_s)
