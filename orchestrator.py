#!/usr/bin/env python3
"""The door: command line in, exit status out."""

import sys
from pathlib import Path

from pgunison.interpreter import require_packages
from pgunison.interruption import end_at_once

# beside those of pgunison: what tests pgunison itself
COMMANDS = {"chaos": "chaos.command"}

if __name__ == "__main__":
    end_at_once()
    require_packages()
    from pgunison.cli import main
    sys.exit(main(COMMANDS, Path(__file__).resolve().with_name("sysconfig.json")))
