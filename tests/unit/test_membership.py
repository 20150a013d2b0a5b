"""services/node.py: what a row of unison.node says of a node, whichever version wrote it."""

import pytest

from services.node import membership

SINCE = "2026-11-26T23:00:00.123456+00:00"


@pytest.mark.parametrize(("row", "serving", "drained"), [
    ({"serving": False}, False, None), ({"serving": True}, True, None),
    ({"phase": "joining", "phase_since": SINCE, "phase_by": None}, False, None),
    ({"phase": "serving", "phase_since": SINCE, "phase_by": "ops@host1"}, True, None),
    ({"phase": "drained", "phase_since": SINCE, "phase_by": "ops@host1"}, True, {"by": "ops@host1", "since": "2026-11-26 23:00:00 UTC"})])
def test_a_row_of_any_version_says_what_the_node_is(row, serving, drained):
    assert membership(row) == {"serving": serving, "drained": drained}
