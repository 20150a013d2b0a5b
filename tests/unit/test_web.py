"""container/web.py: what comes in over HTTP, good, bad and hostile, and what goes out."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg2
import pytest

from container import web
from esb_config.errors import CallError
from services.errors import ServiceError

TOKEN = "the-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
REQUEST = {"jsonrpc": "2.0", "method": "esb.execute", "params": {"SYSServiceID": "node.describe"}, "id": 1}


class Agent:
    """A client of the application; ``does`` is what esb.execute does with a call, ``reason`` why the node is not ready."""

    def __init__(self):
        self.calls = []
        self.does = lambda call: {"changed": False, "done": []}
        self.reason = None
        health = {"cluster": "test", "node": "node1", "problem": None, "failures": 0}
        self._application = web.application(TOKEN, lambda: health, self._ready, self._refused)

    def _ready(self, max_lag_s):
        self.calls.append(max_lag_s)
        return {"ready": self.reason is None, "reason": self.reason}

    def _refused(self, settings):
        self.calls.append(settings)
        return self.does(settings)

    def request(self, method, path, **options) -> httpx.Response:
        async def send() -> httpx.Response:
            # an exception of the application becomes a 500, as uvicorn makes it
            transport = httpx.ASGITransport(self._application, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def execute(self, call):
        self.calls.append(call)
        return self.does(call)

    def post(self, body=None, headers=BEARER):
        body = json.dumps(REQUEST) if body is None else body
        return self.request("POST", "/", content=body, headers=headers)

    def error(self, body=None) -> dict:
        """Post, and return the error of the answer, which has to be one."""
        response = self.post(body)
        assert response.status_code == 200
        answer = response.json()
        assert set(answer) == {"jsonrpc", "error", "id"}
        return answer["error"]


@pytest.fixture
def agent(monkeypatch):
    made = Agent()
    monkeypatch.setattr(web, "execute", made.execute)
    return made


def fail(error: Exception):
    def does(call):
        raise error
    return does


# --- who may come in ---


@pytest.mark.parametrize("headers", [
    {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"Authorization": "Bearer wrong"},
    {"Authorization": TOKEN}, {"Authorization": f"bearer {TOKEN}"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": "Bearer übel".encode()}, {"Authorization": b"Bearer \xff\xfe"},
    {"Authorization": "Bearer " + "x" * 10000}])
def test_without_the_token_nothing_is_executed(agent, headers):
    response = agent.post(headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in response.text
    assert not agent.calls


def test_without_the_token_the_body_is_not_even_read(agent):
    assert agent.post("not json", headers={}).status_code == 401


def test_with_the_token_the_call_arrives_and_its_result_comes_back(agent):
    agent.does = lambda call: {"changed": True, "done": ["did it"]}
    response = agent.post()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"jsonrpc": "2.0", "result": {"changed": True, "done": ["did it"]}, "id": 1}
    assert agent.calls == [REQUEST["params"]]


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/", 405), ("PUT", "/", 405), ("DELETE", "/", 405), ("POST", "/health", 405), ("POST", "/ready", 405), ("GET", "/docs", 404),
    ("POST", "/esb.execute", 404), ("GET", "/../etc/passwd", 404)])
def test_other_methods_and_paths(agent, method, path, status):
    assert agent.request(method, path, headers=BEARER).status_code == status
    assert not agent.calls


# --- bodies ---


def test_a_body_that_is_too_large(agent):
    assert agent.post(b" " * (web.BODY_LIMIT_BYTES + 1)).status_code == 413
    assert not agent.calls


def test_a_body_that_is_too_large_and_does_not_say_so(agent):
    async def chunks():
        for _ in range(web.BODY_LIMIT_BYTES // 1024 + 1):
            yield b" " * 1024

    assert agent.post(chunks()).status_code == 413


def test_a_body_of_just_the_limit_is_read(agent):
    request = json.dumps(REQUEST).encode()
    assert agent.post(request.ljust(web.BODY_LIMIT_BYTES)).json()["id"] == 1


@pytest.mark.parametrize("body", [
    b"", b"   ", b"{", b"nonsense", b"\0" * 100, b'{"jsonrpc": "2.0", "method": "esb.execute", "params": {"a": NaN}, "id": 1}',
    b'{"jsonrpc": "2.0", "method": "esb.execute", "params": {"a": -Infinity}, "id": 1}', b'{"a": ' * 20000 + b"1" + b"}" * 20000,
    b'{"a": ' + b"9" * 10000 + b"}"])
def test_what_is_no_json(agent, body):
    assert agent.error(body)["code"] == -32700
    assert not agent.calls


@pytest.mark.parametrize("body", [b"[]", b" \n[" + json.dumps(REQUEST).encode() + b"]", b"[" * 100000])
def test_a_batch_is_refused_whole(agent, body):
    error = agent.error(body)
    assert error["code"] == -32600
    assert error["message"] == "batches are not supported"
    assert error["data"] == {"detail": "", "hint": "send one request at a time"}
    assert not agent.calls


@pytest.mark.parametrize("body", [b"\xff\xfe{}", '{"jsonrpc": "2.0"}'.encode("utf-16"), b'{"a": "\xe9"}'])
def test_what_is_not_utf_8(agent, body):
    assert agent.error(body)["code"] == -32600
    assert not agent.calls


@pytest.mark.parametrize("body", [b"1", b"null", b'"esb.execute"', b"{}", b'{"jsonrpc": "1.0", "method": "esb.execute", "id": 1}',
                                  b'{"method": "esb.execute", "id": 1}', b'{"jsonrpc": "2.0", "method": 1, "id": 1}',
                                  b'{"jsonrpc": "2.0", "method": "esb.execute", "params": "x", "id": 1}',
                                  b'{"jsonrpc": "2.0", "method": "esb.execute", "params": {}, "id": {}}'])
def test_what_is_no_request(agent, body):
    assert agent.error(body)["code"] == -32600
    assert not agent.calls


@pytest.mark.parametrize("method", ["esb", "esb_execute", "__import__", "rpc.discover", ""])
def test_an_unknown_method(agent, method):
    assert agent.error(json.dumps(REQUEST | {"method": method}))["code"] == -32601


def test_positional_params(agent):
    assert agent.error(json.dumps(REQUEST | {"params": [REQUEST["params"]]}))["code"] == -32602
    assert not agent.calls


def test_a_notification_is_done_and_not_answered(agent):
    response = agent.post(json.dumps({key: value for key, value in REQUEST.items() if key != "id"}))
    assert (response.status_code, response.content) == (204, b"")
    assert len(agent.calls) == 1


def test_a_notification_that_fails_is_not_answered_either(agent):
    agent.does = fail(RuntimeError("boom"))
    assert agent.post(json.dumps({key: value for key, value in REQUEST.items() if key != "id"})).status_code == 204


@pytest.mark.parametrize("identity", ["a", 0, -1, "x" * 1000, None])
def test_the_answer_bears_the_id_of_the_request(agent, identity):
    assert agent.post(json.dumps(REQUEST | {"id": identity})).json()["id"] == identity


# --- errors of services ---


def test_a_call_that_is_wrong(agent):
    agent.does = fail(CallError("the call is not what it takes", "$.data: expected", "see the docs"))
    assert agent.error() == {"code": -32602, "message": "the call is not what it takes", "data": {"detail": "$.data: expected", "hint": "see the docs"}}


def test_a_service_that_refuses(agent):
    agent.does = fail(ServiceError("this is another node", "it is node2", "call that one"))
    assert agent.error() == {"code": -32000, "message": "this is another node", "data": {"detail": "it is node2", "hint": "call that one"}}


@pytest.mark.parametrize("error", [RuntimeError("secret-in-the-text"), KeyError("secret-in-the-text"), RecursionError("secret-in-the-text"),
                                   StopIteration("secret-in-the-text"), UnicodeDecodeError("utf-8", b"s", 0, 1, "secret-in-the-text")])
def test_a_bug_is_logged_and_its_text_is_not_answered(agent, caplog, error):
    agent.does = fail(error)
    found = agent.error()
    assert found == {"code": -32000, "message": "the service failed", "data": {"detail": "a fault of the agent", "hint": "see the node's log"}}
    assert "secret-in-the-text" in caplog.text


def test_an_error_of_postgresql_tells_its_primary_message_only(agent, caplog):
    class Refused(psycopg2.Error):
        class diag:
            message_primary, message_detail, message_hint = "permission denied", "for table t", None

        def __str__(self):
            return "LINE 1: ALTER ROLE a PASSWORD 'secret'"

    agent.does = fail(Refused())
    assert agent.error() == {"code": -32000, "message": "PostgreSQL refused",
                             "data": {"detail": "permission denied for table t", "hint": "see the node's log"}}
    assert "permission denied" in caplog.text and "secret" not in caplog.text


def test_a_lost_connection_to_postgresql(agent):
    agent.does = fail(psycopg2.OperationalError("server closed the connection"))
    assert agent.error()["data"]["detail"] == "OperationalError"


@pytest.mark.parametrize("result", [{"a": object()}, {"a": {1, 2}}, {"a": b"x"}])
def test_a_result_that_is_no_json_is_an_error_and_no_crash(agent, result):
    agent.does = lambda call: result
    assert agent.error()["message"] == "the service failed"


def test_a_number_that_json_has_not_is_not_answered(agent):
    agent.does = lambda call: {"a": float("nan")}
    json.loads(agent.post().text, parse_constant=lambda name: pytest.fail(f"answered {name}"))


def test_the_agent_answers_many_at_once(agent):
    agent.does = lambda call: {"of": call["SYSServiceID"]}

    def call(number):
        return agent.post(json.dumps(REQUEST | {"params": {"SYSServiceID": f"s{number}"}, "id": number})).json()

    with ThreadPoolExecutor(max_workers=8) as pool:
        assert [(found["id"], found["result"]["of"]) for found in pool.map(call, range(40))] == [(k, f"s{k}") for k in range(40)]


# --- how is the node? ---


def test_health_needs_no_token(agent):
    response = agent.request("GET", "/health")
    assert (response.status_code, response.json()) == (200, {"cluster": "test", "node": "node1", "problem": None, "failures": 0})


def test_ready(agent):
    response = agent.request("GET", "/ready")
    assert (response.status_code, response.json()) == (200, {"ready": True, "reason": None})


def test_not_ready_says_why(agent):
    agent.reason = "the node has not joined the cluster yet"
    response = agent.request("GET", "/ready")
    assert (response.status_code, response.json()) == (503, {"ready": False, "reason": "the node has not joined the cluster yet"})


@pytest.mark.parametrize(("query", "asked"), [("", None), ("?role=reader", None), ("?role=reader&max_lag_s=5", 5.0), ("?role=writer&max_lag_s=0.5", 0.5)])
def test_ready_is_asked_for_an_age(agent, query, asked):
    assert agent.request("GET", f"/ready{query}").status_code == 200
    assert agent.calls == [asked]


@pytest.mark.parametrize(("query", "said"), [("?role=king", "role: expected one of writer, reader"), ("?max_lag_s=soon", "max_lag_s: expected a number"),
                                             ("?max_lag_s=-1", "max_lag_s: expected"), ("?max_lag_s=nan", "max_lag_s: expected"), ("?lag=1", "unknown: lag")])
def test_what_ready_does_not_know_is_refused(agent, query, said):
    response = agent.request("GET", f"/ready{query}")
    assert response.status_code == 400 and said in response.json()["error"]
    assert not agent.calls


def test_settings_are_checked_for_who_bears_the_token(agent):
    agent.does = lambda settings: 'unrecognized configuration parameter "nonsense"'
    body = json.dumps({"settings": [["nonsense", "1"]]})
    assert agent.request("POST", "/settings", content=body).status_code == 401
    assert not agent.calls
    answer = agent.request("POST", "/settings", content=body, headers=BEARER)
    assert answer.status_code == 200 and answer.json() == {"refused": 'unrecognized configuration parameter "nonsense"'}
    assert agent.calls == [(("nonsense", "1"),)]


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"settings": 1}', '{"settings": [1]}', '{"settings": [["a"]]}', "nothing"])
def test_settings_that_are_none(agent, body):
    assert agent.request("POST", "/settings", content=body, headers=BEARER).status_code == 400
    assert not agent.calls
