"""The heart: whether PostgreSQL answers at this moment. Who asks never waits for long, however long a server stands still."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from services.errors import ServiceError

# So long may PostgreSQL take for one cheap question before the node does not serve; a machine that is busy needs a part of it.
PATIENCE_S = 0.4
# several load balancers that ask at once get one answer
FRESH_S = 0.05

logger = logging.getLogger(__name__)


class Heart:
    """Put one question at a time, each in a thread of its own, and tell its answer to everybody who asks meanwhile.

    ``ask`` answers what a load balancer wants to know (services/pulse.py) or raises ServiceError: then PostgreSQL is there, and the reason why it is of no
    use is the readiness' to say (container/readiness.py).
    """

    def __init__(self, ask: Callable[[], dict[str, Any]], patience_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic):
        self._ask, self._patience_s, self._clock = ask, patience_s, clock
        self._answered = threading.Condition()
        self._asking = False
        self._asked_at = self._answered_at = clock() - FRESH_S
        self._facts: dict[str, Any] = {}
        self._failure = ""

    def beat(self) -> tuple[str | None, dict[str, Any]]:
        """Return for how long PostgreSQL has not answered, in words, None when it does; and what it answered, nothing when it failed to."""
        with self._answered:
            if not self._asking:
                if self._clock() - self._answered_at < FRESH_S:
                    return None, self._facts
                try:
                    threading.Thread(target=self._question, name="pulse", daemon=True).start()
                except RuntimeError as error:
                    # the machine has no thread left, which says nothing of PostgreSQL; whoever asks next tries again
                    self._fail(f"PostgreSQL cannot be asked: {error}")
                    return None, {}
                self._asking, self._asked_at = True, self._clock()
            # who comes while a question stands long open need not wait for it again
            self._answered.wait_for(lambda: not self._asking, self._asked_at + self._patience_s - self._clock())
            if self._asking:
                return f"PostgreSQL has not answered for {self._clock() - self._asked_at:.1f} s", {}
            return None, self._facts

    def _question(self) -> None:
        facts, failure = {}, ""
        try:
            facts = self._ask()
        except ServiceError as error:
            failure = f"{error.message}: {error.detail}"
        except Exception as error:
            # nobody else would ever ask again
            failure = f"a fault of the agent: {type(error).__name__}: {error}"
        with self._answered:
            self._fail(failure)
            self._facts, self._answered_at, self._asking = facts, self._clock(), False
            self._answered.notify_all()

    def _fail(self, failure: str) -> None:
        """Remember why the last question failed, nothing when it did not, and log what is new. Under the lock."""
        if failure and failure != self._failure:
            logger.warning("%s", failure)
        self._failure = failure
