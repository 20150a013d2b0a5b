"""The client of single-row transactions: PostgreSQL's own pgbench, so that it costs the two cores little, and the same on both sides."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import Cluster

# Each client has keys of its own in each node's own range: what is measured is the price of a write, not that of conflicts.
SCRIPTS = {
    "INSERT": "INSERT INTO table1 (col1, col2) VALUES ('value one', 'value two');\n",
    "UPDATE": "\\set id random(:first, :last)\nUPDATE table1 SET col1 = 'changed' WHERE id = :id;\n",
    "DELETE": "\\set n :n + 1\n\\set id :first + :client_id + :n * :clients\nDELETE FROM table1 WHERE id = :id;\n",
    # pgbench's own, for the branches of one node; 10 tellers and 10,000 accounts each (workloads.py)
    "TPC-B": """\\set bid random(:first, :last)
\\set tid 10 * :bid - random(0, 9)
\\set aid 10000 * :bid - random(0, 9999)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
""",
}
SINGLE = ("INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Load:
    """What one run of the clients did: transactions, seconds, and each transaction's latency in milliseconds, sorted."""

    transactions: int
    seconds: float
    latencies_ms: list[float]

    def percentile_ms(self, percent: float) -> float:
        return percentile(self.latencies_ms, percent)


@dataclass(frozen=True)
class Keys:
    """The keys that a node's clients may use, the first and the last."""

    first: int
    last: int


def percentile(ordered: list[float], percent: float) -> float:
    """Return the value that ``percent`` of the sorted values do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def run(cluster: Cluster, operation: str, keys: dict[str, Keys], *, seconds: int, clients: int, rate: float = 0.0) -> Load:
    """Run ``clients`` clients on each node of ``keys`` at once for ``seconds``; ``rate`` bounds the transactions a second of all of them."""
    with tempfile.TemporaryDirectory(prefix="pgunison-client-") as name:
        directory = Path(name)
        (directory / "script").write_text(SCRIPTS[operation], encoding="utf-8")
        started = []
        for node in keys:
            command = [cluster.binaries / "pgbench", "--no-vacuum", "--protocol=prepared", f"--file={directory / 'script'}", f"--client={clients}",
                       f"--time={seconds}", "--log", f"--log-prefix={directory / node}", f"--define=first={keys[node].first}",
                       f"--define=last={keys[node].last}", f"--define=clients={clients}", "--define=n=-1"]
            command += [f"--rate={rate / len(keys):.3f}"] if rate else []
            started.append(subprocess.Popen([*command, cluster.dsn(node)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                            env={"PATH": os.defpath, "LANG": "C.UTF-8"}))
        for process in started:
            _, errors = process.communicate(timeout=seconds + 60)
            if process.returncode or "aborted" in errors:
                raise RuntimeError(f"pgbench ended with {process.returncode}: {errors.strip()[-500:]}")
        return Load(*read(line for path in directory.iterdir() if path.name != "script" for line in path.read_text().splitlines()))


def read(lines) -> tuple[int, float, list[float]]:
    """Read pgbench's log (client, transaction, microseconds, script, epoch, microseconds): transactions, seconds from first to last, latencies."""
    latencies, ends, begins = [], [], []
    for line in lines:
        fields = line.split()
        latency_us, end = int(fields[2]), int(fields[4]) + int(fields[5]) / 1e6
        latencies.append(latency_us / 1000)
        ends.append(end)
        begins.append(end - latency_us / 1e6)
    return len(latencies), max(ends) - min(begins), sorted(latencies)
