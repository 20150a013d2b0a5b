"""Who did what with the cluster: told by whoever is left."""

import json
import signal
import uuid

import pytest

from pgunison.cluster.history import FILE
from services.entry import KEPT
from tests.integration.orchestrator import run
from tests.integration.test_up import TABLE1, read_until, started


def told(cluster, *options: str) -> list[tuple[str, str]]:
    return [(one["command"], one["outcome"]) for one in json.loads(run(cluster, "history", "--json", *options).stdout)]


@pytest.fixture(scope="module")
def pair(make_cluster):
    cluster = make_cluster(nodes=2, tables=[TABLE1])
    run(cluster, "up")
    return cluster


def test_each_command_that_changes_the_cluster_is_told_by_every_node_and_without_any(pair):
    file = pair.site.directory / FILE
    assert told(pair) == [("up", "done")]
    run(pair, "drain", "node2", "--grace", "0")
    run(pair, "drain", "node1", status=1)
    run(pair, "resume", "node2")
    expected = [("resume node2", "done"), ("drain node1 --grace 10", "failed"), ("drain node2 --grace 0", "done"), ("up", "done")]
    assert told(pair) == expected
    file.unlink()
    assert told(pair) == expected
    run(pair, "down", "node1")
    # node2 knows what this machine knows, and what node1 could not be told it learns when it is back
    expected.insert(0, ("down node1", "done"))
    file.unlink()
    assert told(pair) == expected
    assert "warning: node1 was not asked: it does not run" in run(pair, "history").stderr
    run(pair, "up", "node1")
    file.unlink()
    run(pair, "down", "node2")
    file.unlink()
    assert told(pair)[2:] == expected and told(pair, "--limit", "1") == [("down node2", "done")]
    run(pair, "up")
    line = run(pair, "history", "--limit", "1").stdout.splitlines()[1]
    assert line.split()[-2:] == ["up", "done"] and "@" in line


def test_a_command_that_is_killed_is_told_as_such(pair):
    run(pair, "down")
    with started(pair, "up") as process:
        read_until(process, "start node2")
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert told(pair, "--limit", "2") == [("up", "running"), ("down", "done")]
    run(pair, "down")
    with started(pair, "up") as process:
        read_until(process, "start node2")
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(60) == 1
    run(pair, "up")
    assert told(pair, "--limit", "5") == [("up", "done"), ("up", "interrupted"), ("down", "done"), ("up", "lost"), ("down", "done")]


def test_a_node_remembers_the_newest_only(pair):
    with pair.superuser("node1") as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO unison.history SELECT gen_random_uuid(), 'old', 'ops', timestamptz '2020-01-01' + n * interval '1 s', NULL, 'done', NULL"
                       " FROM generate_series(1, %s) AS n", [KEPT + 5])
    connection.close()
    run(pair, "up")
    count, oldest = pair.query("node1", "SELECT count(*), min(began) > '2020-01-01 00:00:05+00' FROM unison.history")[0]
    assert (count, oldest) == (KEPT, True)
    assert told(pair, "--limit", "1") == [("up", "done")]


def test_a_node_that_took_a_command_for_lost_learns_how_it_ended(pair):
    entry = {"id": str(uuid.uuid4()), "command": "up", "who": "ops@host1", "began": "2030-01-01T00:00:00.000000+00:00", "ended": None, "detail": None}
    for outcome, known in (("running", "running"), ("lost", "lost"), ("running", "lost"), ("done", "done"), ("lost", "done"), ("failed", "done")):
        pair.site.call("node1", "node.record", Entry=[entry | {"outcome": outcome}])
        assert pair.query("node1", "SELECT outcome FROM unison.history WHERE id = %s", [entry["id"]]) == [(known,)]
