"""The phases of a member: what a node is to the cluster, kept in its own database (``unison.node``)."""

# it has not yet all that its peers have; it serves; an operator keeps it out of service for a while, and its links go on
JOINING, SERVING, DRAINED = PHASES = ("joining", "serving", "drained")


def in_words(drained: dict[str, str]) -> str:
    """Say since when a node is out of service, and who took it out; ``drained`` is what ``node.describe`` answers."""
    return f"drained by {drained['by']} since {drained['since']}"
