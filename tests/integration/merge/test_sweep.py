"""The race that the sweep is for, and the agent's maintenance, which goes on."""

import pytest

from tests.convergence.comparison import arrived, settle, wait_until
from tests.integration.merge.entries import FUTURE, delete, insert, update, values


def begin_insert(cluster, connection, key: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO entry (id, value) VALUES (%s, 'raced')", [key])


def later_tombstone(cluster, key: int) -> None:
    """Make a later tombstone of the key on node2, where there was no row of it, and wait until node1 has it."""
    connection = cluster.superuser("node2")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT tombstone_name, image_name FROM unison.replicated_table WHERE table_name = 'entry'")
        tombstone = cursor.fetchone()[0]
        cursor.execute(f'INSERT INTO unison."{tombstone}" (id, modified_ts, modified_node) VALUES (%s, clock_timestamp(), 2)', [key])
    connection.close()
    arrived(cluster, "node2", "node1")


def raced(cluster, key: int) -> bool:
    return bool(cluster.query("node1", "SELECT 1 FROM entry WHERE id = %s", [key]))


def test_a_row_that_raced_with_a_tombstone_is_swept(cluster, key):
    with cluster.connect("node1", "writer", autocommit=False) as connection:
        begin_insert(cluster, connection, key)
        later_tombstone(cluster, key)
        connection.commit()
    assert values(cluster, key) == {}


def test_a_row_that_raced_with_a_tombstone_is_swept_by_the_agent(cluster, key):
    with cluster.connect("node1", "writer", autocommit=False) as connection:
        begin_insert(cluster, connection, key)
        later_tombstone(cluster, key)
        connection.commit()
    wait_until(lambda: "the row is there" if raced(cluster, key) else None, "the agent sweeps", 15)


def sweeps(cluster, node: str) -> int:
    return cluster.query(node, "SELECT count(*) FROM unison.round")[0][0]


@pytest.mark.parametrize("rounds", [3])
def test_a_row_that_raced_for_several_rounds_of_maintenance_is_swept_by_the_agent(cluster, key, rounds):
    with cluster.connect("node1", "writer", autocommit=False) as connection:
        begin_insert(cluster, connection, key)
        later_tombstone(cluster, key)
        before = sweeps(cluster, "node1")
        wait_until(lambda: None if sweeps(cluster, "node1") >= before + rounds else "too few sweeps", "the agent has swept some times", 30)
        connection.commit()
    wait_until(lambda: "the row is there" if raced(cluster, key) else None, "the agent sweeps", 15)


def test_a_tombstone_whose_transaction_began_long_before_the_row_is_found_by_the_agent(cluster, key):
    """The tombstone is written first, stays uncommitted over some rounds, the row comes and commits meanwhile, and the tombstone commits last."""
    holder = cluster.superuser("node1")
    try:
        with holder.cursor() as cursor:
            cursor.execute("SELECT tombstone_name FROM unison.replicated_table WHERE table_name = 'entry'")
            cursor.execute(f'INSERT INTO unison."{cursor.fetchone()[0]}" (id, modified_ts, modified_node) VALUES (%s, %s, 2)', [key, FUTURE])
        before = sweeps(cluster, "node1")
        wait_until(lambda: None if sweeps(cluster, "node1") >= before + 3 else "too few sweeps", "the agent has swept some times", 30)
        insert(cluster, "node1", key, "raced")
        before = sweeps(cluster, "node1")
        wait_until(lambda: None if sweeps(cluster, "node1") >= before + 2 else "too few sweeps", "the agent has swept some times", 30)
        holder.commit()
    finally:
        holder.close()
    wait_until(lambda: "the row is there" if raced(cluster, key) else None, "the agent sweeps", 15)


def test_a_row_and_its_tombstone_both_long_open_are_found_by_the_agent(cluster, key):
    """Tombstone's transaction begins, rounds pass, the row's begins, rounds pass, the tombstone's ends, rounds pass, the row's ends."""
    def some_rounds() -> None:
        before = sweeps(cluster, "node1")
        wait_until(lambda: None if sweeps(cluster, "node1") >= before + 2 else "too few sweeps", "the agent has swept some times", 30)

    holder = cluster.superuser("node1")
    try:
        with cluster.connect("node1", "writer", autocommit=False) as connection:
            with holder.cursor() as cursor:
                cursor.execute("SELECT tombstone_name FROM unison.replicated_table WHERE table_name = 'entry'")
                cursor.execute(f'INSERT INTO unison."{cursor.fetchone()[0]}" (id, modified_ts, modified_node) VALUES (%s, %s, 2)', [key, FUTURE])
            some_rounds()
            begin_insert(cluster, connection, key)
            some_rounds()
            holder.commit()
            some_rounds()
            connection.commit()
    finally:
        holder.close()
    wait_until(lambda: "the row is there" if raced(cluster, key) else None, "the agent sweeps", 15)


def test_images_are_trimmed(cluster, key):
    insert(cluster, "node1", key, "old")
    update(cluster, "node1", key, "new")
    image = cluster.query("node1", "SELECT image_name FROM unison.replicated_table WHERE table_name = 'entry'")[0][0]

    def left() -> str | None:
        count = cluster.query("node1", f'SELECT count(*) FROM unison."{image}"')[0][0]
        return f"{count} images" if count else None

    wait_until(left, "the images are trimmed", 15)
    assert values(cluster, key) == {key: "new"}


def complaints(cluster, node: str) -> int:
    """Count the rounds of maintenance that failed, as the agent logged them."""
    return sum("maintenance: " in line for _, lines in cluster.site.runtime.logs(cluster.site.spec(node)) for line in lines)


def test_maintenance_goes_on_after_a_lock_kept_it_waiting(cluster, key):
    with cluster.connect("node3", autocommit=False) as connection, connection.cursor() as cursor:
        # a deletion that node3 still has to look at
        insert(cluster, "node1", key, "doomed")
        delete(cluster, "node1", key)
        settle(cluster)
        cursor.execute("LOCK TABLE entry IN ACCESS EXCLUSIVE MODE")
        before = complaints(cluster, "node3")
        # it gives up after a second
        wait_until(lambda: None if complaints(cluster, "node3") > before else "nothing logged", "the maintenance gives up waiting", 25)
    before = sweeps(cluster, "node3")
    wait_until(lambda: None if sweeps(cluster, "node3") > before else "no sweep since", "the agent sweeps again", 15)
