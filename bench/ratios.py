"""Figures of both sides side by side, as a table in Markdown."""

import statistics

INFINITE = float("inf")


def table(ours: list[dict[str, float]], native: list[dict[str, float]], deadline_s: float | None = None) -> str:
    """Write a row for each figure: the median of the rounds, the least and the most, and pgunison's median as a multiple of the mesh's.

    A figure that is infinite was not reached within ``deadline_s``.
    """
    lines = ["| | pgunison | native mesh | ratio |", "|---|---:|---:|---:|"]
    for name in ours[0]:
        mine, theirs = [figures[name] for figures in ours], [figures[name] for figures in native]
        lines.append(f"| {name} | {spread(mine, deadline_s)} | {spread(theirs, deadline_s)} | {ratio(mine, theirs)} |")
    return "\n".join(lines)


def spread(values: list[float], deadline_s: float | None = None) -> str:
    """Write the median, and behind it the least and the most when there are several."""
    median = statistics.median(values)
    if median == INFINITE:
        return f"over {deadline_s:.0f} s" if deadline_s else "never"
    return shown(median) if len(values) == 1 else f"{shown(median)} ({shown(min(values))} to {shown(max(values))})"


def shown(value: float) -> str:
    """Write three digits that count."""
    if value == INFINITE:
        return "never"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def ratio(ours: list[float], native: list[float]) -> str:
    """Write how many times the mesh's median ours is; nothing where the mesh has none of it."""
    mine, theirs = statistics.median(ours), statistics.median(native)
    return "" if theirs == 0 or INFINITE in (mine, theirs) else f"{mine / theirs:.2f}"
