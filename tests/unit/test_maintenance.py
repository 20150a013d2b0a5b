"""container/maintenance.py: what is said of a maintenance that fails, when, and how often."""

import logging
from pathlib import Path

import psycopg2
import pytest

from container.maintenance import FORGOTTEN_AFTER_S, LOG_EVERY_S, UNREADY_AFTER_S, Maintenance, lasting
from esb_config.errors import CallError
from pgunison.contract.agent import AgentConfiguration
from services.errors import ServiceError

HERE = Path("/nowhere")
CONFIGURATION = AgentConfiguration(
    cluster="lb-test", node="node1", index=1, database="lb-test", address="127.0.0.1", postgresql_port=5432, agent_port=64000, max_nodes=3, networks=(),
    settings=(), directory=HERE, binaries=HERE, token_file=HERE, template=None, user=None)


class Node:
    """A node whose maintenance answers what the test says, at the test's time."""

    def __init__(self):
        self.now = 1000.0
        self.answer: dict | Exception = {}
        self.maintenance = Maintenance(CONFIGURATION, self._do, lambda: self.now)

    def _do(self, call: dict) -> dict:
        assert call["SYSServiceID"] == "node.maintain"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def round(self, answer: dict | Exception, *, after_s: float = 2.0) -> Maintenance:
        self.now += after_s
        self.answer = answer
        self.maintenance.round()
        return self.maintenance


@pytest.fixture
def node() -> Node:
    return Node()


def failing(age_s: int, reason: str = "never") -> dict:
    return {"swept": 0, "failing": [{"table": "public.entry", "age_s": age_s, "reason": reason}], "prepared": []}


def test_nothing_is_said_while_all_is_well(node):
    found = node.round({"swept": 0, "failing": [], "prepared": []})
    assert (found.warnings, found.ailment) == ([], None)


def test_a_share_that_fails_once_is_nobodys_concern(node):
    found = node.round(failing(0))
    assert (found.warnings, found.ailment) == ([], None)


def test_a_table_that_fails_is_a_warning_with_name_age_reason_and_next_step(node):
    found = node.round(failing(40))
    assert found.warnings == ["the maintenance of public.entry fails for 40 s: never; mend that, or run: python3 orchestrator.py up"]
    assert found.ailment is None


def test_what_fails_for_minutes_makes_the_node_not_ready(node):
    found = node.round(failing(int(UNREADY_AFTER_S)))
    assert found.ailment == found.warnings[0] and "public.entry" in found.ailment
    found = node.round({"failing": []})
    assert (found.warnings, found.ailment) == ([], None)


@pytest.mark.parametrize("error", [ServiceError("PostgreSQL does not answer", "gone"), psycopg2.OperationalError("gone")])
def test_a_maintenance_that_fails_as_a_whole_is_timed_here(node, error):
    assert node.round(error).warnings == []
    assert len(node.round(error, after_s=30).warnings) == 1 and node.maintenance.ailment is None
    assert "every table" in node.round(error, after_s=UNREADY_AFTER_S).ailment
    # and begins anew
    node.round({})
    assert node.round(error).ailment is None


def test_a_fault_of_the_program_is_not_swallowed(node):
    with pytest.raises(CallError):
        node.round(CallError("not a call document"))


def test_the_same_failure_is_logged_now_and_then(node, caplog):
    for number in range(10):
        node.round(failing(2 * number))
    assert len(caplog.records) == 1 and "maintenance: public.entry: never" in caplog.text
    node.round(failing(30, "another reason"))
    assert len(caplog.records) == 2
    node.round(failing(900, "another reason"), after_s=LOG_EVERY_S)
    assert len(caplog.records) == 3
    with caplog.at_level(logging.INFO):
        node.round({"failing": []})
        node.round({"failing": []})
    assert [record.message for record in caplog.records[3:]] == ["maintenance is done again"]


def test_a_forgotten_transaction_is_named_with_what_finishes_it(node, caplog):
    old, new = {"gid": "it's", "database": "app", "age_s": int(FORGOTTEN_AFTER_S)}, {"gid": "new", "database": "app", "age_s": 1}
    found = node.round({"failing": [], "prepared": [old, new]})
    assert found.warnings == ["transaction 'it''s' of database app is prepared for 5 min and holds locks, deletions and new links;"
                              " COMMIT PREPARED 'it''s' or ROLLBACK PREPARED 'it''s' there"]
    assert found.ailment is None
    node.round({"prepared": [old | {"age_s": old["age_s"] + 60}]})
    assert len(caplog.records) == 1


def test_a_lock_has_its_own_next_step(node):
    assert "pg_prepared_xacts" in node.round(failing(60, "canceling statement due to lock timeout")).warnings[0]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (300, "5 min"), (7200, "2 h")])
def test_how_long_is_said_in_words(seconds, text):
    assert lasting(seconds) == text
