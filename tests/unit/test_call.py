"""esb_config/call.py: microesb behind the checked call, with every trap worked round; no PostgreSQL."""

import copy
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from esb_config.call import execute
from esb_config.definition import services
from esb_config.document import document
from esb_config.errors import CallError
from services.errors import ServiceError
from services.node import Node
from services.result import Result
from services.table import Table

PROJECT = Path(__file__).parents[2]


def where(index: int = 1, **children) -> dict:
    return {"id": "lb-test", "Node": {"name": f"node{index}", "index": index, "database": "lb-test"} | children}


@pytest.fixture
def describe(monkeypatch):
    """Let node.describe do what the test says: a function of the Node."""
    return lambda function: monkeypatch.setattr(Node, "describe", function)


@pytest.fixture
def set_up(monkeypatch):
    """Let table.setup do what the test says: a function of the Table."""
    return lambda function: monkeypatch.setattr(Table, "set_up", function)


def test_the_answer_is_what_the_method_returned(describe):
    describe(lambda node: Result(["did it"], {"of": node.name, "in": node.parent_object.id}))
    assert execute(document("node.describe", Cluster=where(3))) == {"changed": True, "done": ["did it"], "of": "node3", "in": "lb-test"}


def test_nothing_done_is_nothing_changed(describe):
    describe(lambda node: Result())
    assert execute(document("node.describe", Cluster=where())) == {"changed": False, "done": []}


def test_the_method_sees_properties_children_items_and_their_defaults(set_up):
    seen = {}

    def see(table):
        seen["table"] = table.schema, table.name
        seen["columns"] = [(column.name, column.nullable, column.default) for column in table.Column]
        seen["sequences"] = [sequence.column for sequence in table.Sequence]
        seen["triggers"] = [trigger.name for trigger in table.Trigger]
        return Result()

    set_up(see)
    columns = [{"name": "a", "type": "int"}, {"name": "b", "type": "int", "nullable": False, "default": {"function": "now"}}]
    execute(document("table.setup", Cluster=where(Table={"name": "t", "Column": columns})))
    assert seen == {"table": ("public", "t"), "columns": [("a", True, None), ("b", False, {"function": "now"})], "sequences": [],
                    "triggers": ["stamp_insert", "outlive", "outlive_moved", "image", "bury", "truncate", "merge_row", "merge_image", "merge_tombstone"]}


def test_one_call_leaves_nothing_to_the_next(set_up):
    counts = []
    set_up(lambda table: counts.append((len(list(table.Column)), len(list(table.Trigger)))) or Result())
    for number in (3, 1, 0):
        columns = [{"name": f"c{k}", "type": "int"} for k in range(number)]
        execute(document("table.setup", Cluster=where(Table={"name": "t", "Column": columns})))
    assert counts == [(3, 9), (1, 9), (0, 9)]


@pytest.mark.parametrize("error", [TypeError("lost by microesb"), AttributeError("lost by microesb"), KeyError("lost by microesb"),
                                   StopIteration(), ServiceError("refused", "seen", "do"), RuntimeError("x")])
def test_what_a_method_raises_arrives(describe, error):
    def fail(node):
        raise error

    describe(fail)
    with pytest.raises(type(error)) as raised:
        execute(document("node.describe", Cluster=where()))
    assert raised.value is error


def test_a_bug_in_a_method_arrives(describe):
    describe(lambda node: node.no_such_attribute)
    with pytest.raises(AttributeError, match="no_such_attribute"):
        execute(document("node.describe", Cluster=where()))


def test_a_call_that_is_wrong_runs_nothing(describe):
    ran = []
    describe(lambda node: ran.append(node) or Result())
    for wrong in ({"SYSServiceID": "node.describe", "data": [{"Cluster": where()}] * 2},
                  {"SYSServiceID": "node.describe", "data": [{"Cluster": where() | {"SYSServiceMethod": "execute"}}]},
                  {"SYSServiceID": "node.describe", "data": [{"Cluster": where(), "SYSBackendMethod": {"Cluster": "execute"}}]},
                  {"SYSServiceID": "node.describe", "data": [{"Cluster": where(Tabel={})}]}):
        with pytest.raises(CallError):
            execute(wrong)
    assert not ran


def test_the_callers_document_is_untouched(set_up):
    def spoil(table):
        table.Column = []
        table.name = "spoilt"
        return Result()

    set_up(spoil)
    made = services()["table.setup"].example()
    before = copy.deepcopy(made)
    execute(made)
    execute(made)
    assert made == before


def test_path_and_method_come_from_the_definition_only(describe):
    describe(lambda node: Result(data={"path": node.parent_object.path, "method": node.parent_object.method}))
    found = execute(document("node.describe", Cluster=where()))
    assert (found["path"], found["method"]) == (["Node"], "describe")


def test_eight_threads_get_their_own_answers(set_up):
    together = threading.Barrier(8, timeout=20)

    def answer(table):
        # all eight are inside a call at the same time
        together.wait()
        return Result(data={"node": table.parent_object.name, "table": table.name, "columns": [column.name for column in table.Column]})

    set_up(answer)

    def call(number: int):
        columns = [{"name": f"c{number}_{k}", "type": "int"} for k in range(number % 5)]
        return execute(document("table.setup", Cluster=where(number, Table={"name": f"t{number}", "Column": columns})))

    with ThreadPoolExecutor(max_workers=8) as pool:
        for number, found in zip(range(1, 201), pool.map(call, range(1, 201)), strict=True):
            assert (found["node"], found["table"]) == (f"node{number}", f"t{number}")
            assert found["columns"] == [f"c{number}_{k}" for k in range(number % 5)]


def test_the_log_holds_no_password_even_at_debug(caplog, monkeypatch):
    caplog.set_level("DEBUG")
    monkeypatch.setattr(Node, "prepare", lambda node: Result(data={"lengths": [len(role.password) for role in node.Role]}))
    found = execute(document("node.prepare", Cluster=where(Role=[{"name": "writer1", "kind": "writer", "password": "hunter2-and-more"}])))
    assert found["lengths"] == [16]
    assert not [record.name for record in caplog.records if "hunter2" in record.getMessage()]


@pytest.mark.parametrize("first", ["services.table", "services.node", "services.cluster", "services.subscription", "esb_config.call", "container.web"])
def test_any_module_may_be_imported_first(first):
    program = f"import {first}; from esb_config.call import execute"
    environment = {key: value for key, value in os.environ.items() if key != "esbconfig"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
