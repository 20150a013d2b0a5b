"""The one form of all errors: message, detail, hint."""


class ExplainedError(Exception):
    """``message`` is one short factual line, ``detail`` what was seen, ``hint`` the next step (a command where there is one)."""

    def __init__(self, message: str, detail: str = "", hint: str = ""):
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
