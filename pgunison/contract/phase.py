"""The phases of a member: what a node is to the cluster, kept in its own database (``unison.node``)."""

from collections.abc import Mapping

# it has not yet all that its peers have; it serves; an operator keeps it out of service for a while, and its links go on
JOINING, SERVING, DRAINED = PHASES = ("joining", "serving", "drained")


def drained(phase: str, by: str | None, since: str) -> dict[str, str | None] | None:
    """Tell by whom and since when a node is out of service, None when it is not; ``since`` is a time in UTC as PostgreSQL writes it in JSON."""
    return {"by": by, "since": since[:19].replace("T", " ") + " UTC"} if phase == DRAINED else None


def in_words(drained: Mapping[str, str | None]) -> str:
    """Say since when a node is out of service, and who took it out; ``drained`` is what ``node.describe`` answers."""
    return f"drained by {drained['by']} since {drained['since']}"
