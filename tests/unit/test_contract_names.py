"""pgunison/contract/names.py: what a name may be is the same in a configuration, in a call, and in the code."""

import json
from pathlib import Path

import pytest
import yaml

from pgunison.contract import names

PROJECT = Path(__file__).parents[2]
CALLS = yaml.safe_load((PROJECT / "esb_config" / "classes.yaml").read_text(encoding="utf-8"))
CONFIGURATION = json.loads((PROJECT / "pgunison" / "configuration" / "sysconfig.schema.json").read_text(encoding="utf-8"))


def patterns(schema: object) -> set[str]:
    """Collect every pattern that stands anywhere in a schema."""
    if isinstance(schema, list):
        return set().union(*map(patterns, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
    return own.union(*map(patterns, schema.values()))


@pytest.mark.parametrize(("pattern", "of", "name"), [
    (names.CLUSTER, "Cluster", "id"), (names.NODE, "Node", "name"), (names.NODE, "Subscription", "source"), (names.ROLE, "Role", "name")])
def test_a_call_and_a_configuration_take_the_same_names(pattern, of, name):
    assert CALLS[of]["properties"][name]["pattern"] == names.whole(pattern)
    assert names.whole(pattern) in patterns(CONFIGURATION)


@pytest.mark.parametrize(("name", "good"), [("lb-test", True), ("a", True), ("a" * 33, False), ("../x", False), ("a\n", False), ("A", False), ("", False),
                                            (None, False), (7, False)])
def test_the_name_of_a_cluster(name, good):
    assert names.is_cluster(name) is good


def test_a_link_is_named_after_its_ends():
    assert names.link_ends(names.link_name("node1", "node22")) == ("node1", "node22")
    # the longest names still fit into one of PostgreSQL's
    assert len(names.link_name("n" * 16, "m" * 16)) <= 63
