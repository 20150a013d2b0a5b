"""What is said of a definition or a call that is wrong."""


class DefinitionError(Exception):
    """A service definition in YAML is wrong: a fault of the program, found when the definitions are loaded."""


class CallError(Exception):
    """A call document is not what its service's definition asks for; nothing was done.

    ``detail`` names each wrong place by its JSON path.
    """

    def __init__(self, message: str, detail: str = "", hint: str = ""):
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
