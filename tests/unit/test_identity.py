"""pgunison/configuration/identity.py: an existing cluster keeps its database and its ports."""

from dataclasses import replace
from pathlib import Path

import pytest

from pgunison.configuration.identity import require_same
from pgunison.configuration.sysconfig import load
from pgunison.errors import UsageError

CONFIGURATION = load(Path(__file__).parents[2] / "sysconfig.json")
NODES = ["node1"]


@pytest.mark.parametrize(("field", "value", "place"), [
    ("database", "other", "$.system.config.database"), ("postgresql_port", 5433, "$.system.config.ports.postgresql"),
    ("agent_port", 64001, "$.system.config.ports.agent")])
def test_what_cannot_change_is_refused_by_its_path(tmp_path, field, value, place):
    require_same(CONFIGURATION, tmp_path, [])
    with pytest.raises(UsageError) as refused:
        require_same(replace(CONFIGURATION, **{field: value}), tmp_path, NODES)
    assert refused.value.detail == f"{place}: the cluster has {getattr(CONFIGURATION, field)!r}, the configuration says {value!r}"
    require_same(CONFIGURATION, tmp_path, NODES)


def test_a_cluster_without_nodes_takes_what_the_configuration_says(tmp_path):
    require_same(CONFIGURATION, tmp_path, [])
    other = replace(CONFIGURATION, database="other")
    require_same(other, tmp_path, [])
    require_same(other, tmp_path, NODES)


def test_a_cluster_of_an_earlier_version_is_remembered_as_it_is_configured(tmp_path):
    require_same(CONFIGURATION, tmp_path, NODES)
    with pytest.raises(UsageError):
        require_same(replace(CONFIGURATION, database="other"), tmp_path, NODES)
