"""Figures of both sides side by side, as a table in Markdown."""

import statistics

INFINITE = float("inf")


def table(ours: list[dict[str, float]], rivals: list[dict[str, float]], deadline_s: float | None = None, rival: str = "native mesh") -> str:
    """Write a row for each figure: the median of the rounds, the least and the most, of pgunison and of the ``rival``, and :func:`ratio`.

    A figure that is infinite was not reached within ``deadline_s``.
    """
    lines = [f"| | pgunison | {rival} | ratio |", "|---|---:|---:|---:|"]
    for name in ours[0]:
        mine, theirs = [figures[name] for figures in ours], [figures[name] for figures in rivals]
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


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Write how many times the rival's figure ours is: the median over the rounds, each of which measured one behind the other. What else ran meanwhile
    was mostly the same for both. Nothing where the rival has none of it, or where most rounds were not reached."""
    if 0 in theirs or INFINITE in theirs:
        return ""
    found = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    return "" if found == INFINITE else f"{found:.2f}"
