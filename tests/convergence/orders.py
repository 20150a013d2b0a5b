"""Orders: every way in which the messages of the origins can reach a node, and whether all of them end alike.

A receiver gets every order of every program's messages, each order from the beginning and under keys of its own: they differ from the
program's by a number that is added to them. Nothing is left out because it "must be" the same.
"""

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.convergence.database import Database
from tests.convergence.messages import Message
from tests.convergence.oracle import Outcome
from tests.convergence.plain import Plain
from tests.convergence.programs import ORIGINS, Program
from tests.convergence.scenario import Scenario, catch_up, first_key, run

# Single messages are interleaved where there are at most so many orders of them, else the transactions that they came in.
FINEST_ORDERS = 400
# A program of at most so many messages gets every repetition in every order, a larger one a different repetition in each nth order.
EVERY_REPETITION, LARGER_REPEATED = 3, 3
BATCH = 5_000
# more faults than these say nothing new
ENOUGH_FAULTS = 1_000
PROGRAMS = 4_000


@dataclass
class Report:
    """What was tried, how many faults there were, and the smallest of them: its size and its words."""

    programs: int = 0
    sequential: int = 0
    messages: int = 0
    orders: int = 0
    repetitions: int = 0
    deliveries: int = 0
    faults: int = 0
    smallest: tuple[int, str] | None = None

    def blame(self, size: int, words: Callable[[], str]) -> None:
        """Note a fault; only the smallest is put into words."""
        self.faults += 1
        if self.smallest is None or size < self.smallest[0]:
            self.smallest = size, words()

    def __str__(self) -> str:
        counts = (f"{self.programs} programs, {self.sequential} of them asked of PostgreSQL alone, with {self.messages} messages:"
                  f" {self.orders} orders, {self.repetitions} more with repetitions, {self.deliveries} deliveries")
        return f"{counts}; {self.faults} faults, the smallest:\n{self.smallest[1]}" if self.smallest else counts


def try_all(origins: list[Database], receivers: list[Database], programs: Iterable[Program], plain: Plain | None = None) -> Report:
    """Run programs, deliver the messages of each in every order to a fresh receiver, and to each origin what it lacks; report every node that is
    not as the oracle says, and what the oracle says otherwise than ``plain`` PostgreSQL."""
    report, rest = Report(), iter(programs)
    while chunk := list(itertools.islice(rest, PROGRAMS)):
        messages, scenarios = run(origins, chunk)
        report.programs += len(scenarios)
        report.messages += len(messages)
        scenarios = conclude(origins[0], messages, scenarios, report)
        if plain is not None:
            ask(plain, messages, scenarios, report)
        finish(origins, messages, scenarios, report)
        _play(receivers, messages, _instances(messages, scenarios, report), report)
    return report


def conclude(node: Database, messages: list[Message], scenarios: list[Scenario], report: Report) -> list[Scenario]:
    """Work out what is expected of each scenario, and return those where that can be: the others are faults already."""
    possible = []
    for scenario in scenarios:
        try:
            scenario.conclude(messages, node.columns["row"], conflicts=node.records_conflicts)
            possible.append(scenario)
        except AssertionError as error:
            report.blame(len(scenario.places), lambda scenario=scenario, error=error: f"{scenario.describe(messages)}\n{error}")
    return possible


def ask(plain: Plain, messages: list[Message], scenarios: list[Scenario], report: Report) -> None:
    """Compare what is expected of sequential programs with what PostgreSQL makes of them: the messages may be wrong in the same way as all nodes."""
    scenarios = [scenario for scenario in scenarios if scenario.program.sequential]
    report.sequential += len(scenarios)
    rows = plain.rows(scenarios)
    for scenario in scenarios:
        for key, expected in enumerate(scenario.expected, scenario.first_key):
            right, found = rows.get(key), dict(expected.row) if expected.row is not None else None
            if found is not None:
                found = {column: found[column] for column in right or found}
            if found != right:
                report.blame(len(scenario.places), lambda scenario=scenario, key=key, found=found, right=right:
                             f"{scenario.describe(messages)}\nkey {key - scenario.first_key + 1} is expected to be\n  {found}, PostgreSQL makes it\n  {right}")


def finish(origins: list[Database], messages: list[Message], scenarios: list[Scenario], report: Report) -> None:
    """Let each origin get all that it lacks, and compare it."""
    everybody = range(len(origins))
    catch_up(origins, messages, [(scenario, target, [source for source in everybody if source != target])
                                 for scenario in scenarios for target in everybody])
    for index, origin in enumerate(origins):
        for place, fault in differences(origin, [(scenario, scenario.first_key) for scenario in scenarios], [True] * len(scenarios)):
            report.blame(len(scenarios[place].places), lambda scenario=scenarios[place], fault=fault, name="ABC"[index]:
                         f"{scenario.describe(messages)}\nat origin {name} itself, at the end: {fault}")


def interleavings(streams: list[list[tuple[int, ...]]]) -> Iterator[list[int]]:
    """Give every order of the streams' units that keeps the order within each stream."""
    if not any(streams):
        yield []
    for index, stream in enumerate(streams):
        if stream:
            for rest in interleavings([*streams[:index], stream[1:], *streams[index + 1:]]):
                yield [*stream[0], *rest]


