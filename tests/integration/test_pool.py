"""pgunison/pool on real nodes: started, killed, frozen, added, and what a caller is told meanwhile."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import psycopg2
import pytest

from pgunison.contract.waiting import wait_until
from pgunison.pool import ConnectionLost, PartlyCommitted, Pool, PoolError, Unavailable, UnknownOutcome
from tests.integration import orchestrator

DEADLINE_S = 60
GROUPS = ("writer1", "writer2", "reader1", "reader2")


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster().up()


@pytest.fixture
def pool(cluster):
    with Pool.open(cluster.config_path, cluster.site.runtime.name) as pool:
        everybody_is_in(pool, cluster.names())
        yield pool
        assert_no_slot_is_lost(pool)


def everybody_is_in(pool: Pool, names: list[str]) -> None:
    """Wait until each group uses all nodes, each with its whole share."""
    wait_until(lambda: next((f"{group}: {pool.ready(group)}; {pool.nodes()}" for group in GROUPS if pool.ready(group) != dict.fromkeys(names, 1.0)), None),
               f"{', '.join(names)} take work", DEADLINE_S)


def assert_no_slot_is_lost(pool: Pool) -> None:
    """Nobody holds a connection, so every one that was made is idle; pgdbpool says the same."""
    def pending() -> str | None:
        for group in pool._stock.groups.values():
            for name, lane in group.lanes.items():
                occupied = pool._stock._slots.status(f"{group.name}@{name}/{id(lane)}").count("occupied")
                if not lane.made == len(lane.idle) == occupied <= lane.count:
                    return f"{group.name} on {name}: {lane.made} made, {len(lane.idle)} idle, {occupied} occupied"
        return None

    wait_until(pending, "every connection is back", DEADLINE_S)


@contextlib.contextmanager
def frozen(*pids: int | None) -> Iterator[None]:
    """Stop processes and all that they have started, and let them go on."""
    processes = [process for pid in pids if pid for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


class Load:
    """Readers and writers that call all the time; ``counts`` by (group, node), ``errors`` and ``acknowledged`` by group, ``longest_s`` the longest call."""

    def __init__(self, pool: Pool, mark: str, threads: int = 2):
        self.counts: Counter[tuple[str, str]] = Counter()
        self.errors: list[tuple[str, Exception]] = []
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self.longest_s = 0.0
        self._pool, self._mark = pool, mark
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(group, number)) for group in GROUPS for number in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in self._threads), "a caller never came back"

    def _call(self, group: str, number: int) -> None:
        step = 0
        while not self._end.is_set():
            step += 1
            value, began = f"{self._mark} {group} {number} {step}", time.monotonic()
            try:
                with self._pool.connection(group) as db:
                    if group.startswith("writer"):
                        db.query("INSERT INTO table1 (col1) VALUES (%s)", [value])
                    else:
                        db.query("SELECT 1")
                self.counts[group, db.node] += 1
                if group.startswith("writer"):
                    self.acknowledged.append(value)
            except UnknownOutcome as error:
                self.unknown.append(value)
                self.errors.append((group, error))
            except (PoolError, psycopg2.Error) as error:
                self.errors.append((group, error))
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            # so that a busy machine is not the limit
            self._end.wait(0.002)

    def shares(self) -> dict[str, dict[str, float]]:
        """Return each node's part of what each group did since the last time."""
        counts, self.counts = self.counts, Counter()
        return {group: {node: counts[group, node] / max(1, sum(count for (of, _), count in counts.items() if of == group)) for _, node in
                        sorted(counts) if _ == group} for group in GROUPS}

    def await_even(self, names: list[str], timeout_s: float) -> None:
        """Wait until within one second every group gives each node its share."""
        def pending() -> str | None:
            self.shares()
            time.sleep(1)
            shares = self.shares()
            uneven = [group for group in GROUPS if any(not 0.8 / len(names) < shares[group].get(name, 0) < 1.2 / len(names) for name in names)]
            return f"{uneven}: {shares}" if uneven else None

        wait_until(pending, "shares are even", timeout_s)

    def assert_truth(self, cluster, node: str) -> None:
        """A writer's rows are there exactly when it was told so; of what is unknown either is true."""
        held = {row[0] for row in cluster.query(node, "SELECT col1 FROM table1 WHERE col1 LIKE %s", [f"{self._mark} %"])}
        assert len(held) <= len(self.acknowledged) + len(self.unknown)
        assert not set(self.acknowledged) - held, "acknowledged and not there"
        assert not held - set(self.acknowledged) - set(self.unknown), "there and never acknowledged"


