"""The options of a run, which its first line prints and which repeat it."""

import secrets
from dataclasses import dataclass, field, replace

from pgunison.errors import UsageError

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
    "settings": "the database of a node has a setting that is meant for clients",
    "interrupt": "the maintenance of a node is interrupted",
}
# on the docker runtime; a volume has no size of its own, so no disk is full
DOCKER_FAULTS = {name: what for name, what in FAULTS.items() if name != "disk"} | {
    "pause-container": "a container stands still",
    "kill-container": "a container is killed and started again later",
    "disconnect": "a container is off the network and comes back with its address",
    "drop": "what a container sends to another is dropped, one way",
    "restart-all": "all containers are killed at once and started again, once",
}
FAULTS_OF = {"process": FAULTS, "docker": DOCKER_FAULTS}
# which need signals: to containers only root on the engine's machine may send any
SIGNALS = ("cut", "isolate", "kill-postgres", "restart", "kill-agent", "kill-walsender", "kill-worker", "freeze")
# the SQLSTATE that statements meet because of a fault, beside those of chaos/session.py: a node that is read only, or has no search path
MET = {"settings": ("25", "3F000", "42P01")}
# what is wrong when a part is turned off, by the part; chaos/planted.py holds the functions
PLANTS = {
    "stamp": "a change is stamped with the clock, also when the version it replaces is later",
    "tombstone": "deletions are sent and not remembered",
    "tie": "of two versions of one moment the one that arrived first stays",
    "image": "an UPDATE travels as PostgreSQL sends it, not as a whole row",
    "sweep": "nobody sweeps",
    "cascade": "the key of a row that refers to itself is not buried when it changes",
    "guard": "no DDL is refused",
}


@dataclass(frozen=True)
class Options:
    """``faults`` are all that the runtime has, unless some are named; ``plant`` names the part of the merge that is turned off, so that chaos must find it;
    ``keep`` leaves a cluster that failed where it is.
    """

    seed: int = field(default_factory=lambda: secrets.randbelow(10**6))
    seconds: int = 60
    nodes: int = 3
    faults: tuple[str, ...] | None = None
    plant: str | None = None
    keep: bool = False
    runtime: str = "process"

    def __post_init__(self) -> None:
        if self.faults is None:
            object.__setattr__(self, "faults", tuple(FAULTS_OF[self.runtime]))

    def __str__(self) -> str:
        faults = ", ".join(self.faults) or "none"
        plant = f", {PLANTS[self.plant]}" if self.plant else ""
        containers = " as containers" if self.runtime == "docker" else ""
        return f"seed {self.seed}, {self.seconds} s, {self.nodes} nodes{containers}, faults: {faults}{plant}"

    @property
    def expected(self) -> tuple[str, ...]:
        """What statements may meet because of these faults."""
        return tuple(code for name in self.faults or () for code in MET.get(name, ()))

    def without(self, *faults: str) -> "Options":
        return replace(self, faults=tuple(name for name in self.faults if name not in faults))

    def command(self) -> str:
        """Write the command that repeats the run: the same choices, though processes and threads meet in another order."""
        faults = "all" if self.faults == tuple(FAULTS_OF[self.runtime]) else ",".join(self.faults) or "none"
        plant = f" --plant {self.plant}" if self.plant else ""
        runtime = "--runtime docker " if self.runtime == "docker" else ""
        return f"python3 orchestrator.py {runtime}chaos --seed {self.seed} --seconds {self.seconds} --nodes {self.nodes} --faults {faults}{plant}"


def fault_list(text: str, runtime: str = "process") -> tuple[str, ...]:
    """Read ``all``, ``none``, or names with commas, which ``-name`` takes away from all; UsageError with the names that the runtime has."""
    known = FAULTS_OF[runtime]
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words in (["all"], ["none"]):
        return tuple(known) if words == ["all"] else ()
    unknown = [word for word in words if word.removeprefix("-") not in known]
    if unknown or not words:
        raise UsageError(f"no fault is named {unknown[0].removeprefix('-')}" if unknown else "no fault is named",
                         f"the faults are {', '.join(known)}", f"name some with commas, or all, or none, or all but one with a minus: -{list(known)[-1]}")
    wanted = {word for word in words if not word.startswith("-")} or set(known)
    return tuple(name for name in known if name in wanted and f"-{name}" not in words)
