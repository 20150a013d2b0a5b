"""What a server wrote before it ended: the line that tells why, among those that only tell of its clients. Pure."""

import re

# log_line_prefix of container/settings.py; a client's line has its user and database before the level
OWN_LINE = re.compile(r"^\S+ \S+ \S+ \[\d+\] (?P<level>[A-Z]+[0-9]?):\s+(?P<said>.*)$")
BARE_LINE = re.compile(r"^(?P<level>FATAL|PANIC|LOG|ERROR):\s+(?P<said>.*)$")
# what clients are told while a server starts or stops: never its cause
FOR_CLIENTS = "the database system is "
DEATH = re.compile(r"was terminated by signal|exited with exit code")
IN_FILE = re.compile(r' in file "[^"]*" line \d+')
PREFIXED = re.compile(r"^\S+ \S+ \S+ \[\d+\] |^\s|^$")
# a file that may be missing (container/pace.py)
NO_FAULT = "skipping missing configuration file"
LENGTH = 300


def telling(lines: list[str]) -> str | None:
    """Choose the line that says why a server ended; None when none does.

    In this order: a PANIC; what is wrong with its settings; its own last FATAL; the death of one of its processes; what came from no PostgreSQL, but
    from whoever loads it.
    """
    panics = [line for line in lines if "PANIC:" in line]
    if panics:
        return panics[-1][-LENGTH:]
    own = [match for line in lines if (match := OWN_LINE.match(line) or BARE_LINE.match(line))]
    fatal = [match["said"] for match in own if match["level"] == "FATAL" and not match["said"].startswith(FOR_CLIENTS)]
    if fatal and "contains errors" in fatal[-1]:
        # the server reads them before it does anything else
        settings = [IN_FILE.sub("", match["said"]) for match in own
                    if match["level"] in ("LOG", "HINT") and not match["said"].startswith(NO_FAULT)]
        fatal = ["; ".join(settings)] if settings else fatal
    if fatal:
        return fatal[-1][:LENGTH]
    deaths = [match["said"] for match in own if DEATH.search(match["said"])]
    if deaths:
        return deaths[-1][:LENGTH]
    foreign = [line for line in lines if not PREFIXED.match(line)]
    return foreign[-1][:LENGTH] if foreign else None
