"""What the program is called: messages name it as a checkout does, and are told with the name that it was called by."""

import sys
from pathlib import Path

WRITTEN = "python3 orchestrator.py"


def as_called(text: str) -> str:
    """Put the name by which the program was called into a message; the agents' messages, too, which do not know it."""
    return text.replace(WRITTEN, program_name())


def program_name() -> str:
    """Return the words that call the program again."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == "pgunison":
        return "python3 -m pgunison"
    return "pgunison" if called.name == "pgunison" else WRITTEN
