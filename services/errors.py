"""What a service answers when it cannot do what was asked."""


class ServiceError(Exception):
    """The service refused or failed, and says why: ``message`` (short, factual), ``detail`` (what was seen), ``hint`` (what to do)."""

    def __init__(self, message: str, detail: str = "", hint: str = ""):
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