def test_the_api_is_what_was_agreed(pool, cluster):
    with pool.connection("writer1") as db:
        assert db.query("INSERT INTO table1 (col1) VALUES (%s) RETURNING col1", ["agreed"]) == [{"col1": "agreed"}]
        token, node = db.token(), db.node
    assert isinstance(token, str) and node in cluster.names()
    for number in range(9):
        with pool.connection(f"reader{number % 2 + 1}", after=token, timeout_s=10) as db:
            assert db.query("SELECT count(*) AS n FROM table1 WHERE col1 = 'agreed'") == [{"n": 1}]


def test_each_read_behind_a_token_sees_the_write(pool):
    for number in range(60):
        with pool.connection("writer2" if number % 2 else "writer1") as db:
            db.query("INSERT INTO table1 (col1) VALUES (%s)", [f"token {number}"])
        with pool.connection("reader1", after=db.token(), timeout_s=10) as reader:
            assert reader.query("SELECT count(*) AS n FROM table1 WHERE col1 = %s", [f"token {number}"]) == [{"n": 1}], (db.node, reader.node)


def test_a_token_of_an_open_transaction_is_refused(pool):
    with pool.connection("writer2") as db:
        assert db.token().startswith("1.")
        db.query("INSERT INTO table1 (col1) VALUES ('open')")
        with pytest.raises(PoolError, match="before what was written is committed"):
            db.token()
        db.commit()
        assert db.token().startswith("1.")


def test_what_nobody_has_is_told_with_how_far_everybody_is_behind(pool):
    with pytest.raises(Unavailable, match="no node has what the token asks for within 0.5 s") as caught, \
            pool.connection("reader1", after="1.node9-00000000-1", timeout_s=0.5):
        pass
    assert "what node9 has written" in caught.value.detail


def test_a_block_is_a_transaction_where_the_group_has_no_autocommit(pool, cluster):
    with pytest.raises(RuntimeError, match="no"), pool.connection("writer2") as db:
        db.query("INSERT INTO table1 (col1) VALUES ('rolled back')")
        raise RuntimeError("no")
    with pool.connection("writer2") as db:
        db.query("INSERT INTO table1 (col1) VALUES ('committed')")
    assert cluster.query(db.node, "SELECT col1 FROM table1 WHERE col1 IN ('rolled back', 'committed')") == [("committed",)]


def test_a_failed_transaction_is_not_taken_for_a_committed_one(pool):
    with pytest.raises(PoolError, match="nothing was committed"), pool.connection("writer2") as db:
        db.query("INSERT INTO table1 (col1) VALUES ('half')")
        with contextlib.suppress(psycopg2.Error):
            db.query("SELECT 1 / 0")


@pytest.mark.parametrize("fault", [True, False])
def test_a_transaction_that_a_statement_began_is_not_passed_on(pool, cluster, fault):
    with pytest.raises((RuntimeError, PoolError), match="no" if fault else "left a transaction open"), pool.connection("writer1", key="one") as db:
        db.query("BEGIN")
        db.query("INSERT INTO table1 (col1) VALUES ('left open')")
        if fault:
            raise RuntimeError("no")
    with pool.connection("writer1", key="one") as db:
        db.query("INSERT INTO table1 (col1) VALUES (%s)", [f"behind BEGIN {fault}"])
    assert cluster.query(db.node, "SELECT col1 FROM table1 WHERE col1 IN ('left open', %s)", [f"behind BEGIN {fault}"]) == [(f"behind BEGIN {fault}",)]


def test_a_transaction_that_a_statement_ended_is_not_passed_on(pool, cluster):
    for text in ("by itself", "not by itself"):
        with pytest.raises(RuntimeError, match="no"), pool.connection("writer2", key="one") as db:
            db.query("INSERT INTO table1 (col1) VALUES (%s)", [text])
            if text == "by itself":
                db.query("COMMIT")
            raise RuntimeError("no")
    assert cluster.query(db.node, "SELECT col1 FROM table1 WHERE col1 LIKE '%by itself'") == [("by itself",)]


def test_where_each_statement_commits_by_itself_nothing_is_said_to_be_committed(pool):
    with pool.connection("writer1") as db:
        for end in (db.commit, db.rollback):
            with pytest.raises(PoolError, match="writer1 commits each statement by itself"):
                end()


def test_postgresqls_own_errors_come_as_they_are(pool):
    with pool.connection("reader1") as db, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        db.query("DELETE FROM table1")


def test_a_key_has_one_home(pool, cluster):
    homes = Counter()
    for number in range(30):
        nodes = set()
        for group in ("writer1", "writer2", "writer1"):
            with pool.connection(group, key=number) as db:
                nodes.add(db.node)
        assert len(nodes) == 1
        homes.update(nodes)
    assert set(homes) == set(cluster.names())


