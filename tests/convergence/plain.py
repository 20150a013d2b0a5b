"""Plain: the table of the tests in a database without pgunison, where PostgreSQL alone says what comes of statements one after the other."""

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg2

from services.server import Server
from tests.convergence.database import COLUMNS, KEY, MEDDLING, STATEMENTS, TABLE, housed
from tests.convergence.scenario import Scenario, statement

VALUES = [str(column["name"]) for column in COLUMNS if column["name"] != KEY]


class Plain:
    """One writer, no peers, no versions."""

    def __init__(self, server: Server, name: str):
        def connect(database: str):
            connection = psycopg2.connect(host=server.socket_directory, port=server.port, user=server.superuser, dbname=database)
            connection.autocommit = True
            return connection

        administrator = connect("postgres")
        with administrator.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        administrator.close()
        self._writer, self._home = connect(name), None
        columns = ", ".join(f"{column['name']} {column['type']}{' PRIMARY KEY' if column['name'] == KEY else ''}" for column in COLUMNS)
        with self._writer.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA test; CREATE TABLE {TABLE} ({columns})")
            cursor.execute(MEDDLING)

    def close(self) -> None:
        self._writer.close()

    @contextmanager
    def housed(self, home: int | None) -> Iterator[None]:
        """Let SET DEFAULT, and new rows, refer to that row, for a while."""
        with housed(self._writer, home):
            self._home = home
            try:
                yield
            finally:
                self._home = None

    def rows(self, scenarios: Iterable[Scenario]) -> dict[int, dict[str, str | None]]:
        """Do all that the writers of each scenario did, in its order; returns the values of each row, as text, by key and column."""
        rest = (statement(scenario, number) for scenario in scenarios for number in range(len(scenario.program.all)))
        with self._writer.cursor() as cursor:
            cursor.execute(f"TRUNCATE {TABLE}")
            if self._home is not None:
                cursor.execute(f"INSERT INTO {TABLE} (id) VALUES (%s)", [self._home])
            while some := ";\n".join(itertools.islice(rest, STATEMENTS)):
                cursor.execute(some)
            cursor.execute(f"SELECT {KEY}, {', '.join(f'{column}::text' for column in VALUES)} FROM {TABLE}")
            return {key: dict(zip(VALUES, values, strict=True)) for key, *values in cursor}
