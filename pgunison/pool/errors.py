"""What a pool raises beside PostgreSQL's own errors (psycopg2.Error), which come as they are."""

from collections.abc import Callable

from pgunison.errors import OrchestratorError


class PoolError(OrchestratorError):
    """A pool cannot do what it was asked to."""


class Unavailable(PoolError):
    """No node can serve within the time, or no longer. Nothing of the block stands."""


class ConnectionLost(Unavailable):
    """The connection was lost while the block was at work, before any COMMIT. Nothing of what it did stands: it may be done again.

    ``node`` is where it happened.
    """

    def __init__(self, message: str, detail: str, hint: str, node: str):
        super().__init__(message, detail, hint)
        self.node = node


class PartlyCommitted(PoolError):
    """The connection was lost when a part of the block was committed. That part stands, the rest does not; the whole block again would do the part twice.

    ``node`` is where it happened.
    """

    def __init__(self, message: str, detail: str, hint: str, node: str):
        super().__init__(message, detail, hint)
        self.node = node


class UnknownOutcome(PoolError):
    """The connection was lost in COMMIT, or in a statement that commits by itself: what was done may stand or not. Never done again silently.

    ``node`` is where it happened.
    """

    def __init__(self, message: str, detail: str, hint: str, node: str, ask: Callable[[], str] | None = None):
        super().__init__(message, detail, hint)
        self.node = node
        self._ask = ask

    def outcome(self) -> str:
        """Ask the node whether the transaction stands: ``committed``, ``aborted``, or ``unknown``.

        Unknown while the node does not answer or its session has not ended there, and for good when the node was made anew, the transaction is too long ago,
        or the group commits each statement by itself: then PostgreSQL never told its number.
        """
        return self._ask() if self._ask is not None else "unknown"
