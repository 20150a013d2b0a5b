"""The names that both sides use: which a cluster, a node and a role may have, and how we call what we make in a database.

A pattern is a regular expression of JSON Schema's kind, without its ends; :func:`whole` adds them.
"""

import re
import unicodedata
from typing import Any

CLUSTER = "[a-z][a-z0-9-]{0,31}"
# no underscore: see link_name
NODE = "[a-z][a-z0-9]{0,15}"
# not one of PostgreSQL's or of ours
ROLE = "(?!pg_)(?!(postgres|public|none|unison_(writers|readers|replicators|agent))$)[a-z_][a-z0-9_]{0,30}"

# Without login: what the kinds of roles may do is granted to these, so that a service need not know who is a writer.
WRITERS, READERS, REPLICATORS = GROUPS = ("unison_writers", "unison_readers", "unison_replicators")
# control characters, line feeds and NUL among them, and halves of characters
NO_LINE = ("Cc", "Cs")
# as whom the agent works on what is the owner's
AGENT = "unison_agent"
# a node's one publication
PUBLICATION = "unison"


def whole(pattern: str) -> str:
    """Return the pattern as it must match a whole text, in Python and in JSON Schema; ``$`` alone would let a line feed pass."""
    return f"^{pattern}$(?!\\n)"


def is_cluster(name: object) -> bool:
    """Tell whether a cluster may have the name."""
    return isinstance(name, str) and re.search(whole(CLUSTER), name, re.ASCII) is not None


def is_identifier(value: Any) -> bool:
    """Tell whether PostgreSQL takes the name as it is (longer ones it would cut, without an error), and files and messages can hold it in a line.

    True for what is no text at all, as JSON Schema wants it of a format.
    """
    return not isinstance(value, str) or (1 <= len(value.encode(errors="replace")) <= 63 and is_line(value))


def is_line(value: Any) -> bool:
    """Tell whether a database, a terminal and a log can hold the text in a line. True for what is no text at all."""
    return not isinstance(value, str) or not any(unicodedata.category(character) in NO_LINE for character in value)


def link_name(source: str, target: str) -> str:
    """Name the subscription on ``target``, its replication slot on ``source`` and its walsender there: one name for one link."""
    return f"unison_{source}_to_{target}"


def link_ends(name: str) -> tuple[str, str]:
    """Tell source and target of a link from its name; node names hold no underscore."""
    _, source, _, target = name.split("_")
    return source, target
