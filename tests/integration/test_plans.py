"""No plan of the merge reads a table from end to end, or joins many rows with many, whatever the tables held when it was made."""

import contextlib

import pytest

from tests.convergence.comparison import MARKS, assert_same, names, settle

ENTRY = {"name": "entry", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]}
ROWS = 20_000


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[ENTRY, MARKS]).up()


def tables(cluster, node: str) -> list[str]:
    image, tombstone = cluster.query(node, "SELECT image_name, tombstone_name FROM unison.replicated_table WHERE table_name = 'entry'")[0]
    return ["public.entry", f'unison."{image}"', f'unison."{tombstone}"']


def vacuumed(cluster) -> None:
    """Let the planner know on every node how empty the tables are; what is known of scans begins anew."""
    for node in names(cluster):
        with contextlib.closing(cluster.superuser(node)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for table in tables(cluster, node):
                    cursor.execute(f"VACUUM ANALYZE {table}")
                cursor.execute("SELECT pg_stat_reset()")


def rows_read(cluster, node: str) -> int:
    """How many rows were read by reading a table from end to end."""
    with contextlib.closing(cluster.superuser(node)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE relid = ANY(%s::regclass[])", [tables(cluster, node)])
        return int(cursor.fetchone()[0])


def test_a_large_transaction_after_small_ones_reads_each_table_a_few_times(cluster):
    """Every statement first with one row, while the tables are empty: these plans are kept, at the writer and at the apply worker."""
    with cluster.connect("node1", "writer") as connection, connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '60s'")
        vacuumed(cluster)
        cursor.execute("INSERT INTO entry (value) VALUES ('first') RETURNING id")
        key = cursor.fetchone()[0]
        cursor.execute("UPDATE entry SET value = 'second' WHERE id = %s", [key])
        cursor.execute("DELETE FROM entry WHERE id = %s", [key])
        cursor.execute("INSERT INTO entry (id, value) VALUES (%s, 'again')", [key])
        cursor.execute("DELETE FROM entry WHERE id = %s", [key])
        settle(cluster)
        vacuumed(cluster)
        cursor.execute("INSERT INTO entry (value) SELECT 'many' FROM generate_series(1, %s)", [ROWS])
        cursor.execute("UPDATE entry SET value = 'changed'")
        cursor.execute("UPDATE entry SET id = id + %s", [2 * ROWS])
        cursor.execute("DELETE FROM entry")
        assert_same(cluster, "entry")
    # maintenance and the statements themselves read from end to end, each a few times; a look-up that does so reads rows times rows
    for node in names(cluster):
        assert rows_read(cluster, node) < 100 * ROWS, node
