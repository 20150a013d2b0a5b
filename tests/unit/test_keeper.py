"""The keeper: whatever fails, it goes on."""

import threading
from pathlib import Path

import pytest

from container.keeper import Keeper
from pgunison.contract.agent import AgentConfiguration


class Server:
    """A PostgreSQL that starts at the second attempt."""

    def __init__(self) -> None:
        self.attempts, self.cared = 0, threading.Event()

    def make(self) -> bool:
        return False

    def start(self) -> int:
        self.attempts += 1
        if self.attempts == 1:
            raise ValueError("what nobody thought of")
        return 1

    def await_connections(self, pid: int, timeout_s: float) -> None:
        pass

    def wait_end(self, pid: int, timeout_s: float) -> bool:
        return False

    def stop(self) -> None:
        pass


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(AgentConfiguration(
        cluster="test", node="node1", index=1, database="test", address="127.0.0.1", postgresql_port=5432, agent_port=64000,
        max_nodes=3, networks=(), settings=(), directory=tmp_path, binaries=tmp_path, token_file=tmp_path / "token",
        template=None, user=None))


def test_what_nobody_thought_of_ends_no_keeper(keeper, monkeypatch):
    server, rounds, enough = Server(), [], threading.Event()

    def fail() -> dict:
        rounds.append(keeper.ailment())
        if len(rounds) == 3:
            enough.set()
        raise RuntimeError("a fault in a round of maintenance")

    monkeypatch.setattr(keeper, "_server", server)
    monkeypatch.setattr(keeper._maintenance, "round", fail)
    keeper.start()
    try:
        assert enough.wait(30), "the third round has come"
        assert keeper.is_alive() and rounds[:3] == [None, None, None] and server.attempts == 2
    finally:
        keeper.stop()
