"""A random workload: writers on every node, and a disturber that pauses links and kills processes."""

import collections
import contextlib
import os
import random
import signal
import threading
import time
import uuid

import psycopg2

from tests.convergence.comparison import all_links, names, pause, resume, wait_until

HOT = {"name": "hot", "columns": [{"name": "id", "type": "text", "primary_key": True}, {"name": "value", "type": "text"},
                                  {"name": "large", "type": "text"}]}
MOVING = {"name": "moving", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}
LINE = {"name": "line", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "mark", "type": "uuid"}]}
KEYS = 60
LARGE = "(SELECT string_agg(md5((random() * 1e9)::text), '') FROM generate_series(1, 150))"


class Writers:
    """Threads that write until told to stop; every operation ends ok, failed or unknown (the connection was lost on the way)."""

    def __init__(self, cluster, seed: int, threads_a_node: int, operation):
        self.outcomes: collections.Counter = collections.Counter()
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=(cluster, node, random.Random(f"{seed} {node} {number}"), operation), daemon=True)
                         for node in names(cluster) for number in range(threads_a_node)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "a writer hangs"
        assert not self.faults, self.faults[:3]

    def _work(self, cluster, node: str, choice: random.Random, operation) -> None:
        while not self._stop.is_set():
            try:
                with cluster.connect(node, "writer") as connection:
                    while not self._stop.is_set():
                        self._count(node, self._outcome(connection, choice, operation))
                        if connection.closed:
                            break
            except psycopg2.OperationalError:
                self._stop.wait(0.1)
            except Exception as error:
                self.faults.append(f"{type(error).__name__}: {error}")
                return

    def _outcome(self, connection, choice: random.Random, operation) -> str:
        try:
            operation(connection, choice, lambda ending, what: self.note(ending, what))
            return "ok"
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if connection.closed or error.pgcode is None or error.pgcode.startswith("57P"):
                connection.close()
                return "unknown"
            return "failed"
        except (psycopg2.errors.UniqueViolation, psycopg2.errors.SerializationFailure, psycopg2.errors.DeadlockDetected):
            return "failed"

    def note(self, ending: str, what: str) -> None:
        """Remember what an operation did, for checks that need to know; overridden by those."""

    def _count(self, node: str, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1


class Appenders(Writers):
    """Writers that insert rows of sequence keys and remember which inserts were acknowledged."""

    def __init__(self, cluster, seed: int, threads_a_node: int):
        self.acknowledged: set[str] = set()
        self.unknown: set[str] = set()
        super().__init__(cluster, seed, threads_a_node, append)

    def note(self, ending: str, what: str) -> None:
        with self._lock:
            if ending == "sent":
                self.unknown.add(what)
            else:
                self.unknown.discard(what)
                if ending == "ok":
                    self.acknowledged.add(what)


def append(connection, choice: random.Random, note) -> None:
    """Insert one to five rows of the node's own keys in one statement."""
    marks = [str(uuid.UUID(int=choice.getrandbits(128))) for _ in range(choice.randint(1, 5))]
    for mark in marks:
        note("sent", mark)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO line (mark) SELECT unnest(%s::uuid[])", [marks])
    for mark in marks:
        note("ok", mark)


def hot(connection, choice: random.Random, note) -> None:
    """Do one random statement, or a transaction of some, on hot keys."""
    if choice.random() < 0.7:
        statements = [statement(choice)]
    else:
        level = choice.choice(["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
        statements = [f"BEGIN ISOLATION LEVEL {level}", *(statement(choice) for _ in range(choice.randint(1, 4))),
                      choice.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"])]
    try:
        with connection.cursor() as cursor:
            for each in statements:
                cursor.execute(each)
                if len(statements) > 1 and choice.random() < 0.1:
                    cursor.execute("SELECT pg_sleep(0.05)")
    except psycopg2.Error:
        if not connection.closed:
            with contextlib.suppress(psycopg2.OperationalError, psycopg2.InterfaceError), connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
        raise


def statement(choice: random.Random) -> str:
    """Choose a statement on one of the two tables of hot keys."""
    if choice.random() < 0.5:
        return _on_moving(choice)
    key, value = f"key {choice.randrange(KEYS)}", f"{choice.getrandbits(40):x}"
    some = ", ".join(f"'key {choice.randrange(KEYS)}'" for _ in range(choice.randint(2, 6)))
    return choice.choice([
        f"INSERT INTO hot (id, value) VALUES ('{key}', '{value}')",
        f"INSERT INTO hot (id, value, large) VALUES ('{key}', '{value}', {LARGE}) ON CONFLICT DO NOTHING",
        f"INSERT INTO hot (id, value) SELECT DISTINCT x, '{value}' FROM unnest(ARRAY[{some}]) AS x ON CONFLICT (id) DO UPDATE SET value = excluded.value",
        f"UPDATE hot SET value = '{value}' WHERE id = '{key}'",
        f"UPDATE hot SET value = '{value}' WHERE id IN ({some})",
        f"UPDATE hot SET large = {LARGE} WHERE id = '{key}'",
        f"DELETE FROM hot WHERE id = '{key}'",
        f"DELETE FROM hot WHERE id IN ({some})",
        f"WITH gone AS (DELETE FROM hot WHERE id = '{key}' RETURNING id) INSERT INTO hot (id, value) SELECT id, '{value}' FROM gone",
    ])


def _on_moving(choice: random.Random) -> str:
    key, other, value = choice.randrange(KEYS), choice.randrange(KEYS), f"{choice.getrandbits(40):x}"
    return choice.choice([
        f"INSERT INTO moving (id, value) VALUES ({key}, '{value}') ON CONFLICT (id) DO UPDATE SET value = excluded.value",
        f"INSERT INTO moving (id, value) VALUES ({key}, '{value}')",
        f"UPDATE moving SET id = {other}, value = '{value}' WHERE id = {key}",
        f"UPDATE moving SET id = id + {KEYS} WHERE id IN ({key}, {other})",
        f"UPDATE moving SET id = id - {KEYS} WHERE id >= {KEYS}",
        f"UPDATE moving SET value = '{value}' WHERE id % 7 = {key % 7}",
        f"DELETE FROM moving WHERE id = {key}",
        f"MERGE INTO moving AS t USING (VALUES ({key}, '{value}'), ({key + KEYS}, '{value}')) AS s (id, value) ON t.id = s.id"
        " WHEN MATCHED AND t.id % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET value = s.value WHEN NOT MATCHED THEN INSERT (id, value)"
        " VALUES (s.id, s.value)",
    ])


class Disturber:
    """Pause links, end apply workers and walsenders, and kill one PostgreSQL with SIGKILL, until :meth:`heal`."""

    def __init__(self, cluster, seed: int):
        self._cluster = cluster
        self._choice = random.Random(f"{seed} disturber")
        self._paused: set[tuple[str, str]] = set()
        self.done: list[str] = []

    def disturb(self, duration_s: float, *, kill: bool) -> None:
        """Disturb for so long; with ``kill`` one server is killed in the middle."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < duration_s:
            if kill and passed > duration_s / 2:
                kill = False
                self._kill(self._choice.choice(names(self._cluster)))
            # a server that starts again answers nobody for a moment
            with contextlib.suppress(psycopg2.OperationalError):
                self._choice.choice([self._pause, self._pause, self._resume, self._resume, self._end_worker, self._end_sender])()
            time.sleep(self._choice.uniform(0.05, 0.5))

    def heal(self) -> None:
        """Wait until every server answers, and let all links go on."""
        for node in names(self._cluster):
            wait_until(lambda node=node: self._silent(node), f"PostgreSQL of {node} is back", 40)
        for source, target in sorted(self._paused):
            resume(self._cluster, source, target)
        self._paused.clear()

    def _silent(self, node: str) -> str | None:
        try:
            self._cluster.query(node, "SELECT 1")
        except psycopg2.OperationalError as error:
            return str(error).strip().splitlines()[-1]
        return None

    def _pause(self) -> None:
        chosen = self._choice.choice(all_links(self._cluster))
        self._paused.add(chosen)
        pause(self._cluster, *chosen)
        self.done.append("paused {} to {}".format(*chosen))

    def _resume(self) -> None:
        if self._paused:
            chosen = self._choice.choice(sorted(self._paused))
            resume(self._cluster, *chosen)
            self._paused.discard(chosen)
            self.done.append("resumed {} to {}".format(*chosen))

    def _end_worker(self) -> None:
        self._end("SELECT pg_terminate_backend(pid) FROM pg_stat_subscription WHERE pid IS NOT NULL ORDER BY random() LIMIT 1", "an apply worker")

    def _end_sender(self) -> None:
        self._end("SELECT pg_terminate_backend(pid) FROM pg_stat_replication ORDER BY random() LIMIT 1", "a walsender")

    def _end(self, query: str, what: str) -> None:
        node = self._choice.choice(names(self._cluster))
        connection = self._cluster.superuser(node)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query)
        finally:
            connection.close()
        self.done.append(f"ended {what} of {node}")

    def _kill(self, node: str) -> None:
        path = self._cluster.site.directory / "nodes" / node / "data" / "postmaster.pid"
        os.kill(int(path.read_text().splitlines()[0]), signal.SIGKILL)
        self.done.append(f"killed PostgreSQL of {node}")
