"""Tables that nobody writes to: what a round of maintenance does must not grow with their number."""

import contextlib

import pytest

from tests.convergence.comparison import MARKS, wait_until

pytestmark = pytest.mark.process_runtime("the server's log is read")

TABLES = [{"name": f"idle{number}", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"}]}
          for number in range(1, 41)]
ROUNDS = 10
# a round looks at the transactions, records itself, asks which tables have work, and what else may be wrong: some thirty statements
MOST = 60


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[*TABLES, MARKS]).up()


def superuser(cluster, statement: str) -> list[tuple]:
    with contextlib.closing(cluster.superuser("node1")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def rounds(cluster) -> int:
    return superuser(cluster, "SELECT max(number) FROM unison.round")[0][0]


def statements(cluster) -> int:
    """Count what the agent has said to its server, as far as that was logged."""
    texts = [path.read_text(errors="replace") for path in (cluster.folder("node1") / "log").glob("*.log")]
    return sum(" pgunison agent LOG:  statement: " in line for text in texts for line in text.splitlines())


def test_a_round_does_the_same_for_forty_tables_as_for_a_few(cluster):
    superuser(cluster, "ALTER SYSTEM SET log_statement = 'all'")
    superuser(cluster, "SELECT pg_reload_conf()")
    try:
        began = rounds(cluster)
        wait_until(lambda: None if rounds(cluster) > began else "none", "a round is logged whole", 30)
        first, before = rounds(cluster), statements(cluster)
        wait_until(lambda: None if rounds(cluster) >= first + ROUNDS else "not yet", f"{ROUNDS} rounds were made", 60)
        last, said = rounds(cluster), statements(cluster) - before
    finally:
        superuser(cluster, "ALTER SYSTEM RESET log_statement")
        superuser(cluster, "SELECT pg_reload_conf()")
    assert 0 < said / (last - first) < MOST, f"{said} statements in {last - first} rounds"
