"""The writers: threads that do the workloads' operations on every node, and one a node that looks on, until told to stop."""

import random
import threading
from collections.abc import Callable

import psycopg2

from chaos.session import Session
from chaos.target import Target
from chaos.workload import Workload

JOIN_TIMEOUT_S = 90.0
LOOK_EVERY_S = 0.5
LOOKS_REMEMBERED = 20


class Writers:
    """The workloads' writers on each node, each a thread. ``faults`` are errors that should not be met, ``hanging`` the threads that did not end.

    ``expected`` are what every writer may meet beside what its workload may, because of the faults.
    """

    def __init__(self, target: Target, seed: int, workloads: list[Workload], expected: tuple[str, ...] = ()):
        self.faults: list[str] = []
        self.hanging: list[str] = []
        self._target = target
        self._workloads = workloads
        self._expected = expected
        self._stop = threading.Event()
        self._threads = [self._thread(f"{workload.name} on {node}", self._writer(node, workload, random.Random(f"{seed} {node} {workload.name} {n}")),
                                      node, workload.role)
                         for node in target.names() for workload in workloads for n in range(workload.writers)]
        self._threads += [self._thread(f"observer of {node}", self._observer(node), node) for node in target.names()]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT_S)
        self.hanging = [thread.name for thread in self._threads if thread.is_alive()]

    def _thread(self, name: str, work: Callable[[Session], None], node: str, role: str = "writer") -> threading.Thread:
        return threading.Thread(target=self._keep_on, args=(name, work, node, role), name=name, daemon=True)

    def _keep_on(self, name: str, work: Callable[[Session], None], node: str, role: str) -> None:
        """Work in one connection after another."""
        while not self._stop.is_set():
            try:
                with self._target.connect(node, role) as connection:
                    work(Session(connection))
            except psycopg2.OperationalError:
                # nobody lets us in
                self._stop.wait(0.1)
            except Exception as error:
                self.faults.append(f"{name}: {type(error).__name__}: {error}".strip().splitlines()[0])
                return

    def _writer(self, node: str, workload: Workload, choice: random.Random) -> Callable[[Session], None]:
        def work(session: Session) -> None:
            while not (self._stop.wait(choice.random() * workload.pause_s) or session.lost):
                operation, ending = workload.operation(node, choice), "ok"
                try:
                    operation.run(session)
                except psycopg2.Error as error:
                    ending = session.ending(error, workload.expected + self._expected)
                    if ending is None:
                        raise RuntimeError(f"{operation} met {error.pgcode} {error}") from error
                workload.ended(node, operation, ending)
        return work

    def _observer(self, node: str) -> Callable[[Session], None]:
        def work(session: Session) -> None:
            while not (self._stop.wait(LOOK_EVERY_S) or session.lost):
                for workload in self._workloads:
                    try:
                        seen = list(workload.look(node, session))
                    except psycopg2.Error as error:
                        if session.ending(error, workload.expected + self._expected) is None:
                            raise
                        break
                    with workload.lock:
                        workload.broken += seen[:max(0, LOOKS_REMEMBERED - len(workload.broken))]
        return work
