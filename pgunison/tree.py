"""Where the folders are that stand beside pgunison in a checkout. Installed, they lie below it: their names are too common for the top of site-packages."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_INSTALLED = PACKAGE / "_tree"
INSTALLED = _INSTALLED.is_dir()
# holds container, esb_config, services and tests, docker-build.sh and setup.cfg
TREE = _INSTALLED if INSTALLED else PACKAGE.parent


def python_path() -> str:
    """Return the PYTHONPATH of a process that imports them by name, as an agent does."""
    return os.pathsep.join(dict.fromkeys(map(str, (TREE, PACKAGE.parent))))
