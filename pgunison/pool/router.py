"""The router: what is known of each node, kept up to date by one thread, and which node is next.

The judgement is in node.py and policy.py, which do no I/O; here is the thread that asks, and what others read of it without waiting for it.
"""

import asyncio
import contextlib
import itertools
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pgunison import endpoints as endpoints_file
from pgunison.endpoints import Endpoint, Endpoints
from pgunison.errors import OrchestratorError
from pgunison.pool import node as judgement
from pgunison.pool import policy
from pgunison.pool.node import Limits, NodeState, Positions
from pgunison.pool.probe import Probe, Refused

# how often a node is asked; more than 8 nodes together so many times a second, because that is what costs
EVERY_S, MOST_A_SECOND = 1.0, 8
NOT_READY_EVERY_S = 0.25
SUSPICIOUS_EVERY_S = 0.1
# How long a node may take to answer; less when a call to it takes long, so that a frozen node is known for one within a second.
PATIENCE_S, SUSPICIOUS_PATIENCE_S = 1.0, 0.3
TICK_S = 0.1
FILE_EVERY_S = 0.5
FIRST_ANSWERS_S = 0.6

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """How a group chooses among the nodes: ``name`` is one of policy.POLICIES, ``local`` the node that is local, if that is known."""

    name: str
    limits: Limits
    local: str | None = None


class Choice:
    """Which nodes a group may use at this moment, and which is next. Threads share it; it is replaced as a whole when anything changes."""

    def __init__(self, rule: Rule, weights: dict[str, float], latencies: dict[str, float]):
        self.weights = weights
        self._rule, self._latencies = rule, latencies
        turns = policy.round_of(weights)
        # next() of a cycle is atomic
        self._turns: Iterator[str] = itertools.cycle(turns)
        self._count = itertools.count()
        # the node that is next where nothing else has to be looked at; None where it has
        self.take: Callable[[], str] | None = self._turns.__next__ if turns and rule.name in ("round-robin", "by-key") else None

    def order(self, key: str | None, busy: Callable[[str], int], first: str | None = None) -> list[str]:
        """Return the nodes from the best on, from ``first`` where it was their turn already. With a key there is one: its home."""
        if not self.weights:
            return []
        if key is not None:
            return policy.homes(key, self.weights)[:1]
        if self._rule.name == "least-busy":
            return policy.least_busy(self.weights, busy, next(self._count))
        if self._rule.name == "local-first":
            return policy.local_first(self.weights, self._rule.local, self._latencies)
        return policy.rotated(self.weights, first if first in self.weights else next(self._turns))