def test_all_connections_in_use_is_told_in_time(pool, cluster):
    with contextlib.ExitStack() as held:
        for _ in range(2 * len(cluster.names())):
            held.enter_context(pool.connection("reader2"))
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no node can serve reader2 within 0.3 s") as caught, pool.connection("reader2", timeout_s=0.3):
            pass
        assert time.monotonic() - began < 5
        assert "its 2 connections are in use" in caught.value.detail


def test_nobody_shares_a_connection(pool):
    """Many more callers than connections: who holds one is alone on it."""
    holders: Counter[int] = Counter()
    faults: list[object] = []

    def use(db, number: int, step: int) -> None:
        session = id(db._session)
        holders[session] += 1
        if holders[session] != 1:
            faults.append("two hold one")
        if db.query("SELECT %s AS mine", [number]) != [{"mine": number}]:
            faults.append("another's answer")
        holders[session] -= 1
        if step % 20 == 7:
            db.query("SELECT pg_terminate_backend(pg_backend_pid())")
            faults.append("it survived")

    def call(number: int) -> None:
        for step in range(60):
            try:
                with pool.connection(GROUPS[(number + step) % 4], timeout_s=DEADLINE_S) as db:
                    use(db, number, step)
            except (ConnectionLost, UnknownOutcome) as error:
                if step % 20 != 7:
                    faults.append(error)
            except Exception as error:
                faults.append(error)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not faults


def terminate(cluster, node: str, pid: int) -> None:
    connection = cluster.superuser(node)
    connection.autocommit = True
    connection.cursor().execute(f"SELECT pg_terminate_backend({pid}, 5000)")
    connection.close()


def test_a_connection_that_died_while_nobody_used_it_is_no_error(pool, cluster):
    for _ in range(12):
        with pool.connection("writer1") as db:
            (row,) = db.query("SELECT pg_backend_pid() AS pid")
        terminate(cluster, db.node, row["pid"])
    for _ in range(12):
        with pool.connection("writer1") as db:
            db.query("SELECT 1")


def test_what_was_lost_before_commit_may_be_done_again(pool, cluster):
    with pytest.raises(ConnectionLost) as caught, pool.connection("writer2") as db:
        db.query("INSERT INTO table1 (col1) VALUES ('lost before')")
        (row,) = db.query("SELECT pg_backend_pid() AS pid")
        terminate(cluster, db.node, row["pid"])
        db.query("SELECT 1")
    assert caught.value.node == db.node
    for node in cluster.names():
        assert cluster.query(node, "SELECT count(*) FROM table1 WHERE col1 = 'lost before'") == [(0,)]


@pytest.mark.parametrize("how", ["commit", "COMMIT", "COMMIT AND CHAIN", "autocommit"])
def test_what_was_committed_before_the_loss_is_not_to_be_done_again(pool, cluster, how):
    with pytest.raises(PartlyCommitted) as caught, pool.connection("writer1" if how == "autocommit" else "writer2") as db:
        db.query("INSERT INTO table1 (col1) VALUES (%s)", [f"stands {how}"])
        if how == "commit":
            db.commit()
        elif how.startswith("COMMIT"):
            db.query(how)
        terminate(cluster, db.node, db._session.connection.info.backend_pid)
        if how.startswith("COMMIT"):
            db.query("SELECT 1")
        else:
            db.token()
    assert not isinstance(caught.value, Unavailable)
    assert caught.value.node == db.node and caught.value.hint == "what was committed before stands; the rest does not"
    assert cluster.query(db.node, "SELECT count(*) FROM table1 WHERE col1 = %s", [f"stands {how}"]) == [(1,)]


def test_a_block_that_is_committed_is_not_lost_with_its_connection(pool, cluster):
    with pool.connection("writer2") as db:
        db.query("INSERT INTO table1 (col1) VALUES ('all of it')")
        db.commit()
        db._session.cut("the test")
    assert cluster.query(db.node, "SELECT count(*) FROM table1 WHERE col1 = 'all of it'") == [(1,)]


@pytest.mark.parametrize("group", ["writer1", "writer2"])
def test_a_token_that_cannot_be_had_behind_the_block_denies_nothing(pool, cluster, group, monkeypatch):
    with pool.connection(group) as db:
        db.query("INSERT INTO table1 (col1) VALUES (%s)", [f"no token {group}"])
    monkeypatch.setattr(psycopg2, "connect", unreachable)
    for session in list(pool._stock._sessions):
        session.cut("the test")
    with pytest.raises(PoolError, match=f"the token cannot be had from {db.node}") as caught:
        db.token()
    assert type(caught.value) is PoolError and caught.value.hint.startswith("what the block committed stands")
    monkeypatch.undo()
    wait_until(lambda: None if db.token() else "none", "it is had later", DEADLINE_S)


