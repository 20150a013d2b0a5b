"""What is shown while something takes time: a line a step; on a terminal the step that runs, too."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Progress:
    """Print each step with its time, to stderr, so that stdout holds results only."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, sentence: str) -> Iterator[None]:
        """Show that the step runs, then that it is done, and how long it took; a step that fails is named, and the error goes on."""
        began = time.monotonic()
        try:
            if self.console.is_terminal:
                with self.console.status(sentence):
                    yield
            else:
                yield
        except BaseException:
            self.console.print(f"  {sentence}: failed", style="red", markup=False, emoji=False)
            raise
        self.console.print(f"  {sentence} ({time.monotonic() - began:.2f} s)", markup=False, emoji=False)

    def say(self, sentence: str) -> None:
        """Print a line between the steps."""
        self.console.print(sentence, style="bold", markup=False, emoji=False)
