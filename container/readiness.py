"""Readiness: why the node may not serve, asked by every load balancer every second or two, and therefore remembered for a moment."""

import threading
import time
from collections.abc import Callable
from typing import Any

from pgunison.contract.phase import in_words

# So late may a fault of a table be told. That PostgreSQL has ended, or that its maintenance fails, is told at once.
READY_FOR_S = 5.0
# a verdict that is older is looked for anew when somebody asks
LOOK_AHEAD_S = 2.0


class Readiness:
    """Remember for a moment that there was no reason against it; a reason is looked for again each time, so that its end is told at once.

    ``now`` costs nothing and is always asked, ``look`` asks the database about every table. Both return a reason or None. Who asks regularly does not wait
    for a look: it is made beforehand, in a thread.
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
        left_s = self._ready_until - self._clock()
        if 0 < left_s < READY_FOR_S - LOOK_AHEAD_S and self._looking.acquire(blocking=False):
            try:
                threading.Thread(target=self._look_ahead, name="readiness", daemon=True).start()
            except RuntimeError:
                # the machine has no thread left; whoever comes when the verdict is too old looks himself
                self._looking.release()
        if left_s > 0:
            return None
        with self._looking:
            return None if self._clock() < self._ready_until else self._look_now()

    def _look_ahead(self) -> None:
        """Look in a thread that holds the lock."""
        try:
            if self._look_now() is not None:
                self._ready_until = self._clock()
        finally:
            self._looking.release()

    def _look_now(self) -> str | None:
        asked_at = self._clock()
        reason = self._look()
        if reason is None:
            self._ready_until = asked_at + READY_FOR_S
        return reason


class Answer:
    """What ``GET /ready`` says.

    ``{"ready", "reason"}``, with ``"silent": true`` where PostgreSQL does not answer, and where it does ``"drained": true`` while an
    operator keeps the node out of service, ``"node"``, ``"life"``, ``"position"`` (of its WAL), ``"started"`` and
    ``"lag"``, for each peer ``{"origin", "life", "applied", "seconds"}`` (services/sql/pulse.sql).

    ``beat`` returns why PostgreSQL does not answer at this moment, or None, and those facts; ``reason`` any other reason why the node may not serve.
    """

    def __init__(self, reason: Callable[[], str | None], beat: Callable[[], tuple[str | None, dict[str, Any]]]):
        self._reason, self._beat = reason, beat

    def of(self, max_lag_s: float | None = None) -> dict[str, Any]:
        """Answer for whoever takes rows that are up to so many seconds old; the reason of data comes before that of age."""
        silent, facts = self._beat()
        # asked at each moment, where what is wrong with the data may be known since some seconds
        drained = in_words(facts["drained"]) if facts.get("drained") else None
        reason = silent or self._reason() or drained or (too_old(facts, max_lag_s) if max_lag_s is not None else None)
        said = {"ready": reason is None, "reason": reason} | ({"silent": True} if silent else {}) | ({"drained": True} if drained else {})
        return said | {"node" if key == "name" else key: value for key, value in facts.items() if key != "drained"}


def too_old(facts: dict[str, Any], max_lag_s: float) -> str | None:
    """Say which peers' changes are not here for longer than that, None when all are."""
    if "lag" not in facts:
        return "how far it is behind is not known"
    late = [f"{one['origin']} by {one['seconds']:.1f} s" for one in facts["lag"] if one["seconds"] > max_lag_s]
    return f"it is more than {max_lag_s:g} s behind: {', '.join(late)}" if late else None
