"""Readiness: why the node may not serve, asked by every load balancer every second or two, and therefore remembered for a moment."""

import threading
import time
from collections.abc import Callable

# So late may a fault of a table be told. That PostgreSQL has ended, or that its maintenance fails, is told at once.
READY_FOR_S = 5.0


class Readiness:
    """Remember for a moment that there was no reason against it; a reason is looked for again each time, so that its end is told at once.

    ``now`` costs nothing and is always asked, ``look`` asks the database about every table. Both return a reason or None.
    """

    def __init__(self, now: Callable[[], str | None], look: Callable[[], str | None], clock: Callable[[], float] = time.monotonic):
        self._now, self._look, self._clock = now, look, clock
        self._looking = threading.Lock()
        self._ready_until = clock()

    def reason(self) -> str | None:
        """Return why the node may not serve, None when it may."""
        if (reason := self._now()) is not None:
            self._ready_until = self._clock()
            return reason
        with self._looking:
            if self._clock() < self._ready_until:
                return None
            asked_at = self._clock()
            reason = self._look()
            if reason is None:
                self._ready_until = asked_at + READY_FOR_S
            return reason
