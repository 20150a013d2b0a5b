"""What tests on a cluster of any shape ask for; each file has its own ``cluster``."""

import itertools

import pytest

from tests.convergence.comparison import error_counts, settle

_numbers = itertools.count(1000, 1000)


@pytest.fixture
def key() -> int:
    """The first of a thousand keys that no other test uses."""
    return next(_numbers)


@pytest.fixture
def no_error_loop(cluster):
    """A worker may fail and try again; it may not do so for ever."""
    yield
    before = error_counts(cluster)
    settle(cluster)
    assert error_counts(cluster) == before, "an apply worker fails again and again"
