"""What a service answers: what it did, what it found done, and what was asked for."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Result:
    """Collect sentences while a service works.

    ``done`` lists what this call changed; a repeated call leaves it empty. ``data`` holds what was asked for.
    """

    done: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"changed": bool(self.done), "done": self.done, **self.data}
