"""Which configuration a cluster runs by: it was found right, and need not be checked again while neither it nor the rules change.

To load what checks takes longer than everything else that ``dsn`` does.
"""

import hashlib
from pathlib import Path
from typing import Any

from pgunison.contract import names
from pgunison.directory import cluster_directory
from pgunison.files import write_whole

FILE = "approved"
RULES = tuple(Path(__file__).with_name(name) for name in ("sysconfig.schema.json", "checks.py", "column_types.py")) + (Path(names.__file__),)


def digest(text: str) -> str:
    """Name a configuration together with the rules that it was checked by."""
    found = hashlib.sha256()
    for content in (*(path.read_bytes() for path in RULES), text.encode()):
        found.update(f"{len(content)}\n".encode() + content)
    return found.hexdigest()


def approve(directory: Path, name: str) -> None:
    """Remember in the cluster's directory that the configuration of this digest is right."""
    write_whole(directory / FILE, name)


def is_approved(document: Any, name: str) -> bool:
    """Tell whether the cluster that an unchecked configuration names was brought up by the one of this digest."""
    try:
        cluster = document["system"]["id"]
    except (KeyError, TypeError, IndexError):
        return False
    if not names.is_cluster(cluster):
        return False
    return any(_read(cluster_directory(cluster, runtime) / FILE) == name for runtime in ("process", "docker"))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
