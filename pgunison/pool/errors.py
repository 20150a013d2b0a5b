"""What a pool raises beside PostgreSQL's own errors (psycopg2.Error), which come as they are."""

from pgunison.errors import OrchestratorError


class PoolError(OrchestratorError):
    """A pool cannot do what it was asked to."""


class Unavailable(PoolError):
    """No node can serve within the time. Nothing of the block was done."""


class ConnectionLost(Unavailable):
    """The connection was lost while the block was at work, before COMMIT. Nothing of what it did stands: it may be done again.

    ``node`` is where it happened.
    """

    def __init__(self, message: str, detail: str, hint: str, node: str):
        super().__init__(message, detail, hint)
        self.node = node


class UnknownOutcome(PoolError):
    """The connection was lost in COMMIT, or in a statement that commits by itself: what was done may stand or not. Never done again silently.

    ``node`` is where it happened; :meth:`outcome` asks it, when it is back.
    """

    def __init__(self, message: str, detail: str, hint: str, node: str):
        super().__init__(message, detail, hint)
        self.node = node
