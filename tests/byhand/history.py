"""The history: what writers did to which key and with which answer, and what a row must be after that. No I/O."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from byhand.run import Row, shown

Version = tuple[datetime, int]


@dataclass(frozen=True)
class Operation:
    """One transaction on one key.

    ``outcome`` is ok, missed (there was no such row), failed (it left nothing) or unknown (the connection was lost: it may stand). ``value`` is
    what it leaves in col2, None when it deletes; ``version`` that of the row, when it was acknowledged.
    """

    key: int
    node: str
    outcome: str
    value: str | None
    version: Version | None = None


class History:
    """Collect operations by key; threads may share it."""

    def __init__(self):
        self.operations: list[Operation] = []

    def add(self, operation: Operation) -> None:
        self.operations.append(operation)

    def of(self, keys: set[int]) -> dict[int, list[Operation]]:
        """Return the operations of these keys: ``{key: operations}``."""
        found = defaultdict(list)
        for operation in self.operations:
            if operation.key in keys:
                found[operation.key].append(operation)
        return found

    def count(self, outcome: str) -> int:
        """Count the operations that ended so."""
        return sum(operation.outcome == outcome for operation in self.operations)


def fault(operations: list[Operation], row: Row | None) -> str | None:
    """Say why a row is not what the operations on its key demand, or return None.

    A row that is there holds the greatest version that was acknowledged, with its value, or that of an operation whose outcome is unknown. A row that is
    not there was deleted by someone. No version was given twice.
    """
    written = {operation.version: operation for operation in operations if operation.version is not None}
    acknowledged = [operation for operation in operations if operation.version is not None]
    if len(written) < len(acknowledged):
        return f"{len(acknowledged)} writes share {len(written)} versions"
    may_stand = [operation for operation in operations if operation.outcome in ("ok", "unknown")]
    if row is None:
        return None if any(operation.value is None for operation in may_stand) else "has no row, and nobody deleted it"
    last = max(written)
    if row.version == last and row.col2 == written[last].value:
        return None
    if row.version > last and any(operation.outcome == "unknown" and operation.value == row.col2 for operation in operations):
        return None
    return f"holds {shown(row)}; the last of {len(written)} versions is {written[last].value!r} of {last[0]} by node {last[1]}"
