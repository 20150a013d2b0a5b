"""Messages: what a node's publication sends, read from a logical replication slot with pgoutput.

A slot is the one source that is exactly right: it gives what an apply worker would get, in the order of the WAL, the row as it was inserted (a stamp
that the same statement sets anew is a message of its own), the published columns only, and nothing that was applied from elsewhere
(``origin = none``). Triggers that copy rows aside would have to imitate each of these.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from psycopg2 import sql

KINDS = ("row", "image", "tombstone")


@dataclass(frozen=True)
class Message:
    """One INSERT on the wire; ``values`` as text, by column. ``operation`` is the number of the operation of the program that made it."""

    origin: int
    operation: int
    kind: str
    key: int
    values: tuple[tuple[str, str | None], ...]

    @cached_property
    def version(self) -> tuple[str, int]:
        """The state's version."""
        found = dict(self.values)
        return version(found["modified_ts"], found["modified_node"])

    @cached_property
    def replaced(self) -> tuple[str, int] | None:
        """The version that this change replaced, where the message says so."""
        found = {column.removeprefix("unison_"): value for column, value in self.values}
        return version(found["replaced_ts"], found["replaced_node"]) if found.get("replaced_ts") is not None else None

    def __str__(self) -> str:
        return f"{self.kind} " + " ".join(f"{column}={value}" for column, value in self.values)


def version(moment: str, node: str | int) -> tuple[str, int]:
    """Make a version that compares as PostgreSQL compares it: a UTC time written in one way, with the zeros that PostgreSQL drops, and the node."""
    time, zone = moment.split("+")
    seconds, _, fraction = time.partition(".")
    return f"{seconds}.{fraction:0<6}+{zone}", int(node)


class Sender:
    """A node's stream of messages of some tables, from the moment it is opened; the slot ends with the connection."""

    def __init__(self, connection, tables: dict[tuple[str, str], str]):
        self._connection = connection
        self._tables = tables
        self._slot = f"unison_messages_{connection.get_backend_pid()}"
        self._relations: dict[int, tuple[str | None, list[str]]] = {}
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput', true)", [self._slot])

    def close(self) -> None:
        """Drop the slot, which would hold back WAL; after an error it is gone already."""
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", [self._slot])

    def read(self) -> list[tuple[str, dict[str, str | None]]]:
        """Return what was committed since the last call, as kind and values."""
        with self._connection.cursor() as cursor:
            # lets the slot forget the WAL of before
            cursor.execute("SELECT pg_log_standby_snapshot()")
            cursor.execute(sql.SQL("SELECT data FROM pg_logical_slot_get_binary_changes({}, NULL, NULL, 'proto_version', '1',"
                                   " 'publication_names', 'unison', 'origin', 'none')").format(
                                       sql.Literal(self._slot)))
            return list(self._decoded(bytes(data) for data, in cursor))

    def _decoded(self, stream: Iterator[bytes]) -> Iterator[tuple[str, dict[str, str | None]]]:
        """Source: PostgreSQL's documentation, Logical Replication Message Formats, version 1."""
        for data in stream:
            if data[:1] == b"R":
                self._learn(data)
            elif data[:1] == b"I":
                kind, columns = self._relations[struct.unpack(">I", data[1:5])[0]]
                if kind is not None:
                    yield kind, dict(zip(columns, _tuple(data[6:]), strict=True))
            elif data[:1] not in b"BCOY":
                raise AssertionError(f"the publication sent a message of type {data[:1]!r}: only INSERTs may travel")

    def _learn(self, data: bytes) -> None:
        number = struct.unpack(">I", data[1:5])[0]
        schema, table, rest = data[5:].split(b"\0", 2)
        count = struct.unpack(">H", rest[1:3])[0]
        rest, columns = rest[3:], []
        for _ in range(count):
            name, rest = rest[1:].split(b"\0", 1)
            columns.append(name.decode())
            rest = rest[8:]
        self._relations[number] = self._tables.get((schema.decode(), table.decode())), columns


def _tuple(data: bytes) -> Iterator[str | None]:
    count, position = struct.unpack(">H", data[:2])[0], 2
    for _ in range(count):
        mark, position = data[position:position + 1], position + 1
        if mark == b"n":
            yield None
            continue
        assert mark == b"t", "an inserted row carries all its values, as text"
        length = struct.unpack(">I", data[position:position + 4])[0]
        yield data[position + 4:position + 4 + length].decode()
        position += 4 + length
