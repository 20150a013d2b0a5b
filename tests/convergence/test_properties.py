"""Properties of the merge, on random programs that are longer than those of test_orders.py: it is commutative, associative and idempotent."""

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.convergence.database import HOME
from tests.convergence.messages import Message
from tests.convergence.orders import Report, compare, conclude, deliver, finish, transactions
from tests.convergence.programs import HOUR, INITIAL, ORIGINS, STATEMENTS, Operation, Program
from tests.convergence.scenario import Scenario, run

OPERATIONS = st.builds(
    Operation, origin=st.integers(0, ORIGINS - 1), verb=st.sampled_from(sorted(STATEMENTS)), key=st.integers(0, 1),
    sees=st.frozensets(st.integers(0, ORIGINS - 1)), clock=st.integers(0, 2) | st.integers(-HOUR, HOUR))
PROGRAMS = st.builds(Program, operations=st.lists(OPERATIONS, min_size=1, max_size=20).map(tuple),
                     initial=st.sampled_from(list(INITIAL.values())), own_keys=st.booleans())
RANDOM = st.integers(0, 2**32).map(random.Random)
# a failure prints what repeats it: an example may be rare
SETTINGS = settings(max_examples=40, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.fixture(scope="module")
def play(laboratory):
    """Run a program at the origins; returns all its messages, what is expected of them, and a report that has to stay clean."""
    def play(program: Program) -> tuple[list[Message], Scenario, Report]:
        operations = tuple(replace(each, sees=each.sees - {each.origin}) for each in program.operations)
        messages, (scenario,) = run(laboratory.origins, [replace(program, operations=operations)])
        note(scenario.describe(messages))
        report = Report()
        conclude(laboratory.origins[0], messages, [scenario], report)
        assert not report.faults, report
        return messages, scenario, report

    with laboratory.housed(HOME):
        yield play


@SETTINGS
@given(program=PROGRAMS, choice=RANDOM)
def test_orders_that_keep_each_origins_own_end_alike(laboratory, play, program, choice):
    messages, scenario, report = play(program)
    finish(laboratory.origins, messages, [scenario], report)
    assert not report.faults, report
    check(laboratory, messages, scenario, [scenario.everywhere + interleaved(transactions(messages, scenario), choice) for _ in range(10)])


@SETTINGS
@given(program=PROGRAMS, choice=RANDOM)
def test_the_merge_is_commutative(laboratory, play, program, choice):
    messages, scenario, _ = play(program)
    check(laboratory, messages, scenario, [choice.sample(scenario.places, len(scenario.places)) for _ in range(10)], conflicts=False)


@SETTINGS
@given(program=PROGRAMS, choice=RANDOM)
def test_the_merge_is_idempotent(laboratory, play, program, choice):
    messages, scenario, _ = play(program)
    receiver, places = laboratory.receivers[0], scenario.places
    check(laboratory, messages, scenario, [choice.sample(places + choice.choices(places, k=len(places)) if places else [], 2 * len(places))
                                           for _ in range(5)], conflicts=False)
    deliver(receiver, messages, [(scenario, places)])
    before = receiver.places()
    deliver(receiver, messages, [(scenario, choice.sample(places, len(places)))], empty=False)
    assert receiver.places() == before, "what came already was written again"


@SETTINGS
@given(program=PROGRAMS, choice=RANDOM)
def test_the_merge_is_associative(laboratory, play, program, choice):
    messages, scenario, _ = play(program)
    first, second = laboratory.receivers
    mixed = choice.sample(scenario.places, len(scenario.places))
    cut = choice.randint(0, len(mixed))
    for receiver, part in ((first, mixed[:cut]), (second, mixed[cut:])):
        deliver(receiver, messages, [(scenario, part)])
    # (the one part) with (the other, merged before), as a seed does it; then the other way round
    for receiver, peer in ((first, second), (second, first)):
        receiver.copy_from(peer)
        report = Report()
        # a copy of rows tells nothing of how they came to be
        compare(receiver, messages, [(scenario, mixed)], report, conflicts=False)
        assert not report.faults, report


def check(laboratory, messages: list[Message], scenario: Scenario, orders: list[list[int]], *, conflicts: bool = True) -> None:
    """Deliver each order to a fresh receiver and compare.

    ``conflicts``: the history, too. It is right for orders that keep each origin's own, which are all that links deliver; the rows are for any.
    """
    report, batch = Report(), [(scenario, order) for order in orders]
    deliver(laboratory.receivers[0], messages, batch)
    compare(laboratory.receivers[0], messages, batch, report, conflicts=conflicts)
    assert not report.faults, report


def interleaved(streams: list[list[tuple[int, ...]]], choice: random.Random) -> list[int]:
    """Mix the streams' transactions at random; each stream keeps its own order."""
    turns = [index for index, stream in enumerate(streams) for _ in stream]
    choice.shuffle(turns)
    rest = [iter(stream) for stream in streams]
    return [place for turn in turns for place in next(rest[turn])]
