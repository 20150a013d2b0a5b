#!/usr/bin/env python3
"""Fight over rows from all nodes, with UPDATE and DELETE, then check that every node ends with the last of the competing values."""

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pgunison.interpreter import require_packages

require_packages()

from byhand.commandline import main
from byhand.fight import Fight
from byhand.history import History, fault
from byhand.run import Row, Run, require, shown, side_by_side

from pgunison.cluster.barrier import Barrier
from pgunison.cluster.verify import verify
from pgunison.configuration.sysconfig import Group

SECONDS = 3.0
THREADS = 3
# How many rows: those that all update to the end; those that are deleted, too, one after another; those that meet one transaction only.
CONTESTED, DOOMED, QUIET = 5, 40, 20
# The part of the changes of a doomed row that are deletions.
DELETES = 0.2
KEYS_SHOWN = 5


def test(run: Run) -> None:
    """Fight over rows from all nodes, with UPDATE and DELETE; every node must then hold the last of the competing values."""
    groups = run.groups("writer")
    explicit = next((group for group in groups if not group.autocommit), None)
    require(explicit, "this test needs writers without autocommit", "no group of writers has \"autocommit\": false", "see sysconfig.json")
    run.report.say(f"update: {', '.join(group.name for group in groups)} change and delete the same rows at once, {THREADS} threads each, for {SECONDS:.0f} s;"
                   f" every node must then hold the last values\nrun {run.id}, seed {run.seed}")
    with run.pool(groups) as pool:
        fight = Fight(run, pool)
        contested, doomed, twice = ([fight.insert(groups[0], "new") for _ in range(count)] for count in (CONTESTED, DOOMED, QUIET))
        Barrier(run.site).wait(run.timeout_s)
        until = time.monotonic() + SECONDS
        fighters = [(group, random.Random(run.seed + number)) for number, group in enumerate(groups * THREADS)]
        tasks = [lambda fighter=fighter: compete(fight, *fighter, contested, doomed, until) for fighter in fighters]
        *_, updated = side_by_side(lambda task: task(), [*tasks, lambda: in_one_transaction(fight, explicit, twice)])
    run.report.spread(fight.spread, counted="transactions")
    run.await_barrier()
    run.sweep()
    rows = check_same(run)
    check_fight(run, fight.history, contested, rows)
    check_last(fight.history, twice + updated, rows)
    run.report.checked(f"{len(twice)} rows updated twice in one transaction hold the second value")
    run.report.checked(f"{len(updated)} rows inserted and updated in one transaction hold the updated value")
    check_doomed(run, fight.history, doomed, rows)
    for verified in verify(run.site):
        run.report.checked(f"{verified.table}: all {verified.rows} rows are the same")
    run.require_all_served()


def compete(fight: Fight, group: Group, choice: random.Random, contested: list[int], doomed: list[int], until: float) -> None:
    """Change contested rows until the very end, and the doomed row whose turn it is: all threads meet at the same one."""
    number = 0
    while (left_s := until - time.monotonic()) > 0:
        number += 1
        turn = doomed[int((1 - left_s / SECONDS) * len(doomed))]
        key = choice.choice([*contested, *[turn] * len(contested)])
        value = f"{group.name} {choice.randrange(10**6)} {number}"
        if key == turn and choice.random() < DELETES:
            fight.delete(group, key)
        elif group.autocommit:
            fight.update(group, key, value)
        else:
            fight.update(group, key, f"{value} first", f"{value} second")


def in_one_transaction(fight: Fight, group: Group, twice: list[int]) -> list[int]:
    """Update rows twice in one transaction, insert and update others in one; returns the keys of the latter."""
    inserted = []
    for key in twice:
        fight.update(group, key, "first", "second")
        inserted.append(fight.insert(group, "inserted", "updated"))
    return inserted


def check_same(run: Run) -> dict[int, Row]:
    """Every node must hold the same rows of this run; returns them."""
    held = run.held()
    keys = sorted(set().union(*held.values()))
    differing = [key for key in keys if len({rows.get(key) for rows in held.values()}) > 1]
    lines = [f"id {key}: " + "; ".join(f"{node} {shown(rows.get(key))}" for node, rows in held.items()) for key in differing[:KEYS_SHOWN]]
    require(not differing, "the nodes hold different rows of this run", "\n        ".join([f"{len(differing)} of {len(keys)} keys differ", *lines]))
    run.report.checked(f"the {len(keys)} rows of this run are the same on {', '.join(run.nodes)}")
    return held[run.nodes[0]]


def check_last(history: History, keys: list[int], rows: dict[int, Row]) -> None:
    """Each row must be what the operations on it demand."""
    faults = {key: found for key, operations in history.of(set(keys)).items() if (found := fault(operations, rows.get(key)))}
    lines = [f"id {key} {found}" for key, found in list(faults.items())[:KEYS_SHOWN]]
    require(not faults, "rows are not what was written last", "\n        ".join([f"{len(faults)} of {len(keys)} keys", *lines]))


def check_fight(run: Run, history: History, contested: list[int], rows: dict[int, Row]) -> None:
    """The fight must have been one: every node changed contested rows, and each of these was changed from several nodes."""
    counts = ", ".join(f"{history.count(outcome)} {outcome}" for outcome in ("ok", "missed", "failed", "unknown"))
    run.report.checked(f"{len(history.operations)} transactions: {counts}")
    check_last(history, contested, rows)
    versions = 0
    for key, operations in history.of(set(contested)).items():
        nodes = {operation.node for operation in operations if operation.version}
        require(len(nodes) >= min(2, len(run.nodes)), "a contested row was not contested", f"id {key} was changed on {', '.join(nodes)} only")
        require(not any(operation.outcome == "missed" for operation in operations), "a contested row was missing for a while", f"id {key}")
        versions += sum(operation.version is not None for operation in operations)
    run.report.checked(f"{len(contested)} contested rows: each holds the last of its versions, of {versions} in all")


def check_doomed(run: Run, history: History, doomed: list[int], rows: dict[int, Row]) -> None:
    """A row that was deleted while others updated it is gone, or holds the last update."""
    check_last(history, doomed, rows)
    deletions = [operation.key for operation in history.operations if operation.value is None and operation.outcome == "ok"]
    require(deletions, "no row was deleted", f"{history.count('failed')} transactions failed")
    deleted = set(deletions)
    stayed = len(deleted & set(rows))
    run.report.checked(f"{len(deleted)} of {len(doomed)} rows were deleted, {len(deletions)} times in all, while others updated them:"
                       f" {len(deleted) - stayed} are gone, {stayed} hold their last version")


if __name__ == "__main__":
    sys.exit(main(test, seeded=True))
