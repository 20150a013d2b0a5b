"""No text of a configuration or of a call becomes SQL: every text field of every service, and of the configuration, with hostile texts on a real node.

What a text names is made under that very name, or the call is refused; whatever was there before stays as it was.
"""

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from esb_config.definition import services
from esb_config.document import document
from esb_config.errors import CallError
from pgunison.errors import OrchestratorError
from tests.convergence.comparison import MARKS
from tests.integration.orchestrator import run

pytestmark = pytest.mark.process_runtime("texts and SQL are the same wherever the node runs")

DATABASE = 'd"; DROP DATABASE postgres; --\'{x}%s $1 \\'
SETTING = "'; DROP TABLE victim; -- \\ \" {0} %s $1 # "
VICTIM = {"name": "victim", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]}
TEXTS = ['"; DROP TABLE public.victim CASCADE; --', "'; DROP TABLE public.victim CASCADE; --", "); DROP TABLE public.victim CASCADE; --",
         "public.victim; DROP TABLE public.victim CASCADE", "\\'; DROP TABLE public.victim; --", "100% %s %(a)s %I", "{table} {key} {0} {names}",
         "$body$ DROP TABLE public.victim $body$", "$1", "x\nDROP TABLE public.victim", "nul\0", "x" * 63, "x" * 64, "\u65e5" * 21, "", " "]
BEFORE = """
    SELECT 'relation', format('%%s.%%s', relnamespace::regnamespace, relname), relkind::text || relowner::text || coalesce(relacl::text, '') FROM pg_class
     WHERE relnamespace::regnamespace::text NOT LIKE 'pg_%%'
    UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, atttypid::regtype::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
     WHERE relnamespace::regnamespace::text NOT LIKE 'pg_%%'
    UNION ALL SELECT 'function', oid::regprocedure::text, md5(prosrc) FROM pg_proc
    UNION ALL SELECT 'role', rolname, rolsuper::text || rolcanlogin FROM pg_roles
    UNION ALL SELECT 'database', datname, datdba::regrole::text FROM pg_database
    UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname, tgenabled::text || tgfoid FROM pg_trigger
    UNION ALL SELECT 'row', 'victim ' || id, value FROM public.victim"""


@pytest.fixture(scope="module")
def cluster(make_cluster):
    # 2.0 is 2, from the file to the last node
    made = make_cluster(nodes=2, tables=[VICTIM, MARKS], database=DATABASE, postgresql={"extension.text": SETTING, "log_line_prefix": "%m [%p] %q%u@%d %a "})
    written = json.loads(made.config_path.read_text())
    written["system"]["networks"][0]["config"]["scale"] = {"min_nodes": 1.0, "max_nodes": 2.0}
    made.config_path.write_text(json.dumps(written))
    run(made, "up")
    made.reopen()
    made.query("node1", "INSERT INTO victim (value) VALUES ('stays')", role="writer")
    return made


def state(cluster, node: str = "node1") -> dict[tuple, Any]:
    with contextlib.closing(cluster.superuser(node)) as connection, connection.cursor() as cursor:
        cursor.execute(BEFORE.replace("%%", "%"))
        return {(kind, name): what for kind, name, what in cursor.fetchall()}


def text_places(node, path: tuple = ()) -> Iterator[tuple]:
    """Yield (path, property's schema) of each text that a service takes; a list's objects are shown by the first."""
    for each in node.properties:
        if "string" in json.dumps(each.schema):
            yield (*path, each.name), each.schema
    for child in node.children:
        yield from text_places(child, (*path, child.name, 0) if child.many else (*path, child.name))


PLACES = [(service.id, path) for service in services().values() for path, _ in text_places(service.root)]


def test_every_service_has_its_texts_here():
    assert {service for service, _ in PLACES} == set(services())
    assert ("table.setup", ("Node", "Table", "Column", 0, "type")) in PLACES and ("subscription.setup", ("Node", "Subscription", "password")) in PLACES


