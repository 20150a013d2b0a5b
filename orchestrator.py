#!/usr/bin/env python3
"""The door: command line in, exit status out."""

import sys

try:
    from host.cli import main
except KeyboardInterrupt:
    print("error: interrupted\ndetail: nothing was done\nhint: call the same command again", file=sys.stderr)
    sys.exit(1)
except ModuleNotFoundError as missing:
    if missing.name in ("host", "container", "services", "esb_config"):
        raise
    print(f"error: this Python lacks the package {missing.name}\ndetail: {sys.executable} runs orchestrator.py\n"
          "hint: make install, then .venv/bin/python3 orchestrator.py", file=sys.stderr)
    sys.exit(1)

if __name__ == "__main__":
    sys.exit(main())
