"""tests/conftest.py: how the tests themselves are run."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_cases_are_drawn_anew_in_ci():
    """Hypothesis loads a profile of its own where CI is in the environment, with the same cases in each run."""
    program = "import tests.conftest, hypothesis; tests.conftest.pytest_configure(); print(hypothesis.settings.default.derandomize)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, env=os.environ | {"CI": "1", "PYTHONPATH": str(PROJECT)}, capture_output=True,
                          text=True, check=True)
    assert done.stdout == "False\n"
