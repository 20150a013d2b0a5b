"""Chaos finds what each part of the merge is for: with one part turned off, a short run ends with a difference, within a few seeds.

Where a plant also makes what the part is for more frequent, that alone, with every part in place, ends with the same rows.
"""

import random

import pytest

from chaos import planted
from chaos.options import PLANTS, Options
from chaos.report import Report
from chaos.run import run
from chaos.workload import Window
from chaos.workloads.administrator import Administrator
from chaos.workloads.cascades import Cascades
from chaos.workloads.contested import Statement
from chaos.workloads.hot import Hot
from chaos.workloads.large import Large
from chaos.workloads.reborn import KEYS, STEP, Reborn
from tests.conftest import DEFAULT


class Crowd(Reborn):
    """Many writers that insert and delete few keys, each a few times: so a deletion often arrives while a row of its key is being inserted."""

    writers = 8

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self._rounds = Window(1, 3 * KEYS)

    def statement(self, choice: random.Random) -> Statement:
        key, value = self._rounds.draw(choice, self._rounds.next()) * STEP + choice.randrange(KEYS), f"{choice.getrandbits(40):x}"
        return choice.choice((Statement(f"INSERT INTO moving (id, value) VALUES ({key}, '{value}')"),
                              Statement(f"DELETE FROM moving WHERE id = {key}", (str(key),), "deleted")))


SEEDS = range(1, 6)
SECONDS = 6
FAULTS = {"stamp": ("pause", "clock"), "sweep": ()}
# native replication stops for good at a changed key; hot keys show that rows differ
WORKLOADS = {"image": (Hot, Large), "sweep": (Crowd,), "cascade": (Cascades,), "guard": (Administrator,)}


def shaken(plant: str, seed: int) -> Report:
    options = Options(seed=seed, seconds=SECONDS, faults=FAULTS.get(plant, ("pause", "isolate")), plant=plant)
    return run(options, DEFAULT, print, WORKLOADS.get(plant, (Hot, Reborn, Large)))


@pytest.mark.parametrize("plant", PLANTS)
def test_a_part_that_is_turned_off_is_missed(state_directory, plant):
    for seed in SEEDS:
        report = shaken(plant, seed)
        print(report.counts())
        if not report.converged:
            print(report.found())
            return
    pytest.fail(f"chaos did not find in {len(SEEDS)} seeds that {PLANTS[plant]}")


@pytest.mark.parametrize(("plant", "alone"), [("tie", planted.same_moments), ("sweep", planted.races)])
def test_what_makes_it_frequent_is_no_fault(state_directory, monkeypatch, plant, alone):
    monkeypatch.setitem(planted.PLANTS, plant, alone)
    report = shaken(plant, SEEDS[0])
    assert report.converged, report.found()


def test_every_plant_is_described():
    assert set(planted.PLANTS) == set(PLANTS)
