"""One cluster of three nodes for all tests of the merge."""

import itertools

import pytest

from tests.conftest import made_clusters
from tests.convergence.comparison import MARKS, error_counts, names, settle

ENTRY = {"name": "entry", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"},
                                      {"name": "other", "type": "text"}]}
SERIES = {"name": "series", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]}
PARENT = {"name": "parent", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}
CHILD = {"name": "child", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "parent", "type": "bigint"}]}
numbers = itertools.count(1000, 1000)


@pytest.fixture(scope="package")
def cluster(runtime, state_directory):
    with made_clusters(runtime, state_directory) as make:
        made = make(nodes=3, tables=[ENTRY, SERIES, PARENT, CHILD, MARKS]).up()
        for node in names(made):
            made.query(node, "ALTER TABLE child ADD FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE")
        yield made


@pytest.fixture
def key() -> int:
    """The first of a thousand keys that no other test uses."""
    return next(numbers)


@pytest.fixture(autouse=True)
def no_error_loop(cluster):
    """A worker may fail and try again; it may not do so for ever."""
    yield
    before = error_counts(cluster)
    settle(cluster)
    assert error_counts(cluster) == before, "an apply worker fails again and again"
