"""What the three tests by hand share. Imported before anything else of theirs, it says what to do when this Python lacks a package."""

import sys
from pathlib import Path

try:
    import pgunison.cli
    import pgunison.pool  # noqa: F401
except ModuleNotFoundError as missing:
    if missing.name in ("pgunison", "container", "services", "esb_config"):
        raise
    script = Path(sys.argv[0]).name
    print(f"error: this Python lacks the package {missing.name}\ndetail: {sys.executable} runs {script}\n"
          f"hint: make install, then .venv/bin/python3 tests/{script}", file=sys.stderr)
    sys.exit(1)
