#!/usr/bin/env python3
"""Fight over rows from all nodes, with UPDATE and DELETE, then check that every node ends with the last of the competing values."""

import itertools
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from byhand.commandline import main
from byhand.fight import Fight
from byhand.history import fault
from byhand.run import Row, Run, require, shown, side_by_side

from host.balance import Balancer
from host.verify import verify

SECONDS = 3.0
THREADS = 3
CONTESTED = 5
DOOMED = 40
QUIET = 20
KEYS_SHOWN = 5


def test(run: Run) -> None:
    """Fight over a few rows from all nodes, with UPDATE and DELETE; every node must end with the last of the competing values."""
    groups, seed = run.groups("writer"), random.randrange(2**32)
    explicit = next((group for group in groups if not group.autocommit), None)
    require(explicit, "this test needs a group of writers without autocommit", "the configuration has none", 'set "autocommit": false for one')
    run.report.say(f"update: {', '.join(group.name for group in groups)} fight over the same rows from all nodes, {THREADS} threads each, for {SECONDS:.0f} s;"
                   f" every node must then hold the last values\nrun {run.id}, seed {seed}")
    with Balancer(run.site, [group.name for group in groups]) as balancer:
        fight = Fight(run, balancer)
        contested, doomed, twice = ([fight.insert(groups[0], kind) for _ in range(count)]
                                    for kind, count in (("contested", CONTESTED), ("doomed", DOOMED), ("twice", QUIET)))
        run.await_barrier()
        until = time.monotonic() + SECONDS
        fighters = [Fighter(fight, group, contested, doomed, until, seed + number) for number, group in enumerate(groups * THREADS)]
        inserted: list[int] = []
        tasks = [fighter.update for fighter in fighters] + [fighters[0].delete]
        tasks.append(lambda: inserted.extend(in_one_transaction(fight, explicit, twice, until)))
        side_by_side(lambda task: task(), tasks)
    run.report.spread(fight.spread)
    run.await_barrier()
    run.sweep()
