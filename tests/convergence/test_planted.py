"""Chaos finds what each part of the merge is for: with one part turned off, a short run ends with a difference, within a few seeds.

And with the same clocks and the same lingering, but every part in place, it finds nothing: what it finds is what was planted.
"""

import pytest

from chaos import planted
from chaos.options import PLANTS, Options
from chaos.run import run
from chaos.workloads.hot import Hot
from chaos.workloads.large import Large
from chaos.workloads.reborn import Reborn
from tests.conftest import DEFAULT

SEEDS = range(1, 6)
SECONDS = 5
FAULTS = {"stamp": ("pause", "clock")}
# native replication stops for good at a changed key; hot keys show that rows differ
WORKLOADS = {"image": (Hot, Large)}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_part_that_is_turned_off_is_missed(state_directory, plant):
    for seed in SEEDS:
        report = run(Options(seed=seed, seconds=SECONDS, faults=FAULTS.get(plant, ("pause", "isolate")), plant=plant), DEFAULT, print,
                     WORKLOADS.get(plant, (Hot, Reborn, Large)))
        print(report.counts())
        if not report.converged:
            print(report.found())
            return
    pytest.fail(f"chaos did not find in {len(SEEDS)} seeds that {PLANTS[plant]}")


def test_every_plant_is_described():
    assert set(planted.PLANTS) == set(PLANTS)
