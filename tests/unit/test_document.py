"""esb_config/document.py: what microesb would ignore or trip over is refused, with its path, before anything runs."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from esb_config.definition import services
from esb_config.document import check, document
from esb_config.errors import CallError
from pgunison.contract.call import request

PROJECT = Path(__file__).parents[2]
NODE = "$.data[0].Cluster.Node"
SECRET = "hunter2-and-more"


def call(service_id: str, *changes: tuple) -> dict:
    """Return the service's example with each (path below the Cluster, value) put in; ... removes."""
    made = copy.deepcopy(services()[service_id].example())
    for path, value in changes:
        holder = made["data"][0]["Cluster"]
        for step in path[:-1]:
            holder = holder[step]
        if value is ...:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value
    return made


def refusal(made) -> CallError:
    with pytest.raises(CallError) as refused:
        check(made)
    assert refused.value.message and refused.value.hint
    return refused.value


# --- what is taken ---


@pytest.mark.parametrize("service_id", services())
def test_every_example_is_taken(service_id):
    service, root = check(services()[service_id].example())
    assert service.id == service_id
    assert root["Node"]["name"] == "node1"


def test_document_makes_what_check_takes():
    where = {"id": "lb-test", "Node": {"name": "node1", "index": 1, "database": "lb-test"}}
    made = document("node.describe", Cluster=where)
    assert made == {"SYSServiceID": "node.describe", "data": [{"Cluster": where}]}
    assert json.loads(json.dumps(request(made, 7))) == {"jsonrpc": "2.0", "method": "esb.execute", "params": made, "id": 7}


def test_document_refuses_what_check_refuses():
    with pytest.raises(CallError, match="node.describe"):
        document("node.describe", Cluster={"id": "lb-test"})


