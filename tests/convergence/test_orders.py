"""Every order of delivery ends alike: for every small set of operations at three origins, by every order that keeps each origin's own order.

The operations are inserts, updates, deletions, insertions of a deleted key again and changes of a key, each wherever it changes something; the sets
are enumerated, not chosen (programs.py). Each order is tried as it is and with repetitions, without any sweep, and must give what the
oracle reads from the messages alone; of statements that change a row twice also what PostgreSQL alone makes of them, one after the other (plain.py).
``PGUNISON_ORDERS=all`` adds the larger sets, which take an hour.
"""

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import replace

import psycopg2
import pytest

from tests.convergence.database import HOME
from tests.convergence.messages import Message
from tests.convergence.oracle import lost
from tests.convergence.orders import Report, conclude, deliver, interleavings, is_real, try_all
from tests.convergence.plain import Plain
from tests.convergence.programs import CLOCKS, HOUR, INITIAL, Operation, Program, programs, twice
from tests.convergence.scenario import run

ONE_KEY, TWO_KEYS = ("absent", "present", "deleted"), ("absent", "present", "both present")


def up_to(length: int, **choices) -> Iterator[Program]:
    """Enumerate the programs of one operation and more."""
    return itertools.chain.from_iterable(programs(shorter, **choices) for shorter in range(1, length + 1))


# What is tried: the longest program, and the choices of programs.programs(). Where all write at once, a right clock gives every order of versions there
# is; where some saw what others did, the clock matters.
SETS = {
    **{f"six at once, one key {initial}": (6, {"keys": 1, "clock": "right", "initial": initial, "sees": "nothing"}) for initial in ONE_KEY[:2]},
    **{f"four, one key {initial}, {clock} clocks": (4, {"keys": 1, "clock": clock, "initial": initial, "sees": "any"})
       for initial, clock in [*itertools.product(ONE_KEY[:2], CLOCKS), ("deleted", "falling"), ("deleted", "backwards")]},
    "four, one key present, equal clocks, mirrored": (4, {"keys": 1, "clock": "equal", "initial": "present", "sees": "any", "mirrored": True}),
    "four, one key absent, falling clocks, no part": (4, {"keys": 1, "clock": "falling", "initial": "absent", "sees": "any", "own_keys": False}),
    "four, one key present, right clocks, no part": (4, {"keys": 1, "clock": "right", "initial": "present", "sees": "any", "own_keys": False}),
    **{f"four at once, two keys {initial}": (4, {"keys": 2, "clock": "right", "initial": initial, "sees": "nothing"}) for initial in TWO_KEYS[:2]},
    **{f"three, two keys {initial}, {clock} clocks": (3, {"keys": 2, "clock": clock, "initial": initial, "sees": "all or nothing"})
       for initial, clock in zip(TWO_KEYS * 2, CLOCKS, strict=False)},
}
LARGER = {
    **{f"six, one key {initial}, {clock} clocks": (6, {"keys": 1, "clock": clock, "initial": initial, "sees": "all or nothing"})
       for initial in ONE_KEY[:2] for clock in ("right", "falling")},
    **{f"five, one key {initial}, {clock} clocks": (5, {"keys": 1, "clock": clock, "initial": initial, "sees": "any"})
       for initial in ONE_KEY for clock in CLOCKS},
    **{f"five at once, two keys {initial}": (5, {"keys": 2, "clock": "right", "initial": initial, "sees": "nothing"}) for initial in TWO_KEYS},
    **{f"four, two keys {initial}, {clock} clocks": (4, {"keys": 2, "clock": clock, "initial": initial, "sees": "any"})
       for initial in TWO_KEYS for clock in CLOCKS},
}
# enough for each fault that is put in below
FEW = [(length, {"keys": keys, "clock": clock, "initial": "present", "sees": "all or nothing"})
       for length, keys in ((3, 1), (2, 2)) for clock in ("right", "equal", "falling")]
MERGE = r"_(merge|merge_row|merge_image|settle)$"
# the key is not made known (services/sql/know.sql)
LEFT_FRESH = r"OPERATOR\(pg_catalog\.<=\) pg_catalog\.pg_sequence_last_value", "> -2 OR 0 <= pg_catalog.pg_sequence_last_value"
CHOSEN = SETS | (LARGER if os.environ.get("PGUNISON_ORDERS") == "all" else {})