def units(messages: list[Message], scenario: Scenario) -> list[list[tuple[int, ...]]]:
    """Split each origin's stream into what may be overtaken one by one: messages, or transactions where there were too many orders of messages."""
    lengths = [len(sent) for sent in scenario.sent]
    if math.factorial(sum(lengths)) // math.prod(map(math.factorial, lengths)) <= FINEST_ORDERS:
        return [[(place,) for place in sent] for sent in scenario.sent]
    return transactions(messages, scenario)


def transactions(messages: list[Message], scenario: Scenario) -> list[list[tuple[int, ...]]]:
    """Split each origin's stream into the messages of each operation."""
    return [[tuple(group) for _, group in itertools.groupby(sent, lambda place: messages[place].operation)] for sent in scenario.sent]


def is_real(messages: list[Message], order: list[int]) -> bool:
    """Tell whether links alone can bring messages so: no message twice, because an apply worker's progress is part of its transaction, and nothing of
    the same key within a transaction, because its rows are locked until it ends. The rows do not depend on that,
    their history may."""
    runs = [operation for operation, _ in itertools.groupby(messages[place].operation for place in order)]
    return len(runs) == len(set(runs)) and len(order) == len(set(order))


def repetitions(messages: list[Message], order: list[int]) -> Iterator[list[int]]:
    """Give the order with something that came already once more at each later moment: one message, or all of an origin as after a copy of its rows."""
    for position in range(1, len(order) + 1):
        before = order[:position]
        again = {(place,) for place in before} | {tuple(place for place in before if messages[place].origin == origin) for origin in range(ORIGINS)}
        for places in sorted(again - {()}):
            yield [*before, *places, *order[position:]]


def a_repetition(messages: list[Message], order: list[int], number: int) -> list[int]:
    """Give one repetition of an origin's messages, a different one for each number."""
    before = order[:1 + number % len(order)]
    origins = sorted({messages[place].origin for place in before})
    origin = origins[number // len(order) % len(origins)]
    return [*before, *(place for place in before if messages[place].origin == origin), *order[len(before):]]


def _instances(messages: list[Message], scenarios: list[Scenario], report: Report) -> Iterator[tuple[Scenario, list[int]]]:
    """Give each order to be tried, with its scenario."""
    for scenario in scenarios:
        for number, later in enumerate(interleavings(units(messages, scenario))):
            order = scenario.everywhere + later
            report.orders += 1
            yield scenario, order
            if len(order) <= EVERY_REPETITION:
                for repeated in repetitions(messages, order):
                    report.repetitions += 1
                    yield scenario, repeated
            elif number % LARGER_REPEATED == 0:
                report.repetitions += 1
                yield scenario, a_repetition(messages, order, number // LARGER_REPEATED)


def _play(receivers: list[Database], messages: list[Message], instances: Iterator[tuple[Scenario, list[int]]], report: Report) -> None:
    """Try all instances, each receiver a batch at a time."""
    lock = threading.Lock()

    def work(receiver: Database) -> None:
        while True:
            with lock:
                batch = list(itertools.islice(instances, BATCH))
                report.deliveries += sum(len(order) for _, order in batch)
            if not batch or report.faults > ENOUGH_FAULTS:
                return
            deliver(receiver, messages, batch)
            with lock:
                compare(receiver, messages, batch, report)

    with ThreadPoolExecutor(len(receivers)) as pool:
        list(pool.map(work, receivers))


def deliver(receiver: Database, messages: list[Message], batch: list[tuple[Scenario, list[int]]], *, empty: bool = True) -> None:
    """Deliver each order of the batch under keys of its own, to an empty receiver or to what it holds."""
    if empty:
        receiver.empty()
    receiver.load(messages)
    receiver.deliver(messages, [(first_key(scenario.program, number) - scenario.first_key, order) for number, (scenario, order) in enumerate(batch)])


def compare(receiver: Database, messages: list[Message], batch: list[tuple[Scenario, list[int]]], report: Report, *, conflicts: bool = True) -> None:
    """Compare what the receiver holds of each order of the batch with what is expected.

    The history of conflicts is compared, unless ``conflicts`` is false, where :func:`is_real` says that links can bring such an order.
    """
    keys = [(scenario, first_key(scenario.program, number)) for number, (scenario, _) in enumerate(batch)]
    for place, fault in differences(receiver, keys, [conflicts and is_real(messages, order) for _, order in batch]):
        scenario, order = batch[place]
        report.blame(len(order), lambda scenario=scenario, fault=fault, order=order:
                     f"{scenario.describe(messages)}\ndelivered to a fresh node in the order {order}: {fault}")


def differences(node: Database, scenarios: list[tuple[Scenario, int]], conflicts: list[bool]) -> Iterator[tuple[int, str]]:
    """Compare what the node holds, from a key on, with what is expected of a scenario, its conflicts included or not; gives the place in the list and
    what differs."""
    rows, tombstones, lost = node.rows(), node.tombstones(), node.conflicts()
    for place, ((scenario, first), also_conflicts) in enumerate(zip(scenarios, conflicts, strict=True)):
        for key, expected in enumerate(scenario.expected, first):
            found = Outcome(rows.get(key), tombstones.get(key), lost.get(key, frozenset()) - expected.doubtful if also_conflicts else expected.conflicts)
            if found != expected:
                yield place, f"key {key - first + 1} is\n  {found}, expected\n  {expected}"
                break