def test_defaults_are_filled_in_for_objects_items_and_classes_left_out():
    made = call("table.setup", (("Node", "Table"), {"name": "t", "Column": [{"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 0}]}))
    table = check(made)[1]["Node"]["Table"]
    assert table["schema"] == "public"
    assert table["Column"] == [{"name": "a", "type": "int", "primary_key": False, "nullable": True, "default": None},
                               {"name": "b", "type": "int", "primary_key": False, "nullable": True, "default": 0}]
    assert table["Sequence"] == []
    assert [trigger["name"] for trigger in table["Trigger"]][-2:] == ["merge_image", "merge_tombstone"]
    assert len(table["Trigger"]) == 9


def test_the_callers_document_is_untouched_and_shares_nothing_with_what_is_filled():
    made = call("table.setup", (("Node", "Table", "Column", 0, "default"), {"function": "now"}))
    before = copy.deepcopy(made)
    root = check(made)[1]
    root["Node"]["Table"]["Column"][0]["default"]["function"] = "changed"
    root["Node"]["Table"]["Column"].append("changed")
    root["Node"]["Table"]["Trigger"][0]["name"] = "changed"
    assert made == before
    assert check(made)[1]["Node"]["Table"]["Trigger"][0]["name"] == "stamp_insert"


# --- traps of microesb ---


@pytest.mark.parametrize(("path", "at"), [
    (("unknown",), "$.data[0].Cluster"), (("Node", "unknown"), NODE), (("Node", "Tables"), NODE), (("Node", "table"), NODE),
    (("Node", "Role"), NODE), (("path",), "$.data[0].Cluster"), (("method",), "$.data[0].Cluster"),
    (("Node", "Table", "Column", 0, "nulable"), f"{NODE}.Table.Column[0]")])
def test_unknown_keys_and_misspelt_children(path, at):
    detail = refusal(call("table.setup", (path, {}))).detail
    assert detail.startswith(f"{at}: ") and f"'{path[-1]}'" in detail


@pytest.mark.parametrize("key", ["SYSServiceMethod", "SYSBackendMethod", "SYSServiceID"])
@pytest.mark.parametrize("path", [(), ("Node",), ("Node", "Table"), ("Node", "Table", "Column", 0)])
def test_system_keys_below_the_top(path, key):
    assert f"'{key}'" in refusal(call("table.setup", ((*path, key), "execute"))).detail


@pytest.mark.parametrize("key", ["SYSServiceMethod", "SYSBackendMethod"])
def test_system_keys_beside_the_root(key):
    made = call("node.describe")
    made["data"][0][key] = {"Cluster": "execute"}
    assert f"'{key}'" in refusal(made).detail


@pytest.mark.parametrize("path", [("id",), ("Node",), ("Node", "name"), ("Node", "index"), ("Node", "Table"), ("Node", "Table", "name")])
def test_missing_values(path):
    detail = refusal(call("table.open", (path, ...))).detail
    assert detail == f"$.data[0].Cluster{''.join(f'.{step}' for step in path[:-1])}: '{path[-1]}' is a required property"


@pytest.mark.parametrize(("path", "value"), [
    (("id",), 1), (("id",), None), (("id",), "UPPER"), (("Node",), []), (("Node", "index"), "1"), (("Node", "index"), True), (("Node", "index"), 0),
    (("Node", "index"), 251), (("Node", "Table"), "public.t"), (("Node", "Table", "Column"), {"name": "a", "type": "int"}),
    (("Node", "Table", "Column", 0), "id"), (("Node", "Table", "Column", 0, "nullable"), "no"), (("Node", "Table", "Column", 0, "default"), ["x"]),
    (("Node", "Table", "Column", 0, "default"), {"function": "pg_sleep"}), (("Node", "Table", "Column", 0, "default"), {"function": "now", "and": 1})])
def test_wrong_types_are_named_by_their_path(path, value):
    at = "$.data[0].Cluster" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    assert refusal(call("table.setup", (path, value))).detail.startswith(f"{at}: expected ")


@pytest.mark.parametrize("data", [[], [{}, {}], {}, None, "", [1]])
def test_anything_but_one_item(data):
    made = call("node.describe")
    assert refusal(made | {"data": data}).detail.startswith("$.data")
    assert refusal(made | {"data": made["data"] * 2}).detail.startswith("$.data: expected ")


@pytest.mark.parametrize("made", [None, [], "node.describe", 1, {}, {"SYSServiceID": None}, {"SYSServiceID": ["node.describe"]}, {"data": []}])
def test_what_is_no_call_document(made):
    assert refusal(made).message == "not a call document"


def test_an_unknown_service():
    refused = refusal({"SYSServiceID": "x" * 1000, "data": []})
    assert len(refused.message) < 120
    assert "node.describe" in refused.hint


@pytest.mark.parametrize("trigger", [[], [{"name": "merge_row"}], [{"name": name} for name in ("stamp_insert",) * 9]])
def test_a_part_of_the_merge_cannot_be_left_out(trigger):
    assert refusal(call("table.setup", (("Node", "Table", "Trigger"), trigger))).detail.startswith(f"{NODE}.Table.Trigger: expected ")


def test_a_list_that_must_hold_something():
    assert refusal(call("node.prepare", (("Node", "Role"), []))).detail.startswith(f"{NODE}.Role: expected ")


# --- hostile values ---


@pytest.mark.parametrize("name", ["", "n" * 64, "é" * 32, "a\0b", "\0", "\ud800", "a\udfffb", "line\nfeed"])
@pytest.mark.parametrize("path", [("Node", "database"), ("Node", "Table", "name"), ("Node", "Table", "schema"), ("Node", "Table", "Column", 0, "name")])
def test_names_that_postgresql_would_cut_or_refuse(path, name):
    assert "expected " in refusal(call("table.setup", (path, name))).detail


@pytest.mark.parametrize("name", ["n" * 63, "é" * 31, "Tab le", '"; DROP TABLE t; --', "表"])
def test_names_that_postgresql_takes(name):
    assert check(call("table.setup", (("Node", "Table", "name"), name)))[1]["Node"]["Table"]["name"] == name


@pytest.mark.parametrize(("service_id", "path"), [
    ("node.describe", ("id",)), ("node.describe", ("Node", "name")), ("node.prepare", ("Node", "Role", 0, "name")),
    ("subscription.setup", ("Node", "Subscription", "source"))])
def test_a_line_feed_behind_a_name(service_id, path):
    # in Python a pattern's bare $ also matches before a last line feed
    made = call(service_id)
    holder = made["data"][0]["Cluster"]
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] += "\n"
    refusal(made)


@pytest.mark.parametrize("value", ["x\0xxxxxxx", "\ud800xxxxxxxx"])
@pytest.mark.parametrize(("service_id", "path"), [
    ("node.prepare", ("Node", "Role", 0, "password")), ("subscription.setup", ("Node", "Subscription", "password")),
    ("subscription.setup", ("Node", "Subscription", "host")), ("table.setup", ("Node", "Table", "Column", 0, "type")),
    ("table.setup", ("Node", "Table", "Column", 0, "default"))])
def test_texts_that_cannot_be_sent_to_postgresql(service_id, path, value):
    refusal(call(service_id, (path, value)))


def test_a_number_with_a_point_is_no_integer_for_sql():
    # JSON Schema takes 1.0 for an integer; psycopg2 would send it as a numeric
    made = call("table.digest", (("Node", "index"), 1.0), (("Node", "Table", "buckets"), 256.0))
    try:
        root = check(made)[1]
    except CallError:
        return
    assert isinstance(root["Node"]["index"], int) and isinstance(root["Node"]["Table"]["buckets"], int)


@pytest.mark.parametrize("password", ["short", SECRET * 20, 12345678, [SECRET], {"is": SECRET}, None])
def test_no_message_shows_a_password(password):
    for service_id, path in (("node.prepare", ("Node", "Role", 0, "password")), ("subscription.setup", ("Node", "Subscription", "password"))):
        refused = refusal(call(service_id, (path, password)))
        said = " ".join((refused.message, refused.detail, refused.hint, str(refused)))
        assert ".password: expected " in said
        assert not any(secret in said for secret in (SECRET, "short", "12345678"))


def test_a_misplaced_password_is_not_shown_either():
    refused = refusal(call("node.prepare", (("Node", "Role"), SECRET), (("Node", "passwort"), SECRET), (("id",), SECRET + "_"), (("Node", "name"), [SECRET])))
    assert SECRET not in refused.detail and "'passwort'" in refused.detail


def test_many_faults_make_a_short_message():
    made = call("node.prepare", (("Node", "Role"), [{"name": 1, "k" * 500: 1}] * 1000))
    assert len(refusal(made).detail) < 4000


# --- what it takes to make a call ---


def test_making_a_document_imports_neither_microesb_nor_a_driver_nor_the_host():
    program = ("import sys; import esb_config.document; print(*sorted(set(sys.modules)"
               " & {'microesb', 'psycopg2', 'services', 'container', 'httpx', 'pgunison.cluster'}))")
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("service_id", "path"), [
    ("node.drain", ["Node", "by"]), ("node.resume", ["Node", "by"]), *(("node.record", ["Node", "Entry", 0, name]) for name in ("command", "who", "detail"))])
@pytest.mark.parametrize(("text", "taken"), [
    ("ops@höst1", True), ("a\nb", False), ("ends\n", False), ("\x00", False), ("\x1b[2J", False), ("\x85", False), ("\ud800", False), ("x" * 501, False)])
def test_what_is_shown_in_a_line_is_one(service_id, path, text, taken):
    made = call(service_id, (path, text))
    if taken:
        check(made)
    else:
        assert path[-1] in refusal(made).detail
