"""Random writes under random faults: when they end, every node holds the same rows, and what was acknowledged is there.

``PGUNISON_SEEDS`` names the seeds, with commas; without it one is drawn. A failure shows its seed and what was done.
"""

import os
import secrets

import pytest

from tests.convergence.comparison import MARKS, assert_same, error_counts, everywhere, names, replica, settle
from tests.convergence.workload import HOT, KEYS, LINE, MOVING, Appenders, Disturber, Writers, hot

SEEDS = [int(seed) for seed in os.environ.get("PGUNISON_SEEDS", str(secrets.randbelow(10**6))).split(",")]
DURATION_S = float(os.environ.get("PGUNISON_DURATION_S", "10"))


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=3, tables=[HOT, MOVING, LINE, MARKS]).up()


def version_ahead(cluster, node: str) -> None:
    """Give some rows versions up to 20 s ahead, the same on every node, as a node with a wrong clock would have."""
    with replica(cluster, node) as cursor:
        cursor.execute("UPDATE hot SET modified_ts = modified_ts + (hashtext(id) % 20) * interval '1 s' WHERE hashtext(id) % 3 = 0")
        cursor.execute("UPDATE moving SET modified_ts = modified_ts + id * interval '0.5 s' WHERE id % 3 = 0")


@pytest.mark.parametrize("seed", SEEDS)
def test_random_writes_under_faults_end_with_the_same_rows(cluster, seed):
    print(f"seed {seed}, {DURATION_S} s, 3 nodes, 3 writers a node, {KEYS} keys; again: PGUNISON_SEEDS={seed}")
    cluster.query("node1", f"INSERT INTO hot (id, value) SELECT 'key ' || n, 'first' FROM generate_series(0, {KEYS - 1}) n ON CONFLICT DO NOTHING")
    cluster.query("node1", f"INSERT INTO moving (id, value) SELECT n, 'first' FROM generate_series(0, {KEYS - 1}) n ON CONFLICT DO NOTHING")
    settle(cluster)
    for node in names(cluster):
        version_ahead(cluster, node)
    disturber = Disturber(cluster, seed)
    with Writers(cluster, seed, 3, hot) as writers, Appenders(cluster, seed, 1) as appenders:
        disturber.disturb(DURATION_S, kill=True)
        disturber.heal()
    print(f"hot keys: {dict(writers.outcomes)}; appended: {dict(appenders.outcomes)}; {'; '.join(disturber.done)}")
    assert writers.outcomes["ok"] > 100 and appenders.outcomes["ok"] > 20
    swept = assert_same(cluster, "hot", "moving", "line")
    print(f"swept {swept}")
    before = error_counts(cluster)
    for node, found in everywhere(cluster, lambda node: {row[0] for row in cluster.query(node, "SELECT mark::text FROM line")}).items():
        lost = appenders.acknowledged - found
        assert not lost, f"{node} lacks {len(lost)} of {len(appenders.acknowledged)} acknowledged rows"
    # a repeated barrier finds no worker that fails again and again
    assert_same(cluster, "hot", "moving", "line")
    assert error_counts(cluster) == before
    only_what_was_sent(cluster, appenders)


def only_what_was_sent(cluster, appenders: Appenders) -> None:
    """Assert that no row of this run is there that nobody sent, and no mark twice; then empty the table for the next run."""
    marks = [row[0] for row in cluster.query("node1", "SELECT mark::text FROM line")]
    assert len(marks) == len(set(marks))
    surplus = set(marks) - appenders.acknowledged - appenders.unknown
    assert not surplus, f"{len(surplus)} rows that nobody inserted"
    cluster.query("node2", "TRUNCATE line")
    assert_same(cluster, "line")
    assert cluster.query("node3", "SELECT count(*) FROM line") == [(0,)]
