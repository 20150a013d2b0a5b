"""The schedule: which fault begins when and lasts how long. Drawn from the seed, without I/O: the same options, the same schedule."""

import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from chaos.container_faults import Disconnect, Drop, KillContainer, PauseContainer, RestartAll
from chaos.faults import Cut, Fault, Freeze, FullDisk, Interrupt, Jump, Kill, KillAgent, KillProcess, Pause, Setting, Stop
from chaos.options import Options

LEAST_OFFSET_S, MOST_OFFSET_S = 0.01, 3 * 3600.0
PAUSE_BETWEEN_S = (0.2, 2.0)
# those that come more often than once a round; a disk is full once, a node is away for long once, and the machine loses its power once
OFTEN = ("pause", "pause", "cut", "clock")
ONCE = ("stop", "disk", "restart-all")
LINK_FAULTS = ("pause", "cut", "isolate", "kill-walsender", "kill-worker", "drop")
# what an administrator sets for clients, on a database
SETTINGS = (("statement_timeout", "50ms"), ("transaction_timeout", "1s"), ("lock_timeout", "20ms"), ("default_transaction_read_only", "on"),
            ("default_transaction_isolation", "serializable"), ("idle_in_transaction_session_timeout", "100ms"), ("idle_session_timeout", "200ms"),
            ("search_path", "nowhere"))
# how long a node needs at the most to be itself again after a fault that is over at once
RECOVERY_S = 2.0


@dataclass(frozen=True)
class Event:
    """``fault`` begins ``at_s`` after the start, and is healed ``lasts_s`` later or when all is healed."""

    at_s: float
    lasts_s: float
    fault: Fault

    def __str__(self) -> str:
        return f"{self.at_s:5.1f} s  {self.fault}" + (f", for {self.lasts_s:.1f} s" if self.lasts_s else "")


def schedule(options: Options) -> list[Event]:
    """Draw the faults of a run, in the order in which they begin: each of the options' faults once, then at random."""
    return list(_Draw(options).events())


def offsets(options: Options) -> dict[str, timedelta]:
    """Draw how wrong the clock of each node is from the start; not at all without the fault ``clock``."""
    choice = random.Random(f"{options.seed} offsets")
    return {f"node{k}": offset(choice) if "clock" in options.faults else timedelta(0) for k in range(1, options.nodes + 1)}


def tombstone_retention_s(options: Options) -> int:
    """Draw how long a node keeps a tombstone at the least: mostly so short that it forgets many while all goes on."""
    return random.Random(f"{options.seed} retention").choice((0, 0, 1, 5, 3600))


def offset(choice: random.Random) -> timedelta:
    """Draw an offset: milliseconds are as likely as hours, early as likely as late."""
    size_s = LEAST_OFFSET_S * (MOST_OFFSET_S / LEAST_OFFSET_S) ** choice.random()
    return timedelta(seconds=round(size_s, 3) * choice.choice((-1, 1)))


