"""What a service answers when it cannot do what was asked."""

from pgunison.contract.errors import ExplainedError


class ServiceError(ExplainedError):
    """The service refused or failed, and says why."""
