"""The disturber: does the faults of a schedule, each in a thread of its own, because one may take long to begin or to end."""

import collections
import contextlib
import threading
import time

import psycopg2
from psycopg2 import sql

from chaos.comparison import everywhere
from chaos.processes import Freezer
from chaos.schedule import Event
from chaos.target import Target
from pgunison.contract.waiting import Late, wait_until
from pgunison.errors import OrchestratorError

HEAL_TIMEOUT_S = 180.0
# what a fault meets that strikes a node which is struck already
UNREACHED = (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.InternalError_,
             psycopg2.errors.ReadOnlySqlTransaction, Late, OrchestratorError, OSError)


class Disturber:
    """Begin the events at their time within the block, and end them all at :meth:`heal`, or when the block is left.

    ``done`` tells what happened, in order, ``missed`` what struck nothing, ``faults`` what went wrong with a fault itself.
    """

    def __init__(self, target: Target, events: list[Event]):
        self.done: list[str] = []
        self.missed: list[str] = []
        self.faults: list[str] = []
        self._target = target
        self._freezer = Freezer()
        self._healing = threading.Event()
        # one fault at a time for the processes of a node
        self._nodes: collections.defaultdict[str, threading.Lock] = collections.defaultdict(threading.Lock)
        self._began = 0.0
        self._threads = [threading.Thread(target=self._guarded, args=(event,), name=str(event.fault), daemon=True) for event in events]

    def __enter__(self) -> "Disturber":
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._end()

    def heal(self) -> None:
        """End all faults, and wait until every server answers and every link may go on; Late when that takes too long."""
        hanging = self._end()
        if hanging:
            raise Late(f"waited {HEAL_TIMEOUT_S:.0f} s until the faults end; at last: {'; '.join(hanging)}")
        try:
            for node in self._target.names():
                self._target.start(node)
            for node in self._target.names():
                self._target.await_node(node, HEAL_TIMEOUT_S)
                wait_until(lambda node=node: self._silent(node), f"PostgreSQL of {node} is back", HEAL_TIMEOUT_S)
            everywhere(self._target, self._enable)
        except (OrchestratorError, psycopg2.Error) as error:
            raise Late(" ".join(str(error).split())) from error

    def _end(self) -> list[str]:
        """End all faults; returns those that do not end."""
        self._healing.set()
        # nothing can end beside what stands still
        self._freezer.thaw_all()
        for thread in self._threads:
            thread.join(HEAL_TIMEOUT_S)
        self._freezer.thaw_all()
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _guarded(self, event: Event) -> None:
        try:
            self._live(event)
        except Exception as error:
            self.faults.append(f"{event.fault}: {type(error).__name__}: {error}".splitlines()[0])

    def _live(self, event: Event) -> None:
        if self._healing.wait(max(0.0, self._began + event.at_s - time.monotonic())):
            return
        with contextlib.ExitStack() as held:
            for node in sorted(event.fault.nodes):
                held.enter_context(self._nodes[node])
            if self._healing.is_set():
                return
            try:
                did = event.fault.do(self._target, self._freezer)
            except UNREACHED as error:
                self.missed.append(f"{event.fault}: {' '.join(str(error).split())[:300]}")
                did = True
            else:
                (self.done if did else self.missed).append(f"{time.monotonic() - self._began:.1f} s {event.fault}")
            if did and event.lasts_s:
                self._healing.wait(event.lasts_s)
                # what cannot be undone now, because another fault is in the way, is undone when all is healed
                with contextlib.suppress(*UNREACHED):
                    event.fault.heal(self._target, self._freezer)

    def _silent(self, node: str) -> str | None:
        try:
            self._target.query(node, "SELECT 1")
        except psycopg2.OperationalError as error:
            return str(error).strip().splitlines()[-1]
        return None

    def _enable(self, node: str) -> None:
        for name, in self._target.query(node, "SELECT subname FROM pg_subscription WHERE NOT subenabled"):
            self._target.query(node, sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(name)))