class Router:
    """Follow the nodes of an endpoints file. ``rules`` are the groups; ``choices`` has what is chosen from, by group.

    ``watch`` is called by the thread at every tick; ``changed(name)`` when a node's state has changed, with None when nodes have come or gone.
    """

    def __init__(self, path: Path, rules: dict[str, Rule], watch: Callable[[], None], changed: Callable[[str | None], None]):
        self._path, self._rules, self._watch, self._changed = path, rules, watch, changed
        self._stamp = self._stamp_of_file()
        self.endpoints: Endpoints = endpoints_file.read(path)
        self.nodes: dict[str, Endpoint] = {node.name: node for node in self.endpoints.nodes}
        self.states: dict[str, NodeState] = {name: NodeState(name) for name in self.nodes}
        self.choices: dict[str, Choice] = {}
        self._trusted: tuple[str, int, int] | None = None
        self._tls: ssl.SSLContext | None = None
        self._trust()
        # states are replaced under it
        self._lock = threading.Lock()
        self._positions = Positions()
        # what ends a pause, by node, and those who are asked out of turn
        self._due: dict[str, asyncio.Event] = {}
        self._hurried: set[str] = set()
        self._ramp_until = 0.0
        self._asked = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._ended = False
        self._choose()
        self._thread = threading.Thread(target=self._run, name="pgunison router", daemon=True)

    def start(self) -> None:
        """Begin to ask; what ``watch`` and ``changed`` need must be there."""
        try:
            self._thread.start()
        except RuntimeError:
            # the machine has no thread left
            self._loop.close()
            raise

    def await_first_answers(self, timeout_s: float = FIRST_ANSWERS_S) -> None:
        """Wait until every node has answered or did not, or the time is over."""
        self._asked.wait(timeout_s)

    def close(self) -> None:
        """End the thread."""
        self._ended = True
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        elif not self._loop.is_closed():
            # it was never started
            self._loop.close()

    def suspect(self, name: str) -> None:
        """Take note that a connection to a node failed, or that a call takes long: it gets no new work before it has answered, and is asked at once."""
        self._replace(name, judgement.suspected)
        self.ask(name)

    def ask(self, name: str) -> None:
        """Have a node asked at once, because a call to it takes long; that alone is no suspicion."""
        # the thread has ended when the pool is closed
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake, name)

    def proved(self, name: str) -> None:
        """Take note that a connection to a node was made."""
        if (state := self.states.get(name)) is not None and state.trial:
            self._replace(name, judgement.proved)

    def why(self, name: str, group: str | None = None) -> str:
        """Say why a node takes no work of a group."""
        state = self.states.get(name)
        if state is None:
            return "it is no node any more"
        limits = self._rules[group].limits if group is not None else None
        return (state.reason or ("it is asked whether it is well" if state.suspect else None) or (judgement.beyond(state, limits) if limits else None)
                or "it is ready")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._follow())
        finally:
            self._loop.close()

    async def _follow(self) -> None:
        asking: dict[Endpoint, asyncio.Task[None]] = {}
        looked_at = now = time.monotonic()
        while not self._ended:
            there = set(self.nodes.values())
            for endpoint in asking.keys() - there:
                asking.pop(endpoint).cancel()
            for endpoint in there - asking.keys():
                self._due[endpoint.name] = asyncio.Event()
                asking[endpoint] = asyncio.create_task(self._keep_asking(endpoint))
            try:
                self._watch()
                now = time.monotonic()
                if now - looked_at >= FILE_EVERY_S:
                    looked_at = now
                    self._reread()
                    # gone, or half written, for a moment
                    with contextlib.suppress(OSError):
                        self._trust()
                if now < self._ramp_until:
                    self._choose()
            except Exception:
                # without this thread nothing would ever change
                logger.exception("the router goes on")
            if not self._asked.is_set() and all(state.state != "unknown" for state in self.states.values()):
                self._asked.set()
            await asyncio.sleep(TICK_S)
        for task in asking.values():
            task.cancel()
        await asyncio.gather(*asking.values(), return_exceptions=True)

    async def _keep_asking(self, endpoint: Endpoint) -> None:
        """Ask a node as long as it is one. After an error that nobody expected it is asked again: else what is known of it would stand for ever."""
        probe = Probe(endpoint, lambda: self._tls)
        try:
            while self.nodes.get(endpoint.name) == endpoint:
                try:
                    await self._ask(probe, endpoint)
                except Exception:
                    logger.exception("%s is asked again", endpoint.name)
                    probe.close()
                    await asyncio.sleep(EVERY_S)
        finally:
            probe.close()

    async def _ask(self, probe: Probe, endpoint: Endpoint) -> None:
        """Ask a node once, take note of what it says, and pause."""
        name, began = endpoint.name, time.monotonic()
        state = self.states[name]
        suspicious = state.suspect or state.missed > 0 or name in self._hurried
        self._hurried.discard(name)
        self._due[name].clear()
        try:
            heard = await probe.ask(SUSPICIOUS_PATIENCE_S if suspicious else PATIENCE_S)
        except (Refused, TimeoutError, OSError, ValueError) as error:
            probe.close()
            silent = isinstance(error, TimeoutError)
            said = f"its agent does not answer at {endpoint.address}:{endpoint.agent_port}" if silent else str(error)
            self._replace(name, partial(judgement.missed, reason=said, refused=isinstance(error, (Refused, ValueError))))
        else:
            now = time.monotonic()
            self._positions.note(name, heard, now)
            lag = self._positions.lag(heard, self.nodes.keys() - {name}, now)
            self._replace(name, partial(judgement.answered, heard=heard, lag=lag, now=now, latency_s=now - began))
        if (after := self.states.get(name)) is not None:
            await self._pause(after, time.monotonic() - began)

    async def _pause(self, state: NodeState, took_s: float) -> None:
        if state.suspect or state.missed == 1:
            every_s = SUSPICIOUS_EVERY_S
        elif state.state == "ready":
            every_s = max(EVERY_S, len(self.nodes) / MOST_A_SECOND)
        else:
            every_s = NOT_READY_EVERY_S
        due = self._due[state.name]
        # cheaper than a time-out, which is an exception each time
        timer = self._loop.call_later(max(0.001, every_s - took_s), due.set)
        await due.wait()
        timer.cancel()

    def _wake(self, name: str) -> None:
        if name in self._due:
            self._hurried.add(name)
            self._due[name].set()

    def _replace(self, name: str, change: Callable[[NodeState], NodeState]) -> None:
        with self._lock:
            before = self.states.get(name)
            if before is None:
                return
            after = change(before)
            self.states = {**self.states, name: after}
        if self._says(after) != self._says(before):
            self._ramp_until = max(self._ramp_until, after.returned_at + judgement.RAMP_S + 2 * TICK_S)
            self._choose()
        if (after.state, after.suspect) != (before.state, before.suspect):
            logger.info("%s is %s%s%s", name, after.state, ", suspect" if after.suspect else "", f": {after.reason}" if after.reason else "")
            self._changed(name)

    def _says(self, state: NodeState) -> tuple[object, ...]:
        """Return what the choices depend on."""
        prompt = [(state.worst_lag_s <= rule.limits.max_lag_s, state.latency_s <= rule.limits.max_latency_s, rule.name == "local-first" and state.latency_s)
                  for rule in self._rules.values()]
        return state.takes_work, state.returned_at, *prompt

    def _choose(self) -> None:
        with self._lock:
            states, now, choices = self.states, time.monotonic(), {}
            latencies = {name: state.latency_s for name, state in states.items()}
            for group, rule in self._rules.items():
                weights = judgement.eligible(states.values(), rule.limits, now)
                before = self.choices.get(group)
                # a choice that stays keeps its turn
                choices[group] = before if before is not None and before.weights == weights and rule.name != "local-first" else Choice(rule, weights, latencies)
            self.choices = choices

    def _stamp_of_file(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_ino, found.st_mtime_ns

    def _trust(self) -> None:
        """Read the certificates of the authorities where they are others than before: ``renew`` changes them beneath us."""
        trusted = None
        if root := self.endpoints.root_certificate:
            found = Path(root).stat()
            trusted = (root, found.st_ino, found.st_mtime_ns)
        if trusted != self._trusted:
            self._tls = ssl.create_default_context(cafile=root) if root else None
            self._trusted = trusted

    def _reread(self) -> None:
        """Take in nodes that have come, and leave those that have gone. A file that is gone, or wrong for a moment, changes nothing."""
        try:
            stamp = self._stamp_of_file()
            if stamp == self._stamp:
                return
            found = endpoints_file.read(self._path)
        except (OSError, OrchestratorError) as error:
            logger.debug("the endpoints stay as they are: %s", error)
            return
        self._stamp, self.endpoints = stamp, found
        with self._lock:
            nodes = {node.name: node for node in found.nodes}
            kept = {name for name, node in nodes.items() if self.nodes.get(name) == node}
            gone = self.nodes.keys() - kept
            self.nodes = nodes
            self.states = {name: self.states[name] if name in kept else replace(NodeState(name), reason="it was not asked yet") for name in nodes}
            self._positions.forget(gone)
        logger.info("the nodes are %s", ", ".join(nodes) or "none")
        self._choose()
        self._changed(None)
