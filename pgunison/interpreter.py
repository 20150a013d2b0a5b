"""Which Python runs this: one without the packages hands over to that of ``.venv``. Imports nothing that could be missing."""

import importlib.util
import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
# what is installed with us (setup.cfg), the agents' packages too: they run on this Python
NEEDED = ("click", "cryptography", "docker", "httpx", "jsonrpcserver", "jsonschema", "microesb", "pgdbpool", "psycopg2", "rich", "starlette", "uvicorn", "yaml")


def require_packages() -> None:
    """Go on in ``.venv`` where this Python lacks a package and ``.venv`` is there; else say how to make it, and exit with 1."""
    missing = next((name for name in NEEDED if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        hand_over(missing)


def hand_over(missing: str) -> None:
    """Go on in ``.venv`` for want of a package; does not return."""
    python = PROJECT / ".venv" / "bin" / "python3"
    if python.exists() and Path(sys.prefix).resolve() != python.parents[1].resolve():
        os.execv(python, [str(python), *sys.argv])
    print(f"error: this Python lacks the package {missing}\ndetail: {sys.executable} runs {Path(sys.argv[0]).name}\n"
          "hint: make install, then call it again", file=sys.stderr)
    sys.exit(1)
