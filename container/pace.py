"""The pace at which an apply worker that ended is started again: at once after a conflict of locks, now and then when it fails for good."""

import logging
from typing import Any, Protocol

# wal_retrieve_retry_interval, in milliseconds; PostgreSQL counts it from the start of the worker, so one that had run for longer is not held up
QUICKEST_MS = 200
SLOWEST_MS = 10_000
# a peer that is away may be back any moment
SLOWEST_UNCONNECTED_MS = 2_000
# what fails in so many rounds in a row does not fail by chance
ROUNDS = 3

logger = logging.getLogger(__name__)


class Server(Protocol):
    """What the pacer needs of a server."""

    def set_retry_interval(self, interval_ms: int) -> None:
        """Let workers be started again no sooner than that after their last start."""


class Pace:
    """The interval, by what each round of maintenance has seen. No I/O."""

    def __init__(self) -> None:
        self.interval_ms = QUICKEST_MS
        self._errors: int | None = None
        self._failed, self._quiet_ms = 0, 0

    def next(self, errors: int, unconnected: int, round_ms: int) -> int:
        """Return the interval after a round: ``errors`` is how often apply workers have failed since ever, ``unconnected`` how many enabled
        subscriptions have no worker that receives."""
        rose = self._errors is not None and errors > self._errors
        self._errors = errors
        if rose or unconnected:
            self._failed, self._quiet_ms = self._failed + 1, 0
            slowest = SLOWEST_MS if rose else max(SLOWEST_UNCONNECTED_MS, self.interval_ms)
            if self._failed >= ROUNDS:
                self.interval_ms = min(slowest, self.interval_ms * 2)
        else:
            self._quiet_ms += round_ms
            # at this pace it would have failed again by now
            if self.interval_ms == QUICKEST_MS or self._quiet_ms > self.interval_ms + round_ms:
                self.interval_ms, self._failed = QUICKEST_MS, 0
        return self.interval_ms


class Pacer:
    """Tell the server the pace, whenever it changes."""

    def __init__(self, server: Server, round_s: float):
        self._server, self._round_ms, self._pace = server, int(round_s * 1000), Pace()
        self._told_ms = QUICKEST_MS

    def see(self, answer: dict[str, Any]) -> None:
        """Take in what a round of maintenance answered; a round that failed says nothing of workers."""
        if "apply_errors" not in answer:
            return
        wanted_ms = self._pace.next(answer["apply_errors"], answer["unconnected"], self._round_ms)
        if wanted_ms == self._told_ms:
            return
        try:
            self._server.set_retry_interval(wanted_ms)
        except OSError as error:
            # a full disk; the next round tries again
            logger.warning("apply workers that fail keep their pace of %d ms: %s", self._told_ms, error)
            return
        self._told_ms = wanted_ms
        logger.info("apply workers that fail are started again after %d ms", wanted_ms)
