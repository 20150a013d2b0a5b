"""container/configuration.py: what an agent reads is what was written for it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pgunison.contract.agent import AgentConfiguration, User

CONFIGURATION = AgentConfiguration(
    cluster="lb-test", node="node1", index=1, database='"Order; --é', address="127.28.64.2", postgresql_port=5432, agent_port=64000, max_nodes=3,
    networks=("127.0.0.0/8",), settings=(("work_mem", "8MB"), ("a.b", "it's")), upkeep=(("conflict_bytes", 5),),
    directory=Path("/var/lib/x y"), binaries=Path("/usr/bin"),
    token_file=Path("/secrets/agent-token"), template=Path("/var/lib/template"), user=User("postgres", 70, 70))


@pytest.mark.parametrize("configuration", [CONFIGURATION, replace(CONFIGURATION, user=None, template=None, settings=(), networks=())])
def test_what_is_loaded_is_what_was_dumped(configuration, tmp_path):
    path = tmp_path / "agent.json"
    path.write_text(configuration.dump(), encoding="utf-8")
    assert AgentConfiguration.load(path) == configuration


def test_the_file_names_the_token_and_does_not_hold_it(tmp_path):
    token = tmp_path / "agent-token"
    token.write_text("hunter2")
    assert "hunter2" not in replace(CONFIGURATION, token_file=token).dump()


def test_everything_of_a_node_is_below_its_directory():
    for path in (CONFIGURATION.data, CONFIGURATION.socket_directory, CONFIGURATION.log_directory):
        assert path.parent == CONFIGURATION.directory


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cluster": "x"}', "null"])
def test_another_file_is_refused(text, tmp_path):
    path = tmp_path / "agent.json"
    path.write_text(text)
    with pytest.raises((KeyError, TypeError, ValueError)):
        AgentConfiguration.load(path)


def test_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "agent.json"
    path.write_text(json.dumps(json.loads(CONFIGURATION.dump()) | {"unknown": 1}))
    with pytest.raises(TypeError, match="unknown"):
        AgentConfiguration.load(path)
