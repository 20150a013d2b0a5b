"""The spread: how many statements went to which node, and how long each took."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """The statements of one group on one node."""

    group: str
    node: str
    statements: int
    median_ms: float
    p99_ms: float


class Spread:
    """Collect times of statements by group and node; threads may share it."""

    def __init__(self):
        # appending to a list is safe between threads
        self._times: list[tuple[str, str, float]] = []

    @contextmanager
    def measured(self, group: str, node: str) -> Iterator[None]:
        """Count what the block does as one statement; one that fails counts, too."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._times.append((group, node, (time.perf_counter() - began) * 1000))

    def lines(self) -> list[Line]:
        """Sum up, in the order of group and node."""
        by_place: dict[tuple[str, str], list[float]] = {}
        for group, node, time_ms in self._times:
            by_place.setdefault((group, node), []).append(time_ms)
        return [Line(*place, len(times), statistics.median(times), percentile(times, 99)) for place, times in sorted(by_place.items())]


def percentile(values: list[float], percent: int) -> float:
    """Return the least value that so many percent of the values do not exceed (nearest rank)."""
    return sorted(values)[-(-len(values) * percent // 100) - 1]
