"""Cluster: the root of every service call."""

from typing import Any

from microesb import microesb

from services.result import Result


class Cluster(microesb.ClassHandler):
    """The cluster that the call is for.

    microesb throws return values away and swallows exceptions of methods below the root, so the root's ``execute`` is the one method it
    calls; that one walks to the object which the definition names and keeps the result. ``path`` and ``method`` come
    from the definition, never from a caller.
    """

    id: str
    path: list[str]
    method: str
    answer: dict[str, Any]

    def execute(self) -> None:
        """Call the definition's method on the object at the end of the definition's path."""
        target: Any = self
        for name in self.path:
            target = getattr(target, name)
        result: Result = getattr(target, self.method)()
        self.answer = result.as_dict()