def unreachable(**_):
    raise psycopg2.OperationalError("nobody is there")


@pytest.mark.parametrize("group", ["writer1", "writer2"])
def test_what_was_lost_in_commit_is_unknown(pool, cluster, group):
    """The server is frozen when it is told to commit."""
    with pytest.raises(UnknownOutcome) as caught, contextlib.ExitStack() as stack, pool.connection(group, timeout_s=3) as db:
        (row,) = db.query("SELECT pg_backend_pid() AS pid")
        if group == "writer2":
            db.query("INSERT INTO table1 (col1) VALUES ('in doubt')")
            number = db._number()
            # it was asked before
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(type(db), "_number", lambda self: number)
        stack.enter_context(frozen(cluster.process(db.node, row["pid"])))
        if group == "writer1":
            db.query("INSERT INTO table1 (col1) VALUES ('in doubt')")
        else:
            db.commit()
    assert caught.value.node == db.node and "has not answered within 3 s" in caught.value.detail
    if group == "writer1":
        # PostgreSQL never told the number of a transaction that commits by itself
        assert caught.value.outcome() == "unknown"
    else:
        # the server goes on with what it was told, and finds nobody to tell
        wait_until(lambda: None if caught.value.outcome() == "committed" else caught.value.outcome(), "the outcome is known", DEADLINE_S)
        assert cluster.query(db.node, "SELECT count(*) FROM table1 WHERE col1 = 'in doubt'")[0][0] > 0


@pytest.mark.process_runtime("it kills the server from outside")
def test_a_transaction_that_was_aborted_is_told(pool, cluster):
    """The server is killed with COMMIT in the socket of a session that stands still, so it is never read."""
    with pytest.raises(UnknownOutcome) as caught, contextlib.ExitStack() as stack, pool.connection("writer2", timeout_s=2) as db:
        (row,) = db.query("SELECT pg_backend_pid() AS pid")
        db.query("INSERT INTO table1 (col1) VALUES ('aborted')")
        number = db._number()
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(type(db), "_number", lambda self: number)
        backend = cluster.process(db.node, row["pid"])
        os.kill(backend, signal.SIGSTOP)
        stack.callback(os.kill, backend, signal.SIGKILL)
        db.commit()
    wait_until(lambda: None if caught.value.outcome() == "aborted" else caught.value.outcome(), "the outcome is known", DEADLINE_S)
    assert cluster.query(db.node, "SELECT count(*) FROM table1 WHERE col1 = 'aborted'") == [(0,)]
    # a server that crashed gives numbers again that it has not on disk: whoever gets this one commits
    for _ in range(3):
        cluster.query(db.node, "INSERT INTO table1 (col1) VALUES ('afterwards')", role="writer")
    assert caught.value.outcome() != "committed"
    everybody_is_in(pool, cluster.names())


@pytest.mark.process_runtime("it kills the server from outside")
def test_readers_and_writers_return_to_a_server_that_was_killed(pool, cluster):
    with Load(pool, "killed") as load:
        load.await_even(cluster.names(), DEADLINE_S)
        assert not load.errors
        victim = cluster.server_pid("node2")
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: None if "node2" not in pool.ready("reader1") else "it takes work", "node2 is out", DEADLINE_S)
        everybody_is_in(pool, cluster.names())
        load.await_even(cluster.names(), DEADLINE_S)
    # what was in flight, and nothing else: two callers of each of four groups
    assert len(load.errors) <= 8, load.errors
    assert all(isinstance(error, ConnectionLost | UnknownOutcome) for _, error in load.errors)
    assert load.longest_s < 5
    cluster.site.await_links("node2", ("node1", "node3"))
    load.assert_truth(cluster, "node2")


