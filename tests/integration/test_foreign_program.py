"""A program that is not ours: it imports esb_config, what both sides agree on, and an HTTP client, and works with a node without the orchestrator."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
GUIDE = (PROJECT / "docs" / "services.md").read_text(encoding="utf-8")
FORBIDDEN = {"pgunison.cluster", "pgunison.agents", "services", "container", "microesb", "psycopg2"}
# What every program below begins with, and ends with. Arguments: where the agent is, the file of its token, cluster, database; where the node is a container
# also the files of whom to trust and of what to show.
BEGIN = """
import json, ssl, sys
import httpx
from esb_config.document import check, document
from esb_config.errors import CallError
from pgunison.contract.call import request

agent, token_file, cluster, database, *tls = sys.argv[1:]
trust = ssl.create_default_context(cafile=tls[0] if tls else None)
if tls:
    trust.load_cert_chain(tls[1])
headers = {"Authorization": "Bearer " + open(token_file).read().strip()}

def where(**children):
    return {"id": cluster, "Node": {"name": "node1", "index": 1, "database": database} | children}

def send(call):
    return httpx.post(agent, json=request(call), headers=headers, timeout=60, trust_env=False, verify=trust).json()
"""
END = f"""
found = {FORBIDDEN!r} & set(sys.modules)
assert not found, found
"""


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=1).up()


def agent(cluster) -> str:
    secured = "s" if cluster.site.runtime.certificates else ""
    return f"http{secured}://{cluster.site.runtime.address(cluster.site.spec('node1'))}:{cluster.site.configuration.agent_port}/"


def run(program: str, *arguments: str, directory: Path) -> str:
    """Run the program elsewhere, with nothing of ours but the packages on its path; returns what it printed."""
    for package in ("esb_config", "pgunison"):
        (directory / package).symlink_to(PROJECT / package)
    (directory / "program.py").write_text(program)
    done = subprocess.run([sys.executable, "-P", directory / "program.py", *arguments], cwd=directory, env={"PYTHONPATH": str(directory)},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def foreign(cluster, tmp_path):
    """Run lines of a foreign program against node1; returns what it printed as JSON."""
    def foreign(lines: str):
        configuration, certificates = cluster.site.configuration, cluster.site.runtime.certificates
        tls = [str(certificates.authorities), str(certificates.client)] if certificates else []
        printed = run(BEGIN + lines + END, agent(cluster), str(cluster.site.credentials.token_file), configuration.id, configuration.database, *tls,
                      directory=tmp_path)
        return json.loads(printed)

    return foreign


def test_it_makes_a_document_sends_it_and_reads_the_answer(foreign, cluster):
    answer = foreign("""
call = document("node.describe", Cluster=where())
check(call)
print(json.dumps(send(call)))
""")
    assert answer["id"] == 1 and "error" not in answer
    assert answer["result"]["changed"] is False
    assert answer["result"]["cluster"] == cluster.site.configuration.id
    assert [table["name"] for table in answer["result"]["tables"]] == ["table1"]


def test_it_changes_something_and_finds_it_done_the_second_time(foreign, cluster):
    first, second = foreign("""
columns = [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "made_at", "type": "timestamptz", "default": {"function": "now"}}]
calls = [document("table.setup", Cluster=where(Table={"name": "foreign_made", "Column": columns})),
         document("publication.setup", Cluster=where(Publication={})),
         document("table.open", Cluster=where(Table={"name": "foreign_made"}))]
print(json.dumps([[send(call)["result"] for call in calls] for _ in range(2)]))
""")
    assert [found["changed"] for found in first] == [True, True, True]
    assert "created table public.foreign_made" in first[0]["done"]
    assert [(found["changed"], found["done"]) for found in second] == [(False, [])] * 3
    assert cluster.query("node1", "INSERT INTO foreign_made DEFAULT VALUES RETURNING made_at IS NOT NULL", role="writer") == [(True,)]


def test_a_wrong_document_is_refused_before_it_is_sent(foreign):
    refused = foreign("""
try:
    document("table.open", Cluster=where(Tabel={"name": "table1"}))
except CallError as error:
    print(json.dumps([error.message, error.detail, error.hint]))
""")
    assert refused[0] == "the call is not what table.open takes"
    assert "$.data[0].Cluster.Node: " in refused[1] and "'Tabel'" in refused[1] and "'Table' is a required property" in refused[1]
    assert refused[2] == "see docs/services.md"


def test_a_wrong_document_that_is_sent_all_the_same_gets_the_same_answer(foreign):
    error = foreign("""
call = document("table.open", Cluster=where(Table={"name": "table1"}))
call["data"][0]["Cluster"]["Node"]["index"] = "one"
print(json.dumps(send(call)["error"]))
""")
    assert error["code"] == -32602
    assert error["message"] == "the call is not what table.open takes"
    assert error["data"]["detail"].startswith("$.data[0].Cluster.Node.index: expected ")
    assert error["data"]["hint"] == "see docs/services.md"


def test_a_service_that_refuses_says_message_detail_and_hint(foreign):
    error = foreign("""
print(json.dumps(send(document("table.open", Cluster=where(Table={"name": "nowhere"})))["error"]))
""")
    assert error["code"] == -32000
    assert error["message"] == "public.nowhere is not replicated on this node"
    assert error["data"]["detail"] and "table.setup" in error["data"]["hint"]


@pytest.mark.process_runtime("the guide shows the shortest program, without TLS")
def test_the_program_of_the_guide_runs(cluster, tmp_path):
    program, = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    configuration = cluster.site.configuration
    for pattern, text in ((r'"/\S*agent-token"', repr(str(cluster.site.credentials.token_file))), (r'"http://\S+"', repr(agent(cluster))),
                          (r'"id": "lb-test"', f'"id": {configuration.id!r}'), (r'"database": "lb-test"', f'"database": {configuration.database!r}')):
        program, count = re.subn(pattern, text, program)
        assert count == 1, pattern
    assert "'serving': True" in run(program, directory=tmp_path)