def few(*clocks: str) -> list[Program]:
    """Enumerate the few programs, or those of certain clocks."""
    return [program for length, choices in FEW if choices["clock"] in (clocks or CLOCKS) for program in up_to(length, **choices)]


@pytest.mark.parametrize("name", CHOSEN)
def test_every_order_ends_alike(laboratory, name):
    length, choices = CHOSEN[name]
    report = try_all(laboratory.origins, laboratory.receivers, up_to(length, **choices))
    print(report)
    assert not report.faults, report
    assert report.orders >= report.programs > 0


@pytest.mark.parametrize(("initial", "clock", "home"), [("family", "falling", HOME), ("family", "equal", None), ("both present", "right", HOME)])
def test_every_order_ends_alike_where_a_statement_changes_a_row_twice(laboratory, initial, clock, home):
    with laboratory.housed(home):
        report = try_all(laboratory.origins, laboratory.receivers, twice(2, clock=clock, initial=initial), laboratory.plain)
    print(report)
    assert report.sequential > 0
    assert not report.faults, report
    assert report.orders >= report.programs > 0


@pytest.mark.parametrize(("initial", "statement"), [("present", "renew"), ("both present", "replace"), ("both present", "relay")])
def test_a_deletion_that_lost_to_a_row_which_is_replaced_is_in_some_histories(laboratory, initial, statement):
    """B's deletion loses to A's row; then B deletes that row and puts another one there, in one statement: the only tombstone yet is the one that lost."""
    deletion, change = Operation(1, "delete", 0), Operation(0, "update", 0, clock=HOUR)
    program = Program((deletion, change, Operation(1, statement, 0, frozenset({0}), clock=1)), INITIAL[initial])
    report = try_all(laboratory.origins, laboratory.receivers, [program])
    assert not report.faults, report
    assert report.orders > 1


def test_a_child_that_outlived_its_parent_is_not_changed_twice(laboratory):
    """A deletes the parent, of which B's child, changed later, knows nothing: B's PostgreSQL refuses the second change, and nothing of the first is sent."""
    change, deletion = Operation(1, "update", 1, clock=HOUR), Operation(0, "delete", 0)
    program = Program((change, deletion, Operation(1, "again", 1, frozenset({0}), clock=HOUR)), INITIAL["family"])
    messages, _ = run(laboratory.origins, [program])
    assert {each.operation for each in messages} == set(range(len(program.all) - 1))
    assert not try_all(laboratory.origins, laboratory.receivers, [program]).faults


def test_what_came_already_writes_nothing(laboratory):
    assert rewritten(laboratory) == set()


# --- faults that are put into the merge, each found ---


def test_a_receiver_that_compares_only_times_is_found(laboratory):
    assert receiver_with(laboratory, r"\((\w+)\.modified_ts, \w+\.modified_node\) ([<>]) \((\w+)\.modified_ts, \w+\.modified_node\)",
                         r"\1.modified_ts \2 \3.modified_ts")


def test_a_receiver_that_ignores_tombstones_is_found(laboratory):
    assert receiver_with(laboratory, r'FROM (\S+_tombstone"?) AS d', r"FROM (SELECT * FROM \1 LIMIT 0) AS d", MERGE)


def test_a_receiver_that_forgets_tombstones_is_found(laboratory):
    assert receiver_with(laboratory, "RETURN NEW", "RETURN NULL", "_merge_tombstone$")


def test_a_receiver_that_takes_the_older_state_is_found(laboratory):
    assert receiver_with(laboratory, r"\) > \(", ") < (", MERGE)


def test_a_receiver_that_deletes_newer_rows_is_found(laboratory):
    assert receiver_with(laboratory, r"\) <= \(", ") <> (", "_merge_tombstone$")


def test_a_receiver_that_takes_equal_versions_again_is_found(laboratory):
    with laboratory.receivers[0].mutated(r"\) > \(", ") >= (", MERGE):
        assert rewritten(laboratory)


def test_an_origin_that_stamps_no_later_than_what_is_replaced_is_found(laboratory):
    # such an origin refuses to use a key again, so none does
    lasting = [program for program in few("falling") if all(each.verb in ("update", "delete") for each in program.operations)]
    assert origins_with(laboratory, "'1 microsecond'", "'-100 years'", lasting).faults