@pytest.mark.process_runtime("it stops the node's processes from outside")
@pytest.mark.parametrize("what", ["node", "PostgreSQL"])
def test_nobody_waits_for_a_node_that_is_frozen(pool, cluster, what):
    with Load(pool, f"frozen {what}") as load:
        load.await_even(cluster.names(), DEADLINE_S)
        load.longest_s = 0.0
        with frozen(cluster.server_pid("node3"), cluster.agent_pid("node3") if what == "node" else None):
            wait_until(lambda: None if "node3" not in pool.ready("reader1") else "it takes work", "node3 is out", DEADLINE_S)
            load.shares()
            wait_until(lambda: ", ".join(set(GROUPS) - {group for group, _ in list(load.counts)}) or None, "every group goes on", DEADLINE_S)
            shares = load.shares()
            assert all("node3" not in shares[group] for group in GROUPS), shares
            with pool.connection("reader1", key=key_of("node3", cluster)) as db:
                assert db.node != "node3"
        longest_s = load.longest_s
        everybody_is_in(pool, cluster.names())
        load.await_even(cluster.names(), DEADLINE_S)
    assert len(load.errors) <= 8, load.errors
    print(f"longest call while {what} was frozen: {longest_s:.2f} s; {len(load.errors)} errors")
    # far below the ten seconds that a statement may take; on a machine of its own it is below one
    assert longest_s < 4
    cluster.site.await_links("node3", ("node1", "node2"))
    load.assert_truth(cluster, "node1")


def test_a_node_that_is_drained_loses_its_work_without_an_error(pool, cluster):
    with Load(pool, "drained") as load:
        load.await_even(cluster.names(), DEADLINE_S)
        orchestrator.run(cluster, "drain", "node1", "--grace", "60")
        try:
            assert "node1" not in pool.ready("writer1") and pool.busy("node1") == 0
            load.shares()
            wait_until(lambda: ", ".join(set(GROUPS) - {group for group, _ in list(load.counts)}) or None, "every group goes on", DEADLINE_S)
            shares = load.shares()
            assert all("node1" not in shares[group] for group in GROUPS), shares
        finally:
            orchestrator.run(cluster, "resume", "node1")
        everybody_is_in(pool, cluster.names())
        load.await_even(cluster.names(), DEADLINE_S)
    assert not load.errors, load.errors
    cluster.site.await_links("node1", ("node2", "node3"))
    load.assert_truth(cluster, "node1")


def key_of(node: str, cluster) -> str:
    from pgunison.pool.policy import homes
    return next(key for key in map(str, range(1000)) if homes(key, dict.fromkeys(cluster.names(), 1.0))[0] == node)


APPLICATION = """
import sys, time
began = time.monotonic()
from pgunison.pool import Pool
with Pool.open(sys.argv[1], sys.argv[2]) as pool:
    for group in ("writer1", "writer2", "reader1", "reader2"):
        with pool.connection(group) as db:
            db.query("SELECT 1")
    for name in sys.modules:
        assert not name.startswith(("docker", "pgunison.runtime", "pgunison.plan", "pgunison.steps", "pgunison.site", "container", "services")), name
print(time.monotonic() - began)
"""


def test_an_application_starts_while_a_node_is_down(cluster):
    def start() -> float:
        done = subprocess.run([sys.executable, "-c", APPLICATION, cluster.config_path, cluster.site.runtime.name],
                              capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    all_up = start()
    cluster.site.runtime.stop(cluster.site.spec("node1"))
    try:
        with Pool.open(cluster.config_path, cluster.site.runtime.name) as pool:
            one_down = start()
            assert set(pool.ready("writer1")) <= {"node2", "node3"}
            cluster.up()
            # it is taken in when it is back
            everybody_is_in(pool, cluster.names())
            assert_no_slot_is_lost(pool)
    finally:
        cluster.up()
    print(f"start: {all_up:.2f} s with all nodes, {one_down:.2f} s with one down")


def test_without_a_node_it_opens_and_says_that_nobody_serves(make_cluster):
    cluster = make_cluster(nodes=1).up()
    cluster.site.runtime.stop(cluster.site.spec("node1"))
    with Pool.open(cluster.config_path, cluster.site.runtime.name) as pool:
        with pytest.raises(Unavailable, match="no node can serve writer1 within 0.5 s") as caught, pool.connection("writer1", timeout_s=0.5):
            pass
        assert "node1: " in caught.value.detail and "status" in caught.value.hint


def test_follows_when_nodes_come_and_go(cluster):
    with Pool.open(cluster.config_path, cluster.site.runtime.name) as pool:
        everybody_is_in(pool, cluster.names())
        for _ in range(6):
            with pool.connection("reader1"):
                pass
        told = cluster.site.endpoints()
        type(told)(told.cluster, told.database, told.nodes[:2], told.root_certificate).write(cluster.site.directory)
        everybody_is_in(pool, ["node1", "node2"])
        for _ in range(6):
            with pool.connection("reader1") as db:
                assert db.node != "node3"
        told.write(cluster.site.directory)
        everybody_is_in(pool, cluster.names())
        assert_no_slot_is_lost(pool)