class _Draw:
    def __init__(self, options: Options):
        self._options = options
        self._choice = random.Random(f"{options.seed} faults")
        self._nodes = [f"node{k}" for k in range(1, options.nodes + 1)]
        self._links = [(source, target) for source in self._nodes for target in self._nodes if source != target]
        # from when until when a node suffers from what was done to its processes
        self._busy: list[tuple[str, float, float]] = []

    def events(self) -> Iterator[Event]:
        once = [self._event(name, self._choice.uniform(0.05, 0.4) * self._options.seconds) for name in ONCE if name in self._options.faults]
        once = sorted(filter(None, once), key=lambda event: event.at_s)
        often = [name for name in self._options.faults if name not in ONCE]
        # first each once, then some more often than others
        missing = self._choice.sample(often, len(often))
        again = often + [name for name in OFTEN if name in often]
        at_s = self._choice.uniform(0.1, 0.5)
        while often and at_s < self._options.seconds:
            while once and once[0].at_s < at_s:
                yield once.pop(0)
            for name in (*missing, self._choice.choice(again)):
                event = self._event(name, at_s)
                if event is not None:
                    missing = [other for other in missing if other != name]
                    yield event
                    break
            at_s += self._choice.uniform(*PAUSE_BETWEEN_S) * min(1.0, self._options.seconds / 40)
        yield from once

    def _event(self, name: str, at_s: float) -> Event | None:
        """Draw whom it strikes and for how long; None when every node that it could strike suffers already."""
        choice, seconds = self._choice, self._options.seconds
        long_s, short_s = choice.uniform(0.3, 0.5) * seconds, choice.uniform(0.3, min(12.0, seconds / 3))
        lasts_s = {"stop": long_s, "disk": min(8.0, seconds / 4), "kill-agent": short_s, "freeze": short_s,
                   "settings": short_s, "pause-container": short_s, "kill-container": short_s, "disconnect": short_s}.get(name, 0.0)
        if name == "restart-all":
            return self._restart_event()
        if name in LINK_FAULTS:
            return self._link_event(name, at_s, short_s)
        # the last node's directory is a file system of its own; it has to be there when it is full
        where = {"disk": self._nodes[-1:], "stop": self._nodes[:-1]}.get(name, self._nodes)
        free = [node for node in where if not self._suffers(node, at_s, at_s + lasts_s + RECOVERY_S)]
        if not free:
            return None
        node = choice.choice(free)
        if name == "clock":
            return Event(at_s, 0.0, Jump(None, node, offset(choice)))
        self._busy.append((node, at_s, at_s + lasts_s + RECOVERY_S))
        make: dict[str, Callable[[], Fault]] = {
            "disk": lambda: FullDisk(node), "stop": lambda: Stop(node), "freeze": lambda: Freeze(node), "kill-agent": lambda: KillAgent(node),
            "kill-postgres": lambda: Kill(node, signal.SIGKILL), "restart": lambda: Kill(node, signal.SIGQUIT),
            "settings": lambda: Setting(node, *choice.choice(SETTINGS)),
            "interrupt": lambda: Interrupt(node, choice.choice(("pg_cancel_backend", "pg_terminate_backend"))),
            "pause-container": lambda: PauseContainer(node), "kill-container": lambda: KillContainer(node), "disconnect": lambda: Disconnect(node)}
        return Event(at_s, lasts_s, make[name]())

    def _link_event(self, name: str, at_s: float, short_s: float) -> Event | None:
        choice, node = self._choice, self._choice.choice(self._nodes)
        links = [link for link in self._links if not any(self._suffers(end, at_s, at_s) for end in link)]
        if not links:
            return None
        link, deadly = choice.choice(links), choice.choice((signal.SIGKILL, signal.SIGTERM))
        outgoing, incoming = (tuple(link for link in self._links if link[side] == node) for side in (0, 1))
        if name == "pause":
            return Event(at_s, short_s, Pause(None, link))
        if name == "drop":
            return Event(at_s, short_s, Drop(None, link))
        if name == "cut":
            return Event(at_s, short_s, Cut(None, choice.choice(((link,), outgoing, incoming))))
        if name == "isolate":
            return Event(at_s, short_s, Cut(None, outgoing + incoming))
        return Event(at_s, 0.0, KillProcess(None, {"kill-walsender": "walsender", "kill-worker": "apply worker"}[name], link, deadly))

    def _restart_event(self) -> Event | None:
        """Draw a moment in which no node suffers; None when none is found."""
        for _ in range(50):
            at_s = self._choice.uniform(0.05, 0.9) * self._options.seconds
            if not any(self._suffers(node, at_s, at_s + RECOVERY_S) for node in self._nodes):
                self._busy += [(node, at_s, at_s + RECOVERY_S) for node in self._nodes]
                return Event(at_s, 0.0, RestartAll(None, tuple(self._nodes)))
        return None

    def _suffers(self, node: str, begin_s: float, end_s: float) -> bool:
        return any(one == node and begin_s <= until_s and from_s <= end_s for one, from_s, until_s in self._busy)
