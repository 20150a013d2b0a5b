"""verify on a real cluster: it finds what differs, and it ends."""

import threading

import pytest

from host.errors import NotConverged
from host.verify import verify
from tests.convergence.comparison import MARKS, replica, settle

MANY = {"name": "many", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[MANY, MARKS]).up()


def test_differences_behind_more_equal_rows_than_are_compared_at_once_are_found(cluster):
    cluster.query("node1", "INSERT INTO many SELECT n, 'x' FROM generate_series(1, 30000) n")
    settle(cluster)
    with replica(cluster, "node2") as cursor:
        cursor.execute("DELETE FROM many WHERE id > 15000")
    ended: list[object] = []

    def look() -> None:
        try:
            ended.append(verify(cluster.site))
        except NotConverged as error:
            ended.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(45)
    late = thread.is_alive()
    for node in ("node1", "node2"):
        with replica(cluster, node) as cursor:
            cursor.execute("DELETE FROM many")
    thread.join(45)
    assert not late, "verify does not end"
    assert isinstance(ended[0], NotConverged), ended
