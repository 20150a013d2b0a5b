"""One node is stopped, started, and started anew, while the others go on: down NODE, up NODE, restart NODE."""

import copy
import json
import signal

import pytest

from pgunison.configuration.approved import is_approved
from pgunison.configuration.sysconfig import load
from tests.convergence.comparison import MARKS, assert_same
from tests.integration.orchestrator import assert_explained, run
from tests.integration.test_up import TABLE1, assert_up, keys, read_until, started, status, steps, write


def states(cluster) -> dict[str, str]:
    return {node["name"]: node["state"] for node in status(cluster)["nodes"]}


@pytest.fixture(scope="module")
def three(make_cluster):
    cluster = make_cluster(nodes=3, tables=[TABLE1, MARKS])
    run(cluster, "up")
    return cluster


@pytest.mark.parametrize("words", [["down", "node9"], ["up", "node9"], ["restart", "node9"], ["down", "node1", "--purge"]])
def test_a_wrong_name_or_option_changes_nothing(three, words):
    said = run(three, *words, status=2).stderr
    assert "the nodes are node1, node2, node3" in said or "removes the whole cluster" in said
    assert states(three) == dict.fromkeys(three.names(), "ready")


def test_a_node_goes_and_comes_back_with_what_it_missed(three):
    servers = {name: three.server_pid(name) for name in three.names()}
    assert steps(run(three, "down", "node2")) and not steps(run(three, "up", "node1"))
    assert states(three) == {"node1": "ready", "node2": "stopped", "node3": "ready"}
    assert "node2: it does not run" in status(three)["sentence"]
    missed = {three.query(name, "INSERT INTO table1 (col1) VALUES ('missed') RETURNING id::text", role="writer")[0][0] for name in ("node1", "node3")}
    run(three, "down", "node2")
    assert "start node2" in run(three, "up", "node2").stderr
    assert_up(three)
    assert_same(three, "table1")
    assert missed <= keys(three, "node2")
    write(three)
    assert {name: three.server_pid(name) == pid for name, pid in servers.items()} == {"node1": True, "node2": False, "node3": True}


@pytest.mark.process_runtime("it looks at the files of the cluster on this machine")
@pytest.mark.parametrize("words", ["up", "restart"])
def test_a_configuration_that_one_node_took_is_not_checked_again(three, words):
    three.config_path.write_text(three.config_path.read_text() + "\n")
    before = load(three.config_path).digest
    run(three, words, "node1")
    assert is_approved(json.loads(three.config_path.read_text()), before)


def test_a_new_role_comes_with_one_node_and_keeps_its_password(three):
    written = json.loads(three.config_path.read_text())
    more = copy.deepcopy(written)
    more["system"]["config"]["roles"].append({"name": "late_writer", "kind": "writer"})
    three.config_path.write_text(json.dumps(more))
    run(three, "restart", "node1")
    three.reopen()
    run(three, "up")
    # without it, and with it again
    three.config_path.write_text(json.dumps(written))
    three.reopen()
    run(three, "status")
    for name in three.names():
        assert three.query(name, "SELECT current_user::text", role="late_writer") == [("late_writer",)]


def test_too_few_is_a_warning(three):
    run(three, "down", "node3")
    run(three, "down", "node2")
    assert "warning: without node1 no nodes are ready; min_nodes is 1" in run(three, "down", "node1").stderr
    for name in three.names():
        others = [other for other in three.names() if other > name]
        assert all(states(three)[other] == "stopped" for other in others)
        run(three, "up", name)
    assert_up(three)
    write(three)


def test_only_the_links_of_the_node_are_mended(three):
    for source, target in (("node1", "node2"), ("node3", "node1")):
        three.query(target, f"ALTER SUBSCRIPTION {three.link(source, target)} DISABLE")
    assert "subscribe node2 to node1" in run(three, "up", "node2").stderr
    links = {(link["source"], link["target"]): link["state"] for link in status(three)["links"]}
    assert links.pop(("node3", "node1")) == "disabled" and set(links.values()) == {"streaming"}
    run(three, "up", "node1")
    assert_up(three)


def test_a_node_is_started_anew_and_an_interruption_is_continued(three):
    before = {name: three.server_pid(name) for name in three.names()}
    run(three, "restart", "node1")
    assert_up(three)
    assert [name for name in three.names() if three.server_pid(name) == before[name]] == ["node2", "node3"]
    with started(three, "restart", "node3") as process:
        read_until(process, "stop node3")
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait(60) == 1
    assert_explained(errors)
    assert steps(run(three, "restart", "node3"))
    assert_up(three)
    write(three)


def test_a_node_that_never_joined_joins_alone_when_all_members_are_well(make_cluster):
    cluster = make_cluster(nodes=2, tables=[TABLE1, MARKS])
    run(cluster, "up", "node1")
    run(cluster, "down", "node1")
    refused = run(cluster, "up", "node2", status=1).stderr
    assert "can only when all members are well" in refused and "node1 is stopped" in refused and "hint: python3 orchestrator.py up" in refused
    run(cluster, "up", "node1")
    run(cluster, "up", "node2")
    assert_up(cluster)
    write(cluster)
    run(cluster, "down", "--purge")
