"""What a pool knows of a node, and what follows for new work. No I/O, no clock of its own: every function is given the state and the moment (seconds)."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

# A node that was away gets this part of its share at first, and all of it so many seconds later.
RAMP_FROM, RAMP_S = 0.2, 4.0
# So many probes in a row without an answer, and the node is taken for gone; one is an accident.
SILENT_PROBES = 2
# the weight of the latest probe in the latency
LATEST = 0.3
# positions of a node's WAL that are remembered: with a probe a second, that is how far back a lag can be told
REMEMBERED = 900


class Lag(NamedTuple):
    """How far a node is behind another one: since when it lacks something (seconds), and how much (bytes of WAL; None when nobody knows)."""

    seconds: float
    bytes: int | None


@dataclass(frozen=True)
class Heard:
    """What a node's agent has answered to ``GET /ready``; ``applied`` and ``seconds`` are by origin, positions are numbers of bytes.

    ``silent``: its PostgreSQL does not answer.
    """

    ready: bool
    reason: str | None
    silent: bool = False
    life: str | None = None
    position: int | None = None
    started: float | None = None
    applied: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Heard":
        """Read the JSON of ``/ready``; ValueError, KeyError or TypeError when it is none. What an older agent leaves out is not known."""
        lag = {str(one["origin"]): one for one in answer.get("lag", [])}
        position = answer.get("position")
        return cls(bool(answer["ready"]), answer["reason"], bool(answer.get("silent")), answer.get("life"), lsn(position) if position else None,
                   answer.get("started"), {name: lsn(one["applied"]) for name, one in lag.items() if one["applied"]},
                   {name: float(one["seconds"]) for name, one in lag.items()})


@dataclass(frozen=True)
class NodeState:
    """A node as it was last heard of.

    ``state`` is ``unknown`` (not asked yet), ``ready``, ``not ready`` (it says so), ``silent`` (its agent or its PostgreSQL does not answer: frozen or cut off)
    or ``refused`` (its machine says that no agent is there; its PostgreSQL may be); ``reason`` says why it is not ready.
    ``suspect``: a connection to it failed, or a call or a probe of it takes too long, and it was not heard of since. ``returned_at`` is when it was last
    ready again after it had not been; ``trial``: no connection to it was made since then. ``latency_s`` is how long its agent takes to answer.
    """

    name: str
    state: str = "unknown"
    reason: str | None = "it was not asked yet"
    suspect: bool = False
    missed: int = 0
    latency_s: float = 0.0
    returned_at: float = -math.inf
    trial: bool = False
    life: str | None = None
    started: float | None = None
    lag: Mapping[str, Lag] = field(default_factory=dict)

    @property
    def takes_work(self) -> bool:
        return self.state == "ready" and not self.suspect

    @property
    def worst_lag_s(self) -> float:
        return max((lag.seconds for lag in self.lag.values()), default=0.0)

    def weight(self, now: float) -> float:
        """Return which part of its share the node gets, from RAMP_FROM to 1."""
        return min(1.0, RAMP_FROM + (1 - RAMP_FROM) * max(0.0, now - self.returned_at) / RAMP_S)


def answered(state: NodeState, heard: Heard, lag: Mapping[str, Lag], now: float, latency_s: float) -> NodeState:
    """Return the state after an answer. A node that comes back, or whose server was started again, comes by way of a trial and a ramp."""
    latency_s = latency_s if state.latency_s == 0 else state.latency_s + LATEST * (latency_s - state.latency_s)
    told = replace(state, suspect=False, missed=0, latency_s=latency_s, life=heard.life or state.life,
                   started=heard.started or state.started, lag=lag)
    if not heard.ready:
        return replace(told, state="silent" if heard.silent else "not ready", reason=heard.reason)
    told = replace(told, state="ready", reason=None)
    if state.state == "unknown" or (state.state == "ready" and (heard.started is None or state.started in (None, heard.started))):
        return told
    return replace(told, returned_at=now, trial=True)


def missed(state: NodeState, reason: str, *, refused: bool) -> NodeState:
    """Return the state after a probe without an answer; one that was ``refused`` by the node's machine says enough at once."""
    count = state.missed + 1
    if refused or count >= SILENT_PROBES or state.state == "unknown":
        return replace(state, state="refused" if refused else "silent", reason=reason, missed=count, suspect=False, lag={})
    return replace(state, missed=count, suspect=True)


def suspected(state: NodeState) -> NodeState:
    """Return the state after a connection failed, or while a call takes too long: no new work before the node has answered."""
    return replace(state, suspect=True) if state.state == "ready" else state


def proved(state: NodeState) -> NodeState:
    """Return the state after a connection to the node was made."""
    return replace(state, trial=False)


@dataclass(frozen=True)
class Limits:
    """Beyond what a node is too far behind, or too slow, for a group."""

    max_lag_s: float
    max_latency_s: float


def beyond(state: NodeState, limits: Limits) -> str | None:
    """Say why a node that takes work is too far behind, or too slow; None where it is not."""
    late = [f"{origin} by {lag.seconds:.1f} s" for origin, lag in sorted(state.lag.items()) if lag.seconds > limits.max_lag_s]
    if late:
        return f"it is more than {limits.max_lag_s:g} s behind: {', '.join(late)}"
    return f"its agent takes {state.latency_s:.1f} s to answer" if state.latency_s > limits.max_latency_s else None


def eligible(states: Iterable[NodeState], limits: Limits, now: float) -> dict[str, float]:
    """Return which nodes get new work, each with its weight.

    Those that are ready, not suspect, not too far behind and not too slow. When all that are ready are out for lag or slowness, all of these are in: old rows
    are better than none. A node that says it is not ready has a reason of data, or is drained: it is never in.
    """
    taking = [state for state in states if state.takes_work]
    prompt = [state for state in taking if beyond(state, limits) is None]
    return {state.name: state.weight(now) for state in prompt or taking}


class Positions:
    """The WAL positions of nodes by the moment they were heard, to tell since when another node lacks something."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[str | None, deque[tuple[float, int]]]] = {}

    def note(self, name: str, heard: Heard, now: float) -> None:
        """Remember where a node's WAL is; with another life its positions begin again."""
        if heard.position is None:
            return
        life, seen = self._heard.get(name, (None, deque[tuple[float, int]](maxlen=REMEMBERED)))
        if life != heard.life:
            seen = deque(maxlen=REMEMBERED)
        if not seen or heard.position > seen[-1][1]:
            seen.append((now, heard.position))
        self._heard[name] = (heard.life, seen)

    def lag(self, heard: Heard, origins: Iterable[str], now: float) -> dict[str, Lag]:
        """Tell how far a node is behind each origin; where nothing was heard of the origin itself, what the node says of its own."""
        return {origin: self._of(origin, heard, now) for origin in origins if origin in heard.seconds}

    def _of(self, origin: str, heard: Heard, now: float) -> Lag:
        _, seen = self._heard.get(origin, (None, ()))
        applied = heard.applied.get(origin)
        if not seen or applied is None:
            return Lag(heard.seconds[origin], None)
        if seen[-1][1] <= applied:
            return Lag(0.0, 0)
        since = next(at for at, position in seen if position > applied)
        return Lag(max(0.0, now - since), seen[-1][1] - applied)

    def forget(self, names: Iterable[str]) -> None:
        """Forget nodes that are no more."""
        for name in names:
            self._heard.pop(name, None)


def lsn(text: str) -> int:
    """Turn a WAL position as PostgreSQL writes it (``16/B374D848``) into a number of bytes."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)
