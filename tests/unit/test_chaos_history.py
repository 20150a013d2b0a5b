"""chaos/history.py: what a row may be after what was acknowledged."""

import pytest

from chaos.history import Effect, History

ROW, LATER = (10, 1), (10, 2)


def history(*effects: Effect, may_delete: tuple[str, ...] = ()) -> History:
    made = History()
    made.add("node1", effects)
    made.may_delete(may_delete)
    return made


@pytest.mark.parametrize(("made", "version", "value", "fault"), [
    (history(), ROW, "a", None),
    (history(), None, None, None),
    (history(Effect("k", ROW, "a")), ROW, "a", None),
    (history(Effect("k", ROW, "a")), LATER, "b", None),
    (history(Effect("k", LATER, "b"), Effect("k", ROW, "a")), LATER, "b", None),
    (history(Effect("k", LATER, "b"), Effect("k", ROW, "a")), ROW, "a", "lost 'b' of 10 2"),
    (history(Effect("k", ROW, "a")), ROW, "b", "another value"),
    (history(Effect("k", ROW, "a")), None, None, "nobody deleted it"),
    (history(Effect("k", ROW, "a"), may_delete=("k",)), None, None, None),
    (history(Effect("k", ROW, "a"), may_delete=("other",)), None, None, "nobody deleted it"),
    (history(Effect("k", ROW, "a"), Effect("k", ROW, "a", deleted=True)), None, None, None),
    (history(Effect("k", ROW, "a"), Effect("k", ROW, "a", deleted=True)), ROW, "a", "is back"),
    (history(Effect("k", ROW, "a", deleted=True)), LATER, "b", None)])
def test_what_a_row_may_be(made, version, value, fault):
    found = made.fault("k", version, value)
    assert fault in found if fault else found is None


def test_the_last_that_is_known_is_told():
    made = history(*(Effect("k", (n, 1), f"v{n}") for n in range(20)), Effect("k", (19, 1), "v19", deleted=True))
    assert made.told("k").endswith("node1 wrote 'v19' as 19 1; node1 deleted 19 1")
    assert "v3'" not in made.told("k")
    made.may_delete(["k"], "node2, unknown: UPDATE t SET id = 1")
    assert made.told("k").endswith("node1 deleted 19 1; node2, unknown: UPDATE t SET id = 1")
    assert made.told("other") == "nothing was acknowledged"
