"""What tables cost that nobody writes to: ``python3 -m bench.idle [--tables 10 100] [--seconds 20] [--rounds 1]``.

How long it takes until a cluster of many tables is up, and what processor time it takes while nothing happens: a
node's server and its agent. The rival is the native mesh of the same tables (bench/mesh.py), in turn in one run; it has
no agents, no merge, and a third of the relations.
"""

import argparse
import os
import time

from bench import ratios
from bench.cluster import Cluster
from bench.conditions import conditions
from bench.mesh import NativeMesh
from bench.pgunison import Pgunison, workplace
from pgunison.runtime.binaries import find, server_user

NODES = 3
# what a cluster does once because it has just been made: autovacuum's first look, the first checkpoint's hint bits
QUIET_S = 10


def described(number: int) -> dict:
    """Describe a table as sysconfig.json does."""
    return {"name": f"table{number}", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"},
                                                  {"name": "col2", "type": "text"}]}


def figures(cluster: Cluster, seconds: int) -> dict[str, float]:
    """Start the cluster and let it be idle; the figures by name. It is stopped afterwards."""
    began = time.monotonic()
    with cluster:
        found = {"until it is up, s": time.monotonic() - began}
        time.sleep(QUIET_S)
        before, began = used_s(cluster), time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - began
        for name, spent in used_s(cluster).items():
            found[f"idle, {name}, % of a core a node"] = 100 * (spent - before[name]) / passed / len(cluster.names)
        return found


def used_s(cluster: Cluster) -> dict[str, float]:
    """Return the processor time that servers and agents have taken until now."""
    servers, agents = cluster.cpu_s().total(), cluster.agents_cpu_s()
    return {"server": servers, "agent": agents, "both": servers + agents}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tables", type=int, nargs="+", default=[10, 100])
    arguments.add_argument("--seconds", type=int, default=20)
    arguments.add_argument("--rounds", type=int, default=1)
    options = arguments.parse_args()
    with workplace() as directory:
        print(f"{conditions(find(directory, server_user()))}; median of {options.rounds} rounds; load average {os.getloadavg()[0]:.1f} before", flush=True)
        for count in options.tables:
            tables = [described(number) for number in range(1, count + 1)]
            ours, native = [], []
            for _ in range(options.rounds):
                ours.append(figures(Pgunison(NODES, directory, tables), options.seconds))
                native.append(figures(NativeMesh(NODES, directory, tables=tables), options.seconds))
            print(f"\n### {count} tables on {NODES} nodes, idle for {options.seconds} s\n\n{ratios.table(ours, native)}", flush=True)


if __name__ == "__main__":
    main()
