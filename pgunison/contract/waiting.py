"""Waiting: every wait has a deadline, and says what it waited for and what it last saw."""

import time
from collections.abc import Callable
from typing import Any


class Late(TimeoutError):
    """What was waited for did not come in time; ``last`` is why not, as it was seen last."""

    def __init__(self, message: str, last: str = ""):
        super().__init__(message)
        self.last = last


def wait_until(pending: Callable[[], Any], what: str, timeout_s: float = 30.0, pause_s: float = 0.02, longest_pause_s: float | None = None) -> None:
    """Wait until ``pending()`` is None; Late with what it said last when it takes longer.

    With ``longest_pause_s`` each pause is twice as long as the one before, up to that: for a wait that may last, of which each question costs somebody.
    """
    deadline = time.monotonic() + timeout_s
    while (reason := pending()) is not None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise Late(f"waited {timeout_s:.0f} s until {what}; at last: {reason}", str(reason))
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, longest_pause_s) if longest_pause_s else pause_s
