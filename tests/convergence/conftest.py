"""One PostgreSQL with a database for each node of the exhaustive tests: three origins and two receivers."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from container.postgresql import Postgresql
from pgunison.contract.agent import AgentConfiguration
from pgunison.runtime import binaries
from services import server
from tests.convergence.database import Database
from tests.convergence.plain import Plain

# Nothing of this server has to outlive a crash.
SETTINGS = (("fsync", "off"), ("full_page_writes", "off"), ("autovacuum", "off"), ("jit", "off"),
            ("shared_buffers", "256MB"), ("max_wal_size", "1GB"), ("track_functions", "none"), ("log_min_messages", "fatal"))


@dataclass(frozen=True)
class Laboratory:
    """Origins A, B and C are nodes 1, 2 and 3; a receiver is a node that never writes; ``plain`` is no node."""

    origins: list[Database]
    receivers: list[Database]
    plain: Plain

    @contextmanager
    def housed(self, home: int | None) -> Iterator[None]:
        """Let SET DEFAULT, and new rows, refer to that row wherever somebody writes, for a while."""
        with ExitStack() as stack:
            for database in (*self.origins, self.plain):
                stack.enter_context(database.housed(home))
            yield


@pytest.fixture(scope="session")
def laboratory(state_directory) -> Iterator[Laboratory]:
    directory, user = state_directory / "laboratory", binaries.server_user()
    directory.mkdir(mode=0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = AgentConfiguration(
        cluster="orders", node="laboratory", index=1, database="a", address="127.0.0.1", postgresql_port=port, agent_port=0, max_nodes=3, networks=(),
        settings=SETTINGS, directory=directory, binaries=binaries.find(state_directory, user), token_file=directory / secrets.token_hex(4),
        template=None, user=user)
    postgresql = Postgresql(configuration)
    postgresql.make()
    try:
        postgresql.await_connections(postgresql.start(), 60)
        where = server.Server(str(configuration.socket_directory), port)
        server.configure(where)
        origins = [Database(where, name, index) for index, name in enumerate("abc", 1)]
        receivers = [Database(where, name, index) for index, name in enumerate(("receiver1", "receiver2"), 4)]
        for origin in origins:
            origin.set_clock()
            origin.meddle()
        plain = Plain(where, "plain")
        yield Laboratory(origins, receivers, plain)
        for database in (*origins, *receivers, plain):
            database.close()
    finally:
        postgresql.stop()
