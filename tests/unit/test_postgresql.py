"""PostgreSQL's programs: what can be refused before any of them runs."""

import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from container.postgresql import Postgresql, PostgresqlError
from pgunison.contract.agent import AgentConfiguration

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def server(tmp_path: Path) -> Postgresql:
    return Postgresql(AgentConfiguration(
        cluster="test", node="node1", index=1, database="test", address="127.0.0.1", postgresql_port=5432, agent_port=64000, max_nodes=3,
        networks=("127.0.0.0/8",), settings=(), directory=tmp_path,
        binaries=tmp_path / "none", token_file=tmp_path / "token", template=None, user=None))


def test_a_full_disk_is_named_and_nothing_is_made(server, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**30, 2**30 - 2**20, 2**20))
    with pytest.raises(PostgresqlError, match="the disk is full: 1 MiB are free at "):
        server.make()
    assert not (tmp_path / "data").exists() and not (tmp_path / "data.unfinished").exists()


def test_a_port_that_is_taken_is_named(server, tmp_path):
    (tmp_path / "data").mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        object.__setattr__(server.configuration, "postgresql_port", port)
        with pytest.raises(PostgresqlError, match=f"port {port} of 127.0.0.1 is not free: Address already in use"):
            server.start()


def test_a_process_id_that_is_used_again_is_no_server(server, tmp_path):
    (tmp_path / "data").mkdir()
    # ours, which is no PostgreSQL
    (tmp_path / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert server.running_pid() is None
