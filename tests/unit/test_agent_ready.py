"""container/agent.py: what the keeper knows is why the node may not serve, before anybody asks the database."""

from pathlib import Path

import pytest

from container.agent import health, not_ready
from pgunison.contract.agent import AgentConfiguration

CONFIGURATION = AgentConfiguration(
    cluster="lb-test", node="node1", index=1, database="lb-test", address="127.28.64.2", postgresql_port=5432, agent_port=64000, max_nodes=3,
    networks=("127.0.0.0/8",), settings=(), directory=Path("/nowhere"), binaries=Path("/usr/bin"), token_file=Path("/agent-token"), template=None, user=None)


class Keeper:
    def __init__(self, ailment: str | None = None, unkept: str | None = None):
        self._ailment, self._unkept = ailment, unkept
        self.failures, self.warnings = 0, [unkept] if unkept else []

    def ailment(self) -> str | None:
        return self._ailment

    def unkept(self) -> str | None:
        return self._unkept


@pytest.mark.parametrize(("keeper", "reason"), [
    (Keeper(ailment="PostgreSQL ended"), "PostgreSQL ended"),
    (Keeper(unkept="the maintenance of public.table1 fails for 6 min"), "the maintenance of public.table1 fails for 6 min"),
    (Keeper(ailment="PostgreSQL ended", unkept="the maintenance fails"), "PostgreSQL ended")])
def test_a_node_whose_keeper_is_not_well_does_not_serve(keeper, reason):
    assert not_ready(CONFIGURATION, keeper) == reason


def test_health_says_what_maintenance_fails():
    failing = "the maintenance of public.table1 fails for 6 min"
    assert health(CONFIGURATION, Keeper(unkept=failing)) == {
        "cluster": "lb-test", "node": "node1", "problem": None, "failures": 0, "warnings": [failing], "unkept": failing}
