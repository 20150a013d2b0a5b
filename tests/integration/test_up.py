"""The orchestrator as people run it: killed, interrupted, twice at once, after failures, with more nodes and tables; it always comes up with all rows."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg2
import pytest

from tests.convergence.comparison import MARKS, administer, all_links, assert_same, link, names, settle, wait_until
from tests.integration.orchestrator import assert_explained, command_line, run

TABLE1 = {"name": "table1", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"}]}
LATER = {"name": "later", "columns": [{"name": "id", "type": "uuid", "primary_key": True, "default": {"function": "gen_random_uuid"}},
                                      {"name": "value", "type": "text"}]}
TABLES = [TABLE1, MARKS]


def steps(done: subprocess.CompletedProcess) -> list[str]:
    """List the steps that the command did, as it printed them."""
    return [line.strip() for line in done.stderr.splitlines() if re.fullmatch(r"  .* \(\d+\.\d\d s\)", line)]


@contextlib.contextmanager
def started(cluster, *words: str):
    """Start the orchestrator, and see to it that it has ended behind the block."""
    process = subprocess.Popen(command_line(cluster, *words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.stderr.close()
        process.wait(30)


def read_until(process: subprocess.Popen, sentence: str) -> str:
    """Read what the process writes to stderr up to the line with the sentence; returns all of it."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if sentence in line:
            return "".join(lines)
    raise AssertionError(f"it ended without {sentence!r}:\n{''.join(lines)}")


def reconfigure(cluster, *, nodes: int | None = None, tables: list[dict] | None = None) -> None:
    """Change the configuration file, as its owner would."""
    written = json.loads(cluster.config_path.read_text())
    if nodes is not None:
        written["system"]["networks"][0]["config"]["scale"]["max_nodes"] = nodes
    if tables is not None:
        written["system"]["config"]["tables"] = tables
    cluster.config_path.write_text(json.dumps(written))
    cluster.reopen()


def status(cluster) -> dict:
    """Return what status says as JSON; its exit status says the same."""
    done = subprocess.run(command_line(cluster, "status", "--json"), capture_output=True, text=True, timeout=100)
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0 if found["healthy"] else 1, "")
    return found


def assert_up(cluster) -> None:
    """Every node is ready and every link streams, as the command line says."""
    found = status(cluster)
    assert {node["name"]: node["state"] for node in found["nodes"]} == dict.fromkeys(names(cluster), "ready")
    assert {(each["source"], each["target"]): each["state"] for each in found["links"]} == dict.fromkeys(all_links(cluster), "streaming")


def write(cluster, table: str = "table1", column: str = "col1") -> None:
    """Write on each node, then find the same rows on every node, and these among them."""
    rows = {(node, cluster.query(node, f"INSERT INTO {table} ({column}) VALUES (%s) RETURNING id::text", [f"{node} {time.time_ns()}"], role="writer")[0][0])
            for node in names(cluster)}
    assert len({key for _, key in rows}) == len(rows), "a key was drawn twice"
    assert_same(cluster, table)
    assert {key for _, key in rows} <= keys(cluster, names(cluster)[0], table)


def keys(cluster, node: str, table: str = "table1") -> set[str]:
    return {row[0] for row in cluster.query(node, f"SELECT id::text FROM {table}", role="reader")}


