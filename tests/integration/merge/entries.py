"""Writes to the table of the tests of the merge, and what every node must hold then."""

from tests.convergence.comparison import assert_same, names, replica

FUTURE = "2100-01-01 00:00:00+00"
ISOLATIONS = ["read committed", "repeatable read", "serializable"]


def write(cluster, node: str, statement: str, parameters=None) -> list[tuple]:
    return cluster.query(node, statement, parameters, role="writer")


def insert(cluster, node: str, key: int, value: str, other: str | None = None) -> None:
    write(cluster, node, "INSERT INTO entry (id, value, other) VALUES (%s, %s, %s)", [key, value, other])


def update(cluster, node: str, key: int, value: str) -> None:
    write(cluster, node, "UPDATE entry SET value = %s WHERE id = %s", [value, key])


def delete(cluster, node: str, key: int) -> None:
    write(cluster, node, "DELETE FROM entry WHERE id = %s", [key])


def values(cluster, low: int, table: str = "entry") -> dict[int, str]:
    """Assert that all nodes are the same; return the values of the thousand keys from ``low`` on."""
    assert_same(cluster, table)
    return dict(cluster.query("node1", f"SELECT id, value FROM {table} WHERE id >= %s AND id < %s ORDER BY id", [low, low + 1000]))


def from_the_future(cluster, key: int) -> None:
    """Give the row of this key, on every node, a version that a clock far ahead would have made."""
    for node in names(cluster):
        with replica(cluster, node) as cursor:
            cursor.execute("UPDATE entry SET modified_ts = %s WHERE id = %s", [FUTURE, key])
            assert cursor.rowcount == 1