def test_an_origin_that_stamps_no_later_than_the_tombstone_is_found(laboratory):
    assert origins_with(laboratory, r"\(d\.modified_ts, d\.modified_node\) >= \(\w\.modified_ts, \w\.modified_node\)", "false", few()).faults


def test_an_origin_that_does_not_bury_a_changed_key_is_found(laboratory):
    assert origins_with(laboratory, r"(?s)INSERT INTO \S+_tombstone\W.*?;", "", few(), "_move$").faults


def test_a_receiver_whose_tombstones_leave_keys_fresh_is_found(laboratory):
    assert receiver_with(laboratory, *LEFT_FRESH, "_merge_tombstone$")


def test_an_origin_whose_deletions_leave_keys_fresh_is_found(laboratory):
    # what other origins delete, and changes of keys, would make the keys known
    alone = [program for program in up_to(3, keys=1, clock="falling", initial="present", sees="all or nothing")
             if all(operation.origin == 0 for operation in program.all)]
    assert origins_with(laboratory, *LEFT_FRESH, alone, "_bury$").faults


def test_an_origin_that_keeps_to_itself_what_set_default_changes_again_is_found(laboratory):
    """Where a statement has changed the row before, by a CASCADE, SET DEFAULT changes what the statement itself has made."""
    silent = "OLD.xmin = pg_catalog.pg_current_xact_id()::pg_catalog.xid AND NEW.home IS DISTINCT FROM OLD.home"
    fault = r"(NEW\.modified_node := \d+;)", rf"\1 IF {silent} THEN RETURN NEW; END IF;"
    programs = [Program((Operation(0, verb, key),), INITIAL["family"]) for verb in ("move", "delete") for key in (0, 1)]
    homeless = [replace(program, initial=tuple(replace(each, verb=each.verb.replace("home", "parent")) for each in program.initial))
                for program in programs]
    with laboratory.housed(HOME):
        assert origins_with(laboratory, *fault, programs, "_image$").faults
        assert not origins_with(laboratory, *fault, homeless, "_image$").faults


def test_origins_that_all_make_something_else_of_set_default_are_found(laboratory):
    """The nodes are the same then: only PostgreSQL alone says that they are wrong."""
    fault = r"(NEW\.modified_node := \d+;)", rf"\1 IF NEW.home = {HOME} AND OLD.home <> {HOME} THEN NEW.home := NULL; END IF;"
    programs = list(twice(1, clock="right", initial="family"))
    with laboratory.housed(HOME):
        assert not origins_with(laboratory, *fault, programs, "_image$").faults
        assert origins_with(laboratory, *fault, programs, "_image$", laboratory.plain).faults
        assert not try_all(laboratory.origins, laboratory.receivers, programs, laboratory.plain).faults


def test_the_functions_are_right_again_after_each_fault(laboratory):
    assert not try_all(laboratory.origins, laboratory.receivers, few()).faults


def receiver_with(laboratory, pattern: str, replacement: str, function: str = "") -> bool:
    """Try a few programs with a fault in a receiver; tells whether anything was wrong."""
    with laboratory.receivers[0].mutated(pattern, replacement, function):
        try:
            return try_all(laboratory.origins, laboratory.receivers[:1], few()).faults > 0
        except psycopg2.IntegrityError:
            # its link would stand still
            return True


def origins_with(laboratory, pattern: str, replacement: str, programs: list[Program], function: str = "", plain: Plain | None = None) -> Report:
    """Try programs with the same fault in every origin."""
    first, second, third = laboratory.origins
    with first.mutated(pattern, replacement, function), second.mutated(pattern, replacement, function), third.mutated(pattern, replacement, function):
        return try_all(laboratory.origins, laboratory.receivers, programs, plain)


def rewritten(laboratory) -> set[tuple]:
    """Deliver a few programs' messages, and then all of them again in either direction; return what was written by that."""
    receiver = laboratory.receivers[0]
    messages, scenarios = run(laboratory.origins, few())
    scenarios = conclude(receiver, messages, scenarios, Report())
    deliver(receiver, messages, [(scenario, scenario.places) for scenario in scenarios])
    before = receiver.places()
    again = [(scenario, [*reversed(scenario.places), *scenario.places]) for scenario in scenarios]
    deliver(receiver, messages, again, empty=False)
    return before ^ receiver.places()


# --- the test's own parts ---


