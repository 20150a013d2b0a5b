"""pgunison/report.py: the table and the JSON of a cluster's state."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from pgunison import report
from pgunison.cluster.desired import desired
from pgunison.cluster.state import Link, LinkState
from pgunison.configuration.sysconfig import load

CONFIGURATION = load(Path(__file__).parents[2] / "sysconfig.json")
SITE = SimpleNamespace(configuration=CONFIGURATION, any_spec=CONFIGURATION.any_spec,
                       runtime=SimpleNamespace(name="process", certificates=None, address=lambda spec: spec.loopback))
HEALTHY = desired(CONFIGURATION)


def printed(cluster) -> list[str]:
    output = io.StringIO()
    report.table(SITE, cluster, Console(file=output, width=160))
    return [" ".join(line.split()) for line in output.getvalue().splitlines()]


def test_the_json_has_the_shape_of_the_contract():
    made = json.loads(json.dumps(report.as_dict(SITE, HEALTHY)))
    assert (made["cluster"], made["runtime"]) == ("lb-test", "process")
    assert [node["name"] for node in made["nodes"]] == ["node1", "node2", "node3"]
    assert made["nodes"][0] | {"version": None} == {
        "name": "node1", "index": 1, "address": "127.28.64.2", "port": 5432, "state": "ready", "problem": None, "drained": None, "warnings": [],
        "version": None, "certificate_ends": None, "upkeep": None,
        "tables": [{"name": "public.table1", "open": True, "fault": None}]}
    assert len(made["links"]) == 6
    assert made["links"][0] == {"source": "node1", "target": "node2", "state": "streaming", "lag_bytes": None, "errors": 0, "reason": None}
    assert (made["healthy"], made["sentence"], made["faults"]) == (True, "healthy: 3 of 3 nodes ready, 6 of 6 links streaming", [])


def test_a_faulty_cluster_in_json():
    link = LinkState("node1", "node2", Link.TARGET_DOWN, 512, 3, "node2 is gone")
    cluster = HEALTHY.with_node(replace(HEALTHY.nodes[1], problem="PostgreSQL starts")).with_link(link)
    made = json.loads(json.dumps(report.as_dict(SITE, cluster)))
    assert made["healthy"] is False
    assert made["sentence"] == "not healthy: 2 of 3 nodes ready, 5 of 6 links streaming; node2: PostgreSQL starts"
    assert made["faults"] == [{"where": "node2", "what": "PostgreSQL starts", "next": "python3 orchestrator.py logs node2"}]
    assert (made["nodes"][1]["state"], made["nodes"][1]["problem"]) == ("unavailable", "PostgreSQL starts")
    assert made["links"][0] == {"source": "node1", "target": "node2", "state": "target down", "lag_bytes": 512, "errors": 3, "reason": "node2 is gone"}


def test_the_table_of_a_healthy_cluster():
    assert printed(HEALTHY) == [
        "node address state receives from behind",
        *[f"node{k} 127.28.64.{k + 1}:5432 ready 2 of 2 streaming 0 bytes" for k in (1, 2, 3)],
        "healthy: 3 of 3 nodes ready, 6 of 6 links streaming"]


def test_the_table_names_what_is_not_well():
    cluster = HEALTHY.with_node(replace(HEALTHY.nodes[1], problem="[red]PostgreSQL[/red] starts")).with_link(LinkState("node2", "node1", Link.SOURCE_DOWN, 512))
    cluster = cluster.with_node(replace(cluster.nodes[2], tables=(replace(cluster.nodes[2].tables[0], fault="triggers are missing"),)))
    lines = printed(cluster)
    assert lines[1] == "node1 127.28.64.2:5432 ready 1 of 2 streaming, node2 is down 512 bytes"
    assert lines[-1].startswith("not healthy: 1 of 3 nodes ready, 5 of 6 links streaming; node2: [red]PostgreSQL[/red] starts (and 1 more)")
    assert lines[2].split()[:3] == ["node2", "127.28.64.3:5432", "unavailable"]
    assert lines[3].split()[:3] == ["node3", "127.28.64.4:5432", "faulty"]
    assert lines[4:-1] == ["node2: [red]PostgreSQL[/red] starts; next: python3 orchestrator.py logs node2",
                           "node3: public.table1: triggers are missing; next: python3 orchestrator.py up"]


def test_in_a_pipe_a_node_is_a_line_without_trailing_blanks_however_narrow():
    reason = "a reason of several lines\nthat says :x: [bold]much[/bold] " + "x" * 200
    cluster = HEALTHY.with_link(LinkState("node2", "node1", Link.WORKER_DOWN, 0, 4, reason))
    cluster = cluster.with_node(replace(HEALTHY.nodes[2], warnings=("the disk is full",)))
    output = io.StringIO()
    assert report.table(SITE, cluster, Console(file=output, width=20, soft_wrap=True)) is False
    lines = output.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["node", "node1", "node2", "node3", "node3:", "node2", "not"]
    assert not [line for line in lines if line != line.rstrip()]
    assert lines[5] == f"node2 to node1: worker down: {' '.join(reason.split())}; next: python3 orchestrator.py logs node1"
    assert lines[4] == "node3: the disk is full; next: python3 orchestrator.py logs node3"


def test_a_terminal_narrower_than_the_table_shows_a_value_a_line():
    output = io.StringIO()
    report.table(SITE, HEALTHY, Console(file=output, width=40, soft_wrap=True, force_terminal=True, color_system=None, highlight=False))
    assert output.getvalue().splitlines()[:5] == ["node1", "  address: 127.28.64.2:5432", "  state: ready", "  receives from: 2 of 2 streaming",
                                                  "  behind: 0 bytes"]


def test_how_far_behind_is_not_made_up():
    cluster = HEALTHY.with_link(LinkState("node2", "node1", Link.SOURCE_DOWN))
    assert printed(cluster)[1].endswith("node2 is down unknown")
    assert printed(cluster.with_link(LinkState("node3", "node1", Link.STREAMING, 7)))[1].endswith("node2 is down 7 bytes or more")


@pytest.mark.parametrize("process", ["absent", "stopped"])
def test_a_node_that_does_not_run(process):
    assert printed(HEALTHY.with_node(replace(HEALTHY.nodes[0], process=process, tables=())))[1].split()[2] == process


def test_one_node_alone():
    alone = replace(HEALTHY, nodes=HEALTHY.nodes[:1], links=frozenset())
    assert printed(alone)[1] == "node1 127.28.64.2:5432 ready - 0 bytes"


def test_conflicts_are_a_line_each():
    one = {"lost_ts": "2026-01-01 00:00:00+00", "lost_node": 2, "schema": "public", "table": "table1", "key": "[1]", "lost_row": '{"id": 1}',
           "won_ts": "2026-01-01 00:00:01+00", "won_node": 1}
    output = io.StringIO()
    report.conflicts([one, one | {"lost_row": None}, one | {"lost_row": "x" * 1000}], Console(file=output, width=80, soft_wrap=True))
    first, second, third = output.getvalue().splitlines()
    assert first == '2026-01-01 00:00:00+00 node 2: public.table1 [1] lost to 2026-01-01 00:00:01+00 node 1: {"id": 1}'
    assert second.endswith(": a deletion") and third.endswith("x...") and len(third) < 400
