"""The figure and the ten lines of bench/README.md, made of bench/results.json: ``python3 -m bench.figure``."""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from bench import ratios
from bench.results import Results, load

HERE = Path(__file__).parent
FIGURE, README = HERE / "figure.svg", HERE / "README.md"
BEGIN, END = "<!-- made by python3 -m bench.figure: begin -->\n", "<!-- made by python3 -m bench.figure: end -->\n"


@dataclass(frozen=True)
class Line:
    """A line of the table: what is done, what is measured, its name in the results. Of a time or a cost less is better."""

    work: str
    measured: str
    name: str
    less: bool = False


VERBS = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}
DRAWN = (
    *(Line(f"{verb} of one row", "transactions a second", f"{verb}, transactions a second") for verb in VERBS),
    *(Line(f"{verb} of 200,000 rows", "until visible everywhere, s", f"{past}, until visible everywhere, s", less=True) for verb, past in VERBS.items()))
LINES = (
    *DRAWN,
    *(Line(f"{verb} of one row", "processor time of all nodes, us", f"{verb}, processor time a transaction, all nodes, us", less=True) for verb in VERBS),
    Line("half of the load that both sustain", "lag p50, ms", "lag p50, ms", less=True))

WIDTH, LABEL, BAR, ROW, TOP = 860, 330, 420, 46, 64
STYLE = """text{font:14px system-ui,sans-serif;fill:#1f2328}.s{font-size:12px;fill:#59636e}.n{fill:#2f5d8a}.p{fill:#c77f2f}.a{stroke:#59636e;stroke-width:1}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9aa4af}.n{fill:#79b8f0}.p{fill:#f0a35e}.a{stroke:#9aa4af}}"""


def speed(results: Results, line: Line) -> float | None:
    """Return how many times as fast as the rival pgunison is; None where it was not measured."""
    ratio = results.ratio(line.name)
    return ratio if ratio is None or not line.less else 1 / ratio


def table(results: dict[str, Results]) -> str:
    """Write the lines in Markdown, and under them the conditions."""
    rivals = [rival for rival in ("native", "pglogical") if rival in results]
    heads = {"native": "native mesh | ratio", "pglogical": "ratio to pglogical"}
    text = [f"| | pgunison | {' | '.join(heads[rival] for rival in rivals)} |", "|---|---:|---:|---:|" + "---:|" * ("pglogical" in rivals)]
    for line in LINES:
        medians = results["native"].medians(line.name)
        if medians is None:
            continue
        cells = [*map(ratios.shown, medians), *(_cell(results[rival].ratio(line.name)) for rival in rivals)]
        text.append(f"| {line.work}, {line.measured} | {' | '.join(cells)} |")
    said = [textwrap.fill(f"- {rival}: {'; '.join(results[rival].conditions())}", 100, subsequent_indent="  ") for rival in rivals]
    return "\n".join([*text, "", *said]) + "\n"


def _cell(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def figure(results: dict[str, Results]) -> str:
    """Draw how fast pgunison is where each rival is 1, a bar for each; longer is faster."""
    rivals = [(rival, css) for rival, css in (("native", "n"), ("pglogical", "p")) if rival in results]
    speeds = {(rival, line.name): speed(results[rival], line) for rival, _ in rivals for line in DRAWN}
    scale = BAR / max(1.0, *(found for found in speeds.values() if found))
    height = TOP + ROW * len(DRAWN) + 16
    shapes = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Speed of pgunison beside its rivals">',
              f"<style>{STYLE}</style>", '<text x="0" y="18">How fast pgunison is, where the rival is 1.0 (longer is faster)</text>']
    for number, (rival, css) in enumerate(rivals):
        x = LABEL + 240 * number
        title = {"native": "a native mesh, which diverges", "pglogical": "pglogical, last_update_wins"}[rival]
        shapes += [f'<rect class="{css}" x="{x}" y="32" width="12" height="12"/>', f'<text class="s" x="{x + 18}" y="42">{title}</text>']
    for row, line in enumerate(DRAWN):
        y = TOP + ROW * row
        shapes.append(f'<text x="{LABEL - 10}" y="{y + 22}" text-anchor="end">{escape(line.work)}</text>')
        for number, (rival, css) in enumerate(rivals):
            found = speeds[rival, line.name]
            if found is not None:
                at = y + 4 + 17 * number
                shapes += [f'<rect class="{css}" x="{LABEL}" y="{at}" width="{found * scale:.1f}" height="14" rx="2"/>',
                           f'<text class="s" x="{LABEL + found * scale + 6:.1f}" y="{at + 11}">{found:.2f}</text>']
    one = LABEL + scale
    shapes += [f'<line class="a" x1="{one:.1f}" x2="{one:.1f}" y1="{TOP - 6}" y2="{height - 14}" stroke-dasharray="3 3"/>', "</svg>"]
    return "\n".join(shapes) + "\n"


def with_table(text: str, made: str) -> str:
    """Return the text of README.md with that table in the place of the one that it has."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + made + END + rest.partition(END)[2]


def main() -> None:
    results = load()
    FIGURE.write_text(figure(results), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), table(results)), encoding="utf-8")


if __name__ == "__main__":
    main()
