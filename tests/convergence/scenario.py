"""Scenario: a program that was run at the origins, and the messages that came of it.

Programs are run all at once, each with keys of its own, step by step: so a slot is read a few times for thousands of them.
"""

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import psycopg2.errors

from tests.convergence.database import KEY, Database
from tests.convergence.messages import Message
from tests.convergence.oracle import Outcome, outcome
from tests.convergence.programs import ORIGINS, STATEMENTS, Operation, Program

# Even; the second one is behind the beginning of node 1's part of the sequence.
FIRST_KEY, FIRST_OWN_KEY = 2, 2**31 + 2
# From one scenario's keys to the next one's: so far that its own keys are fresh, whatever is known of those before (services/sql/know.sql).
STRIDE = 2048
TIME_0 = datetime.datetime(2020, 1, 10, tzinfo=datetime.UTC)


@dataclass
class Scenario:
    """A program and its messages, by their places in the list of all messages: those of the beginning, and what each origin sent after it."""

    program: Program
    first_key: int
    everywhere: list[int] = field(default_factory=list)
    sent: list[list[int]] = field(default_factory=lambda: [[] for _ in range(ORIGINS)])
    # how many of each other origin's messages an origin has got, and all that it has seen, its own too
    got: list[list[int]] = field(default_factory=lambda: [[0] * ORIGINS for _ in range(ORIGINS)])
    seen: list[set[int]] = field(default_factory=lambda: [set() for _ in range(ORIGINS)])
    # what the writer of each operation had seen before it
    history: list[frozenset[int]] = field(default_factory=list)
    # for each key, once all is done
    expected: list[Outcome] = field(default_factory=list)

    @property
    def places(self) -> list[int]:
        return self.everywhere + [place for sent in self.sent for place in sent]

    def conclude(self, messages: list[Message], columns: list[str], *, conflicts: bool) -> None:
        """Work out what every node must hold; AssertionError when what a writer saw and overwrote would win."""
        for key in (0, 1):
            mine = [messages[place] for place in self.places if messages[place].key == key]
            self.expected.append(outcome(mine, [column for column in columns if column != KEY], conflicts=conflicts))
            if mine:
                latest = max(message.version for message in mine)
                winning = {place for place in self.places if messages[place].key == key and messages[place].version == latest}
                for message in mine:
                    assert message.version == latest or not winning & self.history[message.operation], \
                        f"what operation {message.operation + 1} saw and changed wins over it"

    def describe(self, messages: list[Message]) -> str:
        """Show the program and its messages, one a line."""
        return "\n".join([str(self.program), *(f"[{place}] {'ABC'[messages[place].origin]} sends {messages[place]}" for place in self.places)])


def first_key(program: Program, number: int) -> int:
    """Return the first of the two keys that a program gets, as the ``number``-th of its kind."""
    return (FIRST_OWN_KEY if program.own_keys else FIRST_KEY) + STRIDE * number


def run(origins: list[Database], programs: Iterable[Program]) -> tuple[list[Message], list[Scenario]]:
    """Empty the origins and run programs there; returns all messages, and for each program where its own are."""
    for origin in origins:
        origin.empty()
    scenarios = [Scenario(program, first_key(program, number)) for number, program in enumerate(programs)]
    messages: list[Message] = []
    senders = [origin.sender() for origin in origins]
    try:
        for number in range(max((len(scenario.program.all) for scenario in scenarios), default=0)):
            now = [scenario for scenario in scenarios if number < len(scenario.program.all)]
            catch_up(origins, messages, [(scenario, scenario.program.all[number].origin, scenario.program.all[number].sees) for scenario in now])
            for origin, sender in zip(origins, senders, strict=True):
                _operate(origin, sender, messages, scenarios, number)
            _spread(origins, messages, [scenario for scenario in now if number == len(scenario.program.initial) - 1])
    finally:
        for sender in senders:
            sender.close()
    return messages, scenarios


def catch_up(origins: list[Database], messages: list[Message], wanted: list[tuple[Scenario, int, Iterable[int]]]) -> None:
    """Deliver to origins what they have not got yet: each item is a scenario, who gets its messages, and whose."""
    orders: list[list[tuple[int, list[int]]]] = [[] for _ in origins]
    for scenario, target, sources in wanted:
        for source in sorted(sources):
            news = scenario.sent[source][scenario.got[target][source]:]
            scenario.got[target][source] += len(news)
            scenario.seen[target].update(news)
            if news:
                orders[target].append((0, news))
    for origin, mine in zip(origins, orders, strict=True):
        if mine:
            origin.load(messages)
            origin.deliver(messages, mine)


def _operate(origin: Database, sender, messages: list[Message], scenarios: list[Scenario], number: int) -> None:
    """Execute the nth operation of each program that has it at this origin, and read what is sent then."""
    index = origin.index - 1
    mine = [scenario for scenario in scenarios if number < len(scenario.program.all) and scenario.program.all[number].origin == index]
    if not mine:
        return
    try:
        origin.write(_statements(mine, number))
    except psycopg2.errors.ForeignKeyViolation:
        # A child outlived its parent in a race of nodes. PostgreSQL asks for the parent where one transaction changes the child twice, and
        # refuses that rightly; of many statements it would be unclear which.
        if len(mine) > 1:
            raise
    for scenario in mine:
        scenario.history.append(frozenset(scenario.seen[index]))
    for kind, values in sender.read():
        key = int(values[KEY])
        scenario = scenarios[(key - (FIRST_OWN_KEY if key >= FIRST_OWN_KEY else FIRST_KEY)) // STRIDE]
        place = len(messages)
        assert int(values["modified_node"]) == origin.index, f"{origin.name} sends on what is not its own"
        messages.append(Message(index, number, kind, key - scenario.first_key, tuple(values.items())))
        (scenario.everywhere if number < len(scenario.program.initial) else scenario.sent[index]).append(place)
        scenario.seen[index].add(place)


def _spread(origins: list[Database], messages: list[Message], begun: list[Scenario]) -> None:
    """Bring what the initial operations made to every origin."""
    for index, origin in enumerate(origins):
        others = [scenario for scenario in begun if scenario.program.initial[0].origin != index]
        if others:
            origin.load(messages)
            origin.deliver(messages, [(0, scenario.everywhere) for scenario in others])
        for scenario in others:
            scenario.seen[index].update(scenario.everywhere)


def _statements(scenarios: list[Scenario], number: int) -> Iterator[str]:
    clock = None
    for scenario in sorted(scenarios, key=lambda scenario: scenario.program.all[number].clock):
        operation: Operation = scenario.program.all[number]
        if operation.clock != clock:
            clock = operation.clock
            yield f"SET test.clock = '{TIME_0 + datetime.timedelta(seconds=clock)}'"
        yield statement(scenario, number)


def statement(scenario: Scenario, number: int) -> str:
    """Return what the writer of the nth operation executes."""
    operation = scenario.program.all[number]
    return STATEMENTS[operation.verb].format(key=scenario.first_key + operation.key, other=scenario.first_key + 1 - operation.key,
                                             value=f"{'ABC'[operation.origin]}{number + 1}")
