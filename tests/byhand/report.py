"""What a test prints while it runs: sentences, the spread of its statements, and each thing that was checked."""

from rich.console import Console
from rich.table import Table

from byhand.spread import Spread


class Report:
    """Print to stdout; plain in a pipe."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console(highlight=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print a line."""
        self._console.print(sentence, markup=False)

    def checked(self, sentence: str) -> None:
        """Print what was checked and holds."""
        self._console.print(f"  {sentence}", markup=False)

    def spread(self, spread: Spread, counted: str = "statements") -> None:
        """Print how many statements, or what else was counted, each group had on each node, and how long they took."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("group", "node"):
            table.add_column(name)
        for name in (counted, "median ms", "p99 ms"):
            table.add_column(name, justify="right")
        for line in spread.lines():
            table.add_row(line.group, line.node, str(line.statements), f"{line.median_ms:.1f}", f"{line.p99_ms:.1f}")
        self._console.print()
        self._console.print(table)
        self._console.print()
