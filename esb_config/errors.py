"""What is said of a definition or a call that is wrong."""

from pgunison.contract.errors import ExplainedError


class DefinitionError(Exception):
    """A service definition in YAML is wrong: a fault of the program, found when the definitions are loaded."""


class CallError(ExplainedError):
    """A call document is not what its service's definition asks for; nothing was done.

    ``detail`` names each wrong place by its JSON path.
    """
