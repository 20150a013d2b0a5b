"""One cluster of three nodes for all tests of the merge."""

import pytest

from tests.conftest import made_clusters
from tests.convergence.comparison import MARKS, names

ENTRY = {"name": "entry", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"},
                                      {"name": "other", "type": "text"}]}
SERIES = {"name": "series", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]}
PARENT = {"name": "parent", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}
CHILD = {"name": "child", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "parent", "type": "bigint"}]}


@pytest.fixture(scope="package")
def cluster(runtime, state_directory):
    with made_clusters(runtime, state_directory) as make:
        made = make(nodes=3, tables=[ENTRY, SERIES, PARENT, CHILD, MARKS]).up()
        for node in names(made):
            made.query(node, "ALTER TABLE child ADD FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE")
        yield made


@pytest.fixture(autouse=True)
def no_error_loop(no_error_loop):
    """After each test here."""