def processes(cluster) -> list[str]:
    """List the processes that belong to the cluster's directory: agents, servers, what they started."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") if path.name.isdigit() else ""
            if str(cluster.site.directory) in line or f"pgunison {cluster.site.configuration.id} " in line:
                found.append(line)
    return found


class Writers:
    """Insert, update and delete on some nodes without a pause; ``kept`` and ``gone`` are the keys of what was committed."""

    def __init__(self, cluster, nodes: list[str]):
        self.kept: set[str] = set()
        self.gone: set[str] = set()
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(cluster, node)) for node in nodes]

    def _write(self, cluster, node: str) -> None:
        number = 0
        try:
            with cluster.connect(node, "writer") as connection, connection.cursor() as cursor:
                while not self._stop.wait(0.002):
                    number += 1
                    cursor.execute("INSERT INTO table1 (col1) VALUES (%s) RETURNING id::text", [node])
                    key = cursor.fetchone()[0]
                    cursor.execute("UPDATE table1 SET col1 = col1 || ' changed' WHERE id = %s", [key])
                    if number % 3 == 0:
                        cursor.execute("DELETE FROM table1 WHERE id = %s", [key])
                    with self._lock:
                        (self.kept if number % 3 else self.gone).add(key)
        except psycopg2.Error as error:
            self.failed.append(f"{node}: {error}")

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 20) -> None:
        """Wait until that many more rows were written."""
        enough = len(self.kept) + count
        wait_until(lambda: f"{len(self.kept)} rows of {enough}; {self.failed}" if len(self.kept) < enough else None, "the writers wrote more")

    def assert_whole(self, cluster) -> None:
        """No write failed, each kept row is on each node, no deleted one is."""
        assert not self.failed
        assert self.kept and self.gone
        assert_same(cluster, "table1")
        for node in names(cluster):
            found = keys(cluster, node)
            assert not self.kept - found, f"{node} lost {len(self.kept - found)} of {len(self.kept)} rows"
            assert not self.gone & found, f"{node} has {len(self.gone & found)} deleted rows"


# --- killed and interrupted ---


def test_up_continues_after_it_was_killed_at_any_moment(make_cluster):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    choice = random.Random(seed)
    cluster = make_cluster(nodes=3, tables=TABLES)
    began = time.monotonic()
    run(cluster, "up")
    fresh_s = time.monotonic() - began
    run(cluster, "down")
    began = time.monotonic()
    run(cluster, "up")
    again_s = time.monotonic() - began
    rows, hit = set(), 0
    # containers take longer
    kills = 10 if cluster.site.runtime.name == "process" else 4
    for position in choice.sample(range(kills), kills):
        purge = choice.random() < 0.6
        run(cluster, "down", *(["--purge"] if purge else []))
        rows = set() if purge else rows
        # some are killed a second time, in what the first left
        for _ in range(choice.choice([1, 1, 2])):
            after_s = (position + choice.random()) / kills * (fresh_s if purge else again_s)
            with started(cluster, "up") as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(after_s)
                if process.poll() is None:
                    process.kill()
                    hit += 1
        print(f"killed after {after_s:.2f} s, {'fresh' if purge else 'with data'}")
        run(cluster, "up")
        cluster.reopen()
        assert_up(cluster)
        write(cluster)
        assert rows <= keys(cluster, "node1"), "rows of before are lost"
        rows = keys(cluster, "node1")
    assert hit >= kills / 2, f"only {hit} were killed before they were done"
    run(cluster, "down", "--purge")


def test_up_continues_after_each_interruption(make_cluster):
    cluster = make_cluster(nodes=2, tables=TABLES)
    sentences = [f"2 nodes, runtime {cluster.site.runtime.name}", "start node1", "subscribe node1 to node2"]
    if cluster.site.runtime.name == "process":
        # what agents do is the same in containers, which take longer
        sentences += ["prepare node1", "admit node1", "prepare node2"]
    for sentence in sentences:
        with started(cluster, "up") as process:
            read_until(process, sentence)
            process.send_signal(signal.SIGINT)
            errors = process.stderr.read()
            assert process.wait(30) == 1, errors
        assert "error: interrupted" in errors
        assert_explained(errors)
        run(cluster, "up")
        cluster.reopen()
        assert_up(cluster)
        write(cluster)
        # from nothing again: what was interrupted may have been done by the agent all the same, and is then no step any more
        run(cluster, "down", "--purge")


@pytest.mark.process_runtime("it is interrupted before it looks for one")
@pytest.mark.parametrize("module", ["click", "httpx", "rich.console", "pgunison.cluster.observe"])
def test_interrupted_while_it_loads(make_cluster, module):
    cluster = make_cluster(nodes=1)
    # stderr then has a line for each module that was loaded
    command = [sys.executable, "-X", "importtime", *command_line(cluster, "status")[1:]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.rstrip().endswith(f" {module}"):
                process.send_signal(signal.SIGINT)
                break
        else:
            pytest.fail(f"status does not load {module}")
        errors = "".join(line for line in process.stderr if not line.startswith("import time:"))
    assert process.returncode == 1, f"status {process.returncode}\n{errors}"
    assert_explained(errors)


def test_of_two_at_once_one_says_that_the_other_is_at_work(make_cluster):
    cluster = make_cluster(nodes=1, tables=TABLES)
    with started(cluster, "up") as process:
        read_until(process, f"runtime {cluster.site.runtime.name}")
        process.send_signal(signal.SIGSTOP)
        for words in (["up"], ["down"], ["down", "--purge"]):
            assert "error: another orchestrator is changing this cluster" in run(cluster, *words, status=1).stderr
        process.send_signal(signal.SIGCONT)
        errors = process.stderr.read()
        assert process.wait(60) == 0, errors
    assert_up(cluster)
    run(cluster, "down", "--purge")


# --- a cluster of two ---


@pytest.fixture(scope="module")
def pair(make_cluster):
    cluster = make_cluster(nodes=2, tables=TABLES)
    run(cluster, "up")
    return cluster


def test_up_again_does_no_step(pair):
    done = run(pair, "up")
    assert not steps(done)
    assert "up after" in done.stderr
    assert done.stdout == ""


@pytest.mark.process_runtime("the engine starts a container again whose agent ended")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_up_after_an_agent_ended(pair, number):
    lock = pair.folder("node2") / "agent.lock"
    before = int(lock.read_text())
    os.kill(before, number)
    wait_until(lambda: "its agent runs" if pair.site.runtime.state(pair.site.spec("node2")) == "running" else None, "node2 has ended")
    assert {node["name"]: node["state"] for node in status(pair)["nodes"]} == {
        "node1": "ready", "node2": "agent down" if number == signal.SIGKILL else "stopped"}
    run(pair, "verify", status=1)
    pair.query("node1", "INSERT INTO table1 (col1) VALUES ('while node2 was without agent')", role="writer")
    run(pair, "up")
    assert int(lock.read_text()) != before
    assert_up(pair)
    write(pair)


@pytest.mark.parametrize(("key", "value"), [("database", "other"), ("ports", {"postgresql": 5433, "agent": 64000})])
def test_another_database_or_port_is_refused_and_changes_nothing(pair, key, value):
    before = pair.config_path.read_text()
    written = json.loads(before)
    written["system"]["config"][key] = value
    pair.config_path.write_text(json.dumps(written))
    try:
        said = run(pair, "up", status=2)
        assert "error: a cluster keeps its database and its ports" in said.stderr and not steps(said)
    finally:
        pair.config_path.write_text(before)
    assert_up(pair)


def test_a_table_that_is_not_configured_any_more_is_named(pair):
    before = pair.config_path.read_text()
    reconfigure(pair, tables=[])
    try:
        for words in (("up",), ("verify",)):
            said = run(pair, *words)
            assert [line for line in said.stderr.splitlines() if line.startswith("warning: public.table1 is replicated")], said.stderr
        assert said.stdout == "no table is configured: there is nothing to compare\n"
    finally:
        pair.config_path.write_text(before)
    assert "warning" not in run(pair, "verify").stderr


@pytest.mark.parametrize("where", ["node1", "node2"])
def test_up_merges_a_table_whose_merge_was_off(pair, where):
    """As restore tools and fixtures do it: what was written meanwhile reaches the peer, or is taken back by it, but the rows are the same."""
    pair.query("node1", "INSERT INTO table1 (col1) SELECT 'before' FROM generate_series(1, 20)", role="writer")
    settle(pair)
    administer(pair, where, "ALTER TABLE table1 DISABLE TRIGGER ALL", "UPDATE table1 SET col1 = 'behind the back' WHERE id % 4 = 0",
               "DELETE FROM table1 WHERE id % 4 = 1", "ALTER TABLE table1 ENABLE TRIGGER ALL")
    found = subprocess.run(command_line(pair, "status"), capture_output=True, text=True)
    assert found.returncode == 1 and "table1" in found.stdout + found.stderr
    run(pair, "up")
    assert_same(pair, "table1")
    run(pair, "verify")
    assert_up(pair)


@pytest.mark.parametrize("lost", ["subscription", "slot"])
def test_up_mends_a_lost(pair, lost):
    name = link("node1", "node2")
    doomed = pair.query("node1", "INSERT INTO table1 (col1) VALUES ('doomed') RETURNING id::text", role="writer")[0][0]
    settle(pair)
    if lost == "subscription":
        administer(pair, "node2", f"ALTER SUBSCRIPTION {name} DISABLE", f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)",
                   f"DROP SUBSCRIPTION {name}")
        expected = "missing"
    else:
        pair.query("node2", f"ALTER SUBSCRIPTION {name} DISABLE")
        expected = "slot lost"
    active = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
    wait_until(lambda: "in use" if pair.query("node1", active, [name]) else None, "nobody uses the slot")
    with pair.superuser("node1") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_drop_replication_slot(%s)", [name])
    connection.close()
    key = pair.query("node1", "INSERT INTO table1 (col1) VALUES ('into the void') RETURNING id::text", role="writer")[0][0]
    pair.query("node1", "DELETE FROM table1 WHERE id = %s", [doomed], role="writer")
    if lost == "slot":
        # a disabled subscription is shown as that: the lost slot shows when it is enabled
        pair.query("node2", f"ALTER SUBSCRIPTION {name} ENABLE")
    shown = {(each["source"], each["target"]): each["state"] for each in status(pair)["links"]}
    assert shown == {("node1", "node2"): expected, ("node2", "node1"): "streaming"}
    shown = subprocess.run(command_line(pair, "status"), capture_output=True, text=True, timeout=100)
    assert shown.returncode == 1 and f"node1 {expected}" in shown.stdout
    assert f"node1 to node2: {expected}: " in shown.stdout and "; next: python3 orchestrator.py up" in shown.stdout
    assert key not in keys(pair, "node2")
    run(pair, "up")
    assert_up(pair)
    assert_same(pair, "table1")
    assert key in keys(pair, "node2") and doomed not in keys(pair, "node2")
    write(pair)


def test_connection_strings_work_as_they_are(pair):
    configuration = pair.site.configuration
    for role in ("owner", "writer", "reader"):
        for node in ("node1", "node2", None):
            done = run(pair, "dsn", "--role", role, *([node] if node else []))
            assert done.stdout.count("\n") == 1 and not done.stderr
            connection = psycopg2.connect(done.stdout.strip())
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT current_user, host(inet_server_addr()), count(*) FROM table1")
                user, address, _ = cursor.fetchone()
            connection.close()
            assert user == configuration.role(role).name
            assert address in [pair.site.runtime.address(pair.site.spec(each)) for each in ([node] if node else names(pair))]
    assert "load_balance_hosts=random" in done.stdout
    run(pair, "dsn", "node9", status=2)


def test_logs_are_printed(pair):
    assert "agent of node1 listens" in run(pair, "logs", "node1").stdout
    run(pair, "logs", "node9", status=2)


def test_what_goes_into_a_pipe_has_no_control_characters(pair):
    for words in (["status"], ["status", "--json"], ["up"], ["verify"]):
        done = run(pair, *words)
        assert not re.search(r"[^\n\x20-\x7e]", done.stdout + done.stderr), repr(done.stdout + done.stderr)
        assert done.stdout or words == ["up"]
    table = run(pair, "status").stdout
    assert re.search(r"^node1 .* ready .* 1 of 1 streaming", table, re.MULTILINE)
    assert set(status(pair)) == {"cluster", "runtime", "healthy", "sentence", "nodes", "links", "faults"}


def test_down_keeps_rows_and_up_draws_no_key_twice(pair):
    write(pair)
    before = keys(pair, "node1")
    drawn = {node: int(pair.query(node, "INSERT INTO table1 (col1) VALUES ('last') RETURNING id", role="writer")[0][0]) for node in names(pair)}
    settle(pair)
    run(pair, "down")
    assert not processes(pair) and not any(map(pair.agent_pid, names(pair)))
    run(pair, "down")
    assert {node["state"] for node in status(pair)["nodes"]} == {"stopped"}
    run(pair, "up")
    assert_up(pair)
    for node in names(pair):
        assert before <= keys(pair, node)
        assert int(pair.query(node, "INSERT INTO table1 (col1) VALUES ('next') RETURNING id", role="writer")[0][0]) > drawn[node]
    write(pair)


# --- more of it ---


def test_fewer_nodes_are_refused(pair):
    reconfigure(pair, nodes=1)
    try:
        refused = run(pair, "up", status=1).stderr
        assert "node2" in refused and "max_nodes" in refused
    finally:
        reconfigure(pair, nodes=2)
    assert_up(pair)
    write(pair)


def test_other_columns_are_refused(pair):
    reconfigure(pair, tables=[{"name": "table1", "columns": [*TABLE1["columns"], {"name": "col2", "type": "text"}]}, MARKS])
    try:
        assert "public.table1" in run(pair, "up", status=1).stderr
    finally:
        reconfigure(pair, tables=TABLES)
    assert not steps(run(pair, "up"))
    assert_up(pair)


def test_a_new_node_and_a_new_table_under_writes(make_cluster):
    cluster = make_cluster(nodes=2, tables=TABLES)
    run(cluster, "up")
    cluster.query("node1", "INSERT INTO table1 (col1) SELECT 'old' FROM generate_series(1, 5000)", role="writer")
    cluster.query("node1", "DELETE FROM table1 WHERE id % 5 = 0", role="writer")
    kept = cluster.query("node1", "SELECT count(*) FROM table1")
    with Writers(cluster, ["node1", "node2"]) as writers:
        writers.more()
        reconfigure(cluster, nodes=3)
        run(cluster, "up")
        writers.more()
        assert_up(cluster)
    writers.assert_whole(cluster)
    assert cluster.query("node3", "SELECT count(*) FROM table1 WHERE col1 = 'old'") == kept
    write(cluster)

    with Writers(cluster, names(cluster)) as writers:
        writers.more()
        reconfigure(cluster, tables=[*TABLES, LATER])
        run(cluster, "up")
        first = {cluster.query(node, "INSERT INTO later (value) VALUES ('first') RETURNING id::text", role="writer")[0][0] for node in names(cluster)}
        writers.more()
    writers.assert_whole(cluster)
    assert_up(cluster)
    assert_same(cluster, "later")
    assert keys(cluster, "node2", "later") == first
    write(cluster, "later", "value")
    assert "public.later: 6 rows, the same on 3 nodes" in run(cluster, "verify").stdout
    run(cluster, "down", "--purge")


@pytest.mark.process_runtime("eight containers take long, and what is different with many nodes is between them")
def test_eight_nodes_come_up(make_cluster):
    cluster = make_cluster(nodes=8, tables=TABLES)
    run(cluster, "up")
    assert_up(cluster)
    write(cluster)
    run(cluster, "down", "--purge")


@pytest.mark.process_runtime("it looks at files and processes")
def test_purge_leaves_no_file_and_no_process(make_cluster):
    cluster = make_cluster(nodes=2, tables=TABLES)
    run(cluster, "up")
    assert len(processes(cluster)) >= 4
    os.kill(cluster.agent_pid("node2"), signal.SIGKILL)
    run(cluster, "down", "--purge")
    assert not processes(cluster)
    assert not cluster.site.directory.exists()
    assert "nothing to stop" in run(cluster, "down", "--purge").stderr
    assert "hint: python3 orchestrator.py up" in run(cluster, "status", status=1).stderr
