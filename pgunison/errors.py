"""What the command line says when it cannot go on: message, detail, hint, and the exit status."""


class OrchestratorError(Exception):
    """The command failed.

    ``message`` is one short factual line, ``detail`` what was seen, ``hint`` the next step (a command where there is one).
    """

    exit_status = 1

    def __init__(self, message: str, detail: str = "", hint: str = ""):
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

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
