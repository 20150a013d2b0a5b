"""What the command line says when it cannot go on, and the exit status."""

from pgunison.contract.errors import ExplainedError


class OrchestratorError(ExplainedError):
    """The command failed."""

    exit_status = 1

    def __str__(self) -> str:
        lines = [f"error: {self.message}"]
        lines += [f"detail: {self.detail}"] if self.detail else []
        lines += [f"hint: {self.hint}"] if self.hint else []
        return "\n".join(lines)


class UsageError(OrchestratorError):
    """The command line or the configuration is wrong; nothing was changed."""

    exit_status = 2


class NotConverged(OrchestratorError):
    """The nodes do not hold the same rows."""

    exit_status = 3
