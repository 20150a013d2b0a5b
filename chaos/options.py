"""The options of a run, which its first line prints and which repeat it."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from host.errors import UsageError

# Every fault by its name, with what it does; chaos/faults.py holds the classes.
FAULTS = {
    "pause": "a link is paused",
    "cut": "a link, or all links from or all links to a node, carry nothing",
    "isolate": "all links of a node carry nothing, both ways",
    "kill-postgres": "PostgreSQL of a node is killed with SIGKILL",
    "restart": "PostgreSQL of a node is stopped at once and started again",
    "kill-agent": "the agent of a node is killed with SIGKILL and started again later",
    "kill-walsender": "a walsender is killed or ended",
    "kill-worker": "an apply worker is killed or ended",
    "freeze": "PostgreSQL of a node stands still, all of its processes",
    "stop": "a node is stopped for long",
    "clock": "the clocks of all nodes are wrong by up to three hours, and jump",
    "disk": "the disk of a node is full once",
}
# what is wrong when a part is turned off, by the part; chaos/planted.py holds the functions
PLANTS = {
    "stamp": "a change is stamped with the clock, also when the version it replaces is later",
    "tombstone": "deletions are sent and not remembered",
    "tie": "of two versions of one moment the one that arrived first stays",
    "image": "an UPDATE travels as PostgreSQL sends it, not as a whole row",
    "sweep": "nobody sweeps",
}


@dataclass(frozen=True)
class Options:
    """``plant`` names the part of the merge that is turned off, so that chaos must find it; ``keep`` leaves a cluster that failed where it is."""

    seed: int = field(default_factory=lambda: secrets.randbelow(10**6))
    seconds: int = 60
    nodes: int = 3
    faults: tuple[str, ...] = tuple(FAULTS)
    plant: str | None = None
    keep: bool = False

    def __str__(self) -> str:
        faults = ", ".join(self.faults) or "none"
        plant = f", {PLANTS[self.plant]}" if self.plant else ""
        return f"seed {self.seed}, {self.seconds} s, {self.nodes} nodes, faults: {faults}{plant}"

    def without(self, fault: str) -> "Options":
        return replace(self, faults=tuple(name for name in self.faults if name != fault))

    def command(self) -> str:
        """Write the command that repeats the run: the same choices, though processes and threads meet in another order."""
        faults = "all" if self.faults == tuple(FAULTS) else ",".join(self.faults) or "none"
        plant = f" --plant {self.plant}" if self.plant else ""
        return f"python3 orchestrator.py chaos --seed {self.seed} --seconds {self.seconds} --nodes {self.nodes} --faults {faults}{plant}"


def fault_list(text: str) -> tuple[str, ...]:
    """Read ``all``, ``none``, or names with commas, which ``-name`` takes away from all; UsageError with the names there are."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words in (["all"], ["none"]):
        return tuple(FAULTS) if words == ["all"] else ()
    unknown = [word for word in words if word.removeprefix("-") not in FAULTS]
    if unknown or not words:
        raise UsageError(f"no fault is named {unknown[0].removeprefix('-')}" if unknown else "no fault is named",
                         f"the faults are {', '.join(FAULTS)}", "name some with commas, or all, or none, or all but one with a minus: -disk")
    wanted = {word for word in words if not word.startswith("-")} or set(FAULTS)
    return _in_order(wanted - {word.removeprefix("-") for word in words if word.startswith("-")})


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in FAULTS if name in names)
