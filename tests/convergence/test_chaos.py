"""Chaos with every fault there is: when they end, every node holds the same rows, and everything that was acknowledged.

``PGUNISON_SEEDS`` names the seeds, with commas; without it one is drawn. ``PGUNISON_SECONDS`` says how long each run breaks things.
"""

import os
import secrets
import subprocess
import sys

import pytest

from chaos import disk
from chaos.options import Options
from chaos.run import run
from chaos.workloads.append import Append
from tests.conftest import DEFAULT, PROJECT

# processes that share the tests must name them alike, so what is drawn is not in a name
SEEDS = [int(seed) for seed in os.environ["PGUNISON_SEEDS"].split(",")] if "PGUNISON_SEEDS" in os.environ else ["drawn"]
SECONDS = int(os.environ.get("PGUNISON_SECONDS", "25"))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_writes_under_every_fault_end_with_the_same_rows(state_directory, runtime, seed):
    report = run(Options(seed=secrets.randbelow(10**6) if seed == "drawn" else seed, seconds=SECONDS, runtime=runtime), DEFAULT, print)
    print(report.counts())
    assert report.converged, report.found()
    for name, counts in report.operations.items():
        assert counts["ok"] > SECONDS, f"{name}: {counts}"
    # most containers suffer for long, and on a busy machine what is healed late is struck less often
    assert len(report.faults) > len(report.options.faults) / (2 if runtime == "process" else 3), report.faults
    assert not list(state_directory.glob("chaos-*"))


@pytest.mark.skipif(disk.impossible() is not None, reason=f"no file system can be made here: {disk.impossible()}")
def test_root_can_fill_a_disk(tmp_path):
    folder = tmp_path / "disk"
    disk.mount(folder)
    try:
        disk.fill(folder)
        with pytest.raises(OSError, match="No space left"):
            (folder / "file").write_bytes(b"x" * max(disk.SPARE_BYTES) * 2)
        disk.free(folder)
        (folder / "file").write_bytes(b"x" * max(disk.SPARE_BYTES) * 2)
    finally:
        disk.unmount(folder)
    assert not os.path.ismount(folder)


def test_a_disk_that_cannot_be_full_is_left_out_and_said(state_directory, monkeypatch):
    monkeypatch.setattr(disk, "impossible", lambda: "permission denied")
    said = []
    report = run(Options(seed=1, seconds=1, nodes=2, faults=("disk",)), DEFAULT, said.append, (Append,))
    assert "the full disk is left out, because no file system can be made for it: permission denied" in said
    assert report.options.faults == () and report.converged, report.found()


def command(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, PROJECT / "orchestrator.py", "chaos", *words], capture_output=True, text=True, timeout=300)


def test_the_command_says_how_it_ended(state_directory):
    done = command("--seed", "7", "--seconds", "3", "--nodes", "2", "--faults", "pause")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "seed 7, 3 s, 2 nodes, faults: pause"
    assert "bank" in done.stdout and done.stdout.splitlines()[-1] == "every node holds the same rows, and everything that was acknowledged"


def test_the_command_ends_with_status_3_when_chaos_finds_something(state_directory):
    done = command("--seed", "7", "--seconds", "4", "--nodes", "3", "--faults", "clock,isolate", "--plant", "tombstone")
    assert done.returncode == 3, done.stderr
    assert "keys of moving of which the nodes hold different rows" in done.stderr and "first: " in done.stderr and "acknowledged last: " in done.stderr
    assert not list(state_directory.glob("chaos-*"))
    assert "again: python3 orchestrator.py chaos --seed 7 --seconds 4 --nodes 3 --faults isolate,clock --plant tombstone" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("hint: ")