def example(cluster, service: str) -> dict:
    """Make the root of a call that would be right for node1."""
    site = cluster.site
    made = services()[service].example()["data"][0]["Cluster"]
    made["id"] = site.configuration.id
    made["Node"] |= {"name": "node1", "index": 1, "database": site.configuration.database}
    if "Table" in made["Node"]:
        made["Node"]["Table"] |= {"schema": "public", "name": "victim"}
    if service == "table.setup":
        made["Node"]["Table"]["Trigger"] = copy.deepcopy(services()[service].root.child("Node").child("Table").child("Trigger").default)
    if "Role" in made["Node"]:
        made["Node"]["Role"] = site.roles()
    if "Subscription" in made["Node"]:
        made["Node"]["Subscription"] = site.subscription("node2")
    return made


@pytest.mark.parametrize(("service", "path"), PLACES, ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value)))
def test_a_hostile_text_in_a_call_changes_nothing_else(cluster, service, path):
    before, refused, taken = state(cluster), 0, 0
    for text in TEXTS:
        if path[-1] == "host":
            # a directory of sockets: nobody is asked for the address of such a name
            text = "/" + text
        root = example(cluster, service)
        holder = root
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = text
        try:
            call = document(service, Cluster=root)
        except CallError as error:
            assert path[-1] in error.detail
            refused += 1
            continue
        try:
            cluster.site.agents._post(cluster.site.spec("node1"), {"jsonrpc": "2.0", "method": "esb.execute", "params": call, "id": 1}, 60.0)
            taken += 1
        except OrchestratorError as error:
            raise AssertionError(f"{text!r} breaks the agent: {error}") from error
    after = state(cluster)
    changed = {key: (what, after.get(key)) for key, what in before.items() if after.get(key) != what}
    assert not changed, f"{refused} refused, {taken} answered"
    assert refused + taken == len(TEXTS)
    # what is new is a table under the text's name, and the functions of its merge
    strange = [(kind, name) for kind, name in after.keys() - before.keys()
               if kind not in ("relation", "column", "trigger") and not (kind == "function" and name.startswith("unison."))]
    assert not strange or (service == "node.prepare" and {kind for kind, _ in strange} <= {"database", "role"}), strange
    if path[-1] == "password":
        cluster.site.call("node1", "node.prepare", Role=cluster.site.roles())


def test_the_configuration_s_texts_are_texts_on_the_node(cluster):
    assert cluster.query("node2", "SELECT current_database(), current_setting('extension.text'), value FROM victim") == [(DATABASE, SETTING, "stays")]
    assert run(cluster, "verify").returncode == 0 and len(cluster.site.configuration.nodes) == 2


def test_a_call_for_another_node_changes_and_tells_nothing(cluster):
    node, agents = cluster.site.spec("node1"), cluster.site.agents
    for wrong in ({"id": "another"}, {"Node": {"name": "node2"}}, {"Node": {"index": 7}}):
        before = state(cluster)
        for service in services():
            root = example(cluster, service)
            root = root | {key: value for key, value in wrong.items() if key != "Node"}
            root["Node"] = root["Node"] | wrong.get("Node", {})
            if "Role" in root["Node"]:
                root["Node"]["Role"] = [role | {"password": "another-password"} for role in root["Node"]["Role"]]
            answer = agents._post(node, {"jsonrpc": "2.0", "method": "esb.execute", "params": document(service, Cluster=root), "id": 1}, 60.0)
            assert answer.get("error", {}).get("message") == "this is another node", f"{service}, {wrong}: {answer}"
        assert state(cluster) == before
        # its passwords are what they were
        assert cluster.query("node1", "SELECT 1", role="writer") == [(1,)]


def test_a_default_that_a_domain_would_hide_is_refused_by_the_server(cluster):
    for node in ("node1", "node2"):
        cluster.query(node, "CREATE DOMAIN public.moment AS timestamptz")
    columns = [{"name": "id", "type": "bigserial", "primary_key": True}]
    for kind in ("public.moment", "public.moment[]", "pg_catalog.timestamptz"):
        with pytest.raises(OrchestratorError) as refused:
            cluster.site.call("node1", "table.setup", Table={"schema": "public", "name": "timed", "Column": [
                *columns, {"name": "at", "type": kind, "default": "{now}" if "[]" in kind else "now"}]})
        assert "column at" in str(refused.value) and "moment" in str(refused.value)
    with pytest.raises(psycopg2.errors.UndefinedTable):
        cluster.query("node1", "SELECT 1 FROM timed")