@pytest.mark.parametrize("lengths", [(0, 0, 0), (3, 0, 0), (1, 1, 1), (2, 2, 1), (2, 2, 2)])
def test_interleavings_are_all_orders_that_keep_each_stream(lengths):
    streams = [[(10 * stream + number,) for number in range(length)] for stream, length in enumerate(lengths)]
    found = [tuple(order) for order in interleavings(streams)]
    units = [unit for stream in streams for unit, in stream]
    expected = {order for order in itertools.permutations(units) if all(sorted(part) == part for part in ([u for u in order if u // 10 == stream]
                                                                                                     for stream in range(3)))}
    assert set(found) == expected
    assert len(found) == len(expected) == math.factorial(sum(lengths)) // math.prod(map(math.factorial, lengths))


def test_programs_are_enumerated_once():
    found = [program for choices in ({"keys": 1, "initial": "absent"}, {"keys": 2, "initial": "present"})
             for program in up_to(3, clock="right", sees="any", **choices)]
    found += twice(2, clock="right", initial="family")
    assert len(found) == len(set(found)) > 5000


@pytest.mark.parametrize(("operations", "sequential"), [
    ([(0, ""), (0, ""), (1, "0")], True), ([(0, ""), (1, "")], False), ([(0, ""), (1, "0"), (0, "")], False), ([(0, ""), (1, "0"), (0, "1")], True),
    ([(0, ""), (1, "0"), (2, "1")], False), ([(0, ""), (1, "0"), (2, "01")], True)])
def test_a_program_is_sequential_when_each_writer_saw_all(operations, sequential):
    made = tuple(Operation(origin, "update", 0, frozenset(map(int, sees))) for origin, sees in operations)
    assert Program(made).sequential == sequential


def message(second: int, node: int, kind: str = "image", replaced: tuple[int, int] | None = None) -> Message:
    """Make a message whose version is a second and a node, as is the version that it replaced."""
    versions = [("modified", (second, node))] + ([("unison_replaced", replaced)] if replaced else [])
    return Message(node - 1, second, kind, 0, tuple(value for prefix, (moment, index) in versions
                                                    for value in ((f"{prefix}_ts", f"2020-01-01 00:00:0{moment}+00"), (f"{prefix}_node", str(index)))))


def seconds_lost(*messages: Message) -> list[str]:
    return sorted(moment[18] for moment, _ in lost(list(messages))[0])


def test_a_version_that_was_replaced_is_not_lost():
    assert seconds_lost(message(1, 1, "row"), message(2, 1, replaced=(1, 1)), message(3, 2, "tombstone", (2, 1))) == []


def test_a_version_that_nobody_had_seen_is_lost():
    assert seconds_lost(message(1, 1, "row"), message(2, 1, replaced=(1, 1)), message(3, 2, replaced=(1, 1))) == ["2"]


def test_a_deletion_is_lost_to_a_row_and_not_to_a_deletion():
    first = message(2, 1, "tombstone", (1, 1))
    assert seconds_lost(message(1, 1, "row"), first, message(3, 2, replaced=(1, 1))) == ["2"]
    assert seconds_lost(message(1, 1, "row"), first, message(3, 2, "tombstone", (1, 1))) == []


def test_a_deletion_is_not_surely_replaced_by_who_deletes_what_it_lost_to():
    before, deletion, change = message(1, 1, "row"), message(2, 1, "tombstone", (1, 1)), message(3, 2, replaced=(1, 1))
    statement = [replace(each, operation=4) for each in (message(4, 1, replaced=(2, 1)), message(5, 1, "tombstone", (3, 2)),
                                                         message(4, 1, replaced=(5, 1)), message(6, 1, replaced=(4, 1)))]
    assert lost([before, deletion, change, *statement]) == (frozenset(), frozenset({deletion.version}))
    # who deletes what the same statement made has seen the deletion
    made = [replace(each, operation=4) for each in (message(4, 1, replaced=(2, 1)), message(5, 1, "tombstone", (4, 1)))]
    assert lost([before, deletion, change, *made]) == (frozenset({change.version}), frozenset())


def test_no_link_repeats_a_message_or_splits_a_transaction():
    messages = [message(1, 1, "row"), message(1, 1), message(2, 2)]
    assert is_real(messages, [0, 1, 2]) and is_real(messages, [2, 0, 1])
    assert not is_real(messages, [0, 2, 1]) and not is_real(messages, [0, 1, 2, 0])
