"""container/health.py against a small HTTP server in the agent's place."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from container import health


@pytest.fixture
def agent() -> Iterator[HTTPServer]:
    """A server on a free port that answers with its ``answer``: a status and a body."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = self.server.answer if self.path == "/health" else (404, b"")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def asked(agent, tmp_path, monkeypatch, capsys):
    """Run the check; returns its exit status and what it printed."""
    def ask(status: int = 200, body: bytes = b"{}", **configuration) -> tuple[int, str]:
        agent.answer = status, body
        path = tmp_path / "agent.json"
        path.write_text(json.dumps({"address": "0.0.0.0", "agent_port": agent.server_port} | configuration))
        monkeypatch.setattr(sys, "argv", ["health", str(path)])
        return health.main(), capsys.readouterr().out
    return ask


def test_a_node_without_a_problem_is_well(asked):
    assert asked(body=b'{"problem": null}', tls=None) == (0, "")


def test_an_address_of_its_own_is_asked(asked):
    assert asked(body=b'{"problem": null}', address="127.0.0.1") == (0, "")


def test_a_problem_is_printed_on_one_line(asked):
    assert asked(body=json.dumps({"problem": "PostgreSQL ended:\n it is\tfull"}).encode()) == (1, "PostgreSQL ended: it is full\n")


@pytest.mark.parametrize(("status", "body"), [(503, b'{"problem": null}'), (200, b""), (200, b"[]"), (200, b"{}"), (200, b"<html>")])
def test_an_answer_that_says_nothing_is_a_problem(asked, status, body):
    assert_unwell(asked(status, body))


def test_nobody_there_is_a_problem(asked, agent):
    assert_unwell(asked(agent_port=1))


def test_a_server_that_speaks_no_tls_is_a_problem_where_tls_is_asked_for(asked, tmp_path):
    assert_unwell(asked(body=b'{"problem": null}', tls=str(tmp_path)))


def test_a_missing_configuration_is_a_problem(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["health", str(tmp_path / "agent.json")])
    assert_unwell((health.main(), capsys.readouterr().out))


def assert_unwell(outcome: tuple[int, str]) -> None:
    status, printed = outcome
    assert status == 1
    assert printed.count("\n") == 1 and len(printed) > 20
