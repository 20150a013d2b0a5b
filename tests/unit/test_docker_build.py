"""docker-build.sh, with a Docker client and a Python that only note how they are called: what it cannot tell the image, it does not build without."""

import os
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DOCKER = """#!/bin/sh
case $1 in
    run) [ -z "$NO_RUN" ] && echo 17 ;;
    build) for word; do echo "$word" >>"$BUILT"; done ;;
    image) echo 290000000 ;;
esac
"""
PYTHON = """#!/bin/sh
case "$*" in
    "-m pgunison.runtime.image") [ -z "$NO_CODE" ] && echo 0123abcd ;;
    *"--target"*) while [ "$1" != --target ]; do shift; done; mkdir "$2" ;;
esac
"""


@pytest.fixture
def build(tmp_path):
    """Call it; returns how it ended, and the words that docker build was called with."""
    for name, text in (("docker", DOCKER), ("python", PYTHON)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def build(**environment: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        built = tmp_path / "built"
        done = subprocess.run(["./docker-build.sh"], cwd=PROJECT, capture_output=True, text=True, env=os.environ | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python"), "BUILT": str(built)} | environment)
        return done, built.read_text().splitlines() if built.exists() else []

    return build


def test_the_image_is_told_its_code_and_its_postgresql(build):
    done, words = build()
    assert done.returncode == 0, done.stderr
    assert {"CODE=0123abcd", "POSTGRESQL_MAJOR=17"} <= set(words)


@pytest.mark.parametrize("missing", ["NO_CODE", "NO_RUN"])
def test_an_image_that_cannot_be_told_is_not_built(build, missing):
    done, words = build(**{missing: "1"})
    assert done.returncode == 1 and words == []
    assert done.stderr.startswith("error: ") and "hint: " in done.stderr
