"""The conditions of a measurement, in one line."""

import datetime
import os
import platform
import subprocess
from pathlib import Path


def conditions(binaries: Path) -> str:
    """Say when, on what and with which PostgreSQL was measured."""
    version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return (f"{datetime.date.today()}, {os.cpu_count()} cores ({platform.machine()}, shared), {platform.system()} {platform.release()}, "
            f"Python {platform.python_version()}, {version}")
