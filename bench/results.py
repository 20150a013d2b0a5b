"""What was measured, kept: bench/results.json has, by rival and part, the conditions and the figures of each round."""

import json
import statistics
from pathlib import Path

from bench import ratios

RESULTS = Path(__file__).parent / "results.json"


class Results:
    """The figures of one rival, by their names; ``parts`` as the file has them."""

    def __init__(self, parts: dict[str, dict]):
        self._parts = parts

    def _rounds(self, name: str) -> tuple[list[float], list[float]] | None:
        for part in self._parts.values():
            if name in part["ours"][0]:
                return [figures[name] for figures in part["ours"]], [figures[name] for figures in part["rival"]]
        return None

    def medians(self, name: str) -> tuple[float, float] | None:
        """Return the medians of pgunison and of the rival; None where it was not measured."""
        found = self._rounds(name)
        return (statistics.median(found[0]), statistics.median(found[1])) if found else None

    def ratio(self, name: str) -> float | None:
        """Return the median of the rounds' ratios; None where it was not measured."""
        found = self._rounds(name)
        text = ratios.ratio(*found) if found else ""
        return float(text) if text else None

    def conditions(self) -> list[str]:
        """List under what was measured, each once."""
        return list(dict.fromkeys(part["conditions"] for part in self._parts.values()))


def load(path: Path = RESULTS) -> dict[str, Results]:
    """Read the results by rival, native and pglogical."""
    return {rival: Results(parts) for rival, parts in json.loads(path.read_text(encoding="utf-8")).items()}


def save(path: Path, rival: str, part: str, conditions: str, ours: list[dict], theirs: list[dict]) -> None:
    """Put the figures of a part in the place of what the file had of it."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found.setdefault(rival, {})[part] = {"conditions": conditions, "ours": [digits(each) for each in ours], "rival": [digits(each) for each in theirs]}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def digits(figures: dict[str, float]) -> dict[str, float]:
    """Round to what a measurement is worth, five digits."""
    return {name: float(f"{value:.5g}") for name, value in figures.items()}
