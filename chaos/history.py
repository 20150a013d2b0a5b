"""The history of keys that are written again and again: what was acknowledged, and what a row may be after that. No I/O."""

import collections
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Version = tuple[Any, ...]
REMEMBERED = 12


@dataclass(frozen=True)
class Effect:
    """What an operation did to a key: ``version`` is the row's that it left, or the row's that it deleted; ``how`` is told to people.
    ``table`` is named where a workload has several.
    """

    key: str
    version: Version
    value: str | None
    deleted: bool = False
    how: str = ""
    table: str = ""


class Life:
    """What is known of one key."""

    def __init__(self):
        self.best: tuple[Version, str | None, str] | None = None
        self.deleted: Version | None = None
        self.may_be_deleted = False
        self.recent: collections.deque[str] = collections.deque(maxlen=REMEMBERED)


class History:
    """Collect acknowledged effects by key; threads may share it.

    Without versions there is nothing to compare: a target that has none leaves the history empty.
    """

    def __init__(self):
        self.lives: collections.defaultdict[str, Life] = collections.defaultdict(Life)
        self.count = 0
        self._lock = threading.Lock()

    def add(self, node: str, effects: Iterable[Effect]) -> None:
        with self._lock:
            for effect in effects:
                self.count += 1
                life = self.lives[effect.key]
                if effect.deleted:
                    life.deleted = max(life.deleted or effect.version, effect.version)
                elif life.best is None or effect.version > life.best[0]:
                    life.best = (effect.version, effect.value, node)
                did = "deleted" if effect.deleted else f"wrote {effect.value!r} as"
                life.recent.append(f"{node} {did} {shown(effect.version)}{effect.how}")

    def may_delete(self, keys: Iterable[str], told: str = "") -> None:
        """Remember that an operation that was not refused may have deleted rows of these keys; ``told`` says which, when its effects do not."""
        with self._lock:
            for key in keys:
                self.lives[key].may_be_deleted = True
                if told:
                    self.lives[key].recent.append(told)

    def fault(self, key: str, version: Version | None, value: str | None) -> str | None:
        """Say why a row of this version, or none, is not what was acknowledged, or return None.

        The row is the newest that was acknowledged or a newer one, of an operation that ended unknown or was stamped again as it ended. It is newer than any
        that was deleted. A row that is not there was deleted, as far as anybody can tell.
        """
        life = self.lives.get(key)
        if life is None:
            return None
        if version is None:
            return "is gone, and nobody deleted it" if life.best and not life.deleted and not life.may_be_deleted else None
        if life.best and version < life.best[0]:
            return f"lost {life.best[1]!r} of {shown(life.best[0])}, acknowledged by {life.best[2]}"
        if life.best and version == life.best[0] and value != life.best[1]:
            return f"holds another value than {life.best[1]!r}, which {life.best[2]} acknowledged with this version"
        if life.deleted and version <= life.deleted:
            return f"is back, though the row of {shown(life.deleted)} was deleted"
        return None

    def told(self, key: str) -> str:
        """Tell the last that is known of a key."""
        life = self.lives.get(key)
        return "; ".join(life.recent) if life else "nothing was acknowledged"


def shown(version: Version) -> str:
    """Write a version for people."""
    return " ".join(str(part) for part in version)
