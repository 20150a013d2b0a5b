"""The commands of the command line, each a function."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pgunison import report
from pgunison.cluster.conflicts import collect_conflicts, to_json
from pgunison.cluster.execute import bring_up
from pgunison.cluster.observe import IMPATIENCE_S
from pgunison.cluster.renewal import renew as renew_certificates
from pgunison.cluster.site import Site
from pgunison.cluster.state import ClusterState
from pgunison.cluster.verify import find_orphans
from pgunison.cluster.verify import verify as verify_site
from pgunison.configuration.identity import require_same
from pgunison.configuration.sysconfig import Configuration, Table
from pgunison.directory import cluster_directory, only_orchestrator
from pgunison.errors import NotConverged, OrchestratorError, UsageError
from pgunison.progress import Progress
from pgunison.runtime.choice import choose

PROJECT = Path(__file__).resolve().parents[1]
TESTS = ("insert", "update", "select")
# links in these states carry changes, or will in a moment
CARRYING = ("streaming", "catching up", "connecting", "worker down")


@dataclass(frozen=True)
class Call:
    """What every command gets: the configuration and the options before the command."""

    configuration: Configuration
    config_path: Path
    runtime: str

    def names(self) -> list[str]:
        """List the names of the configured nodes."""
        return [node.name for node in self.configuration.nodes]

    def directory(self) -> Path:
        """Return the directory of the cluster's files; it may not exist."""
        return cluster_directory(self.configuration.id, choose(self.runtime, self.configuration.id).name)

    def site(self, *, make: bool = False) -> Site:
        """Open the site of a cluster that was made, or with ``make`` may be."""
        return Site.of(self.configuration, self.runtime, make=make)


def main_job(call: Call) -> None:
    """Bring the cluster up, run the three tests in order, check that all nodes hold the same rows."""
    up(call)
    test(call, list(TESTS))
    verify(call)


def up(call: Call) -> None:
    """Start or finish the cluster."""
    progress, began = Progress(), time.monotonic()
    choose(call.runtime, call.configuration.id).require_usable()
    with only_orchestrator(call.directory()):
        site = call.site(make=True)
        require_same(call.configuration, site.directory, site.runtime.nodes())
        progress.say(f"{call.configuration.id}: {call.configuration.max_nodes} nodes, runtime {site.runtime.name}")
        cluster = bring_up(site, progress)
    warn_of_surplus_tables(call.configuration, cluster)
    healthy = report.table(site, cluster)
    progress.say(f"up after {time.monotonic() - began:.1f} s" + ("" if healthy else ", and not all is well"))


def down(call: Call, purge: bool) -> None:
    """Stop the nodes, side by side; with ``purge`` remove everything of the cluster."""
    directory = call.directory()
    if not directory.exists():
        Progress().say(f"there is no cluster {call.configuration.id} on this machine: nothing to stop")
        return
    progress = Progress()
    with only_orchestrator(directory):
        site = call.site(make=True)
        nodes = [site.any_spec(name) for name in site.runtime.nodes()]
        with progress.step(f"stop {', '.join(node.name for node in nodes) or 'nothing'}"), ThreadPoolExecutor(max_workers=max(1, len(nodes))) as pool:
            list(pool.map(site.runtime.stop, nodes))
        if purge:
            with progress.step("remove the data"):
                for node in nodes:
                    site.runtime.purge(node)
                site.runtime.purge_all()


def status(call: Call, as_json: bool) -> bool:
    """Print what the cluster is now; True when it is healthy (:mod:`pgunison.cluster.diagnosis`)."""
    site = call.site()
    cluster = site.observe(IMPATIENCE_S)
    if not as_json:
        return report.table(site, cluster, Console(highlight=False, soft_wrap=True))
    found = report.as_dict(site, cluster)
    print(json.dumps(found, indent=2))
    return bool(found["healthy"])


def dsn(call: Call, role: str, node: str | None) -> None:
    """Print one libpq connection string."""
    print(call.site().dsn(call.configuration.role(role).name, node))


def test(call: Call, names: list[str]) -> None:
    """Run tests/test-<name>.py, one after another; OrchestratorError when one does not hold."""
    call.site()
    for name in names:
        script = PROJECT / "tests" / f"test-{name}.py"
        done = subprocess.run([sys.executable, script, "--config", call.config_path.absolute(), "--runtime", call.runtime])
        if done.returncode:
            raise OrchestratorError(f"the {name} test does not hold", f"{script.name} ended with status {done.returncode}",
                                    "its output says why; python3 orchestrator.py verify compares the nodes")


def verify(call: Call) -> None:
    """Compare the nodes that answer, and say how many rows are the same.

    NotConverged when they differ; else OrchestratorError when not every node was compared.
    """
    site = call.site()
    cluster = site.observe(IMPATIENCE_S)
    asked, missing = who_answers(cluster, call.names())
    broken = sorted((link for link in cluster.links if link.state not in CARRYING and link.source in asked and link.target in asked),
                    key=lambda link: (link.source, link.target))
    for link in broken:
        print(f"warning: {link.source} to {link.target} is {link.state}", file=sys.stderr)
    warn_of_surplus_tables(call.configuration, cluster)
    if not call.configuration.tables:
        print("no table is configured: there is nothing to compare")
    on = f"{len(asked)} nodes" if not missing else ", ".join(asked)
    try:
        for verified in verify_site(site, broken, asked):
            print(f"{verified.table}: {verified.rows} rows, the same on {on}" if len(asked) > 1 else
                  f"{verified.table}: {verified.rows} rows on {on}")
    except NotConverged as error:
        if missing:
            error.detail += "\n        not asked: " + "; ".join(missing)
        raise
    for orphans in find_orphans(site, asked):
        rows = "1 row refers" if orphans.rows == 1 else f"{orphans.rows} rows refer"
        print(f"warning: {orphans.table}: {rows} to no row of {orphans.references} (foreign key {orphans.foreign_key}, on {orphans.node})", file=sys.stderr)
    require_all(missing, "compared")


def conflicts(call: Call, table: str | None, as_json: bool, limit: int) -> None:
    """Print what the nodes remember of versions that lost to a concurrent one: each once, the newest first."""
    site = call.site()
    tables = [_configured_table(call.configuration, table)] if table else call.configuration.tables
    asked, missing = who_answers(site.observe(IMPATIENCE_S), call.names())
    found = collect_conflicts(site, tables, limit, asked)
    if as_json:
        print(to_json(found))
    elif found:
        report.conflicts(found, Console(highlight=False, soft_wrap=True))
        if len(found) == limit:
            print(f"the newest {limit}; --limit shows more", file=sys.stderr)
    else:
        print("no conflicts")
    require_all(missing, "asked")


def _configured_table(configuration: Configuration, name: str) -> Table:
    tables = [table for table in configuration.tables if name in (table.name, f"{table.schema}.{table.name}")]
    if len(tables) != 1:
        raise UsageError(f"{len(tables) or 'no'} tables are called {name}", "the configuration has " + ", ".join(
            f"{table.schema}.{table.name}" for table in configuration.tables), "name one of them, with its schema")
    return tables[0]


def chaos(call: Call, options: dict[str, Any]) -> None:
    """Shake a cluster of its own, made after the configuration; NotConverged with what was found."""
    # a test tool, which no other command pays for
    from chaos.options import Options, fault_list
    from chaos.run import run
    # a cluster of its own needs no engine unless it is asked for
    runtime = "docker" if call.runtime == "docker" else "process"
    given = {name: value for name, value in options.items() if value is not None}
    asked = Options(**given | {"faults": fault_list(str(options["faults"]), runtime), "runtime": runtime})
    # what ends this process must leave no cluster behind
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = run(asked, json.loads(call.config_path.read_text(encoding="utf-8-sig")), Progress().say)
    print(report.counts())
    if not report.converged:
        raise NotConverged(f"chaos found {len(report.findings)} things that must not be", report.found(), "please report it")
    print("every node holds the same rows, and everything that was acknowledged")


def renew(call: Call, authority: bool) -> None:
    """Make new certificates, or a new authority, while the cluster runs."""
    with only_orchestrator(call.directory()):
        site = call.site()
        renew_certificates(site, Progress(), authority=authority)


def who_answers(cluster: ClusterState, configured: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the names of the nodes that can be asked for their rows, and for each other one a text why not; OrchestratorError when none can."""
    asked = [node.name for node in cluster.nodes if node.answers and node.prepared and node.name in configured]
    missing = [f"{node.name} is {node.state}" + (f" ({node.problem})" if node.problem else "") + ("" if node.name in configured else ", and not configured")
               for node in cluster.nodes if node.name not in asked]
    if not asked:
        raise OrchestratorError("no node can be asked", "; ".join(missing), "python3 orchestrator.py up")
    return asked, missing


def warn_of_surplus_tables(configuration: Configuration, cluster: ClusterState) -> None:
    """Name on stderr the tables that are replicated and that the configuration does not have (any more): nobody would compare them."""
    configured = {(table.schema, table.name) for table in configuration.tables}
    surplus = sorted({str(table) for node in cluster.nodes for table in node.tables if (table.schema, table.name) not in configured})
    for name in surplus:
        print(f"warning: {name} is replicated, and the configuration does not have it: it goes on being replicated, and is not compared", file=sys.stderr)


def require_all(missing: list[str], done: str) -> None:
    """OrchestratorError when there is a node that could not be asked: an answer for some must not be taken for one for all."""
    if missing:
        one = len(missing) == 1
        raise OrchestratorError(f"{len(missing)} {'node was' if one else 'nodes were'} not {done}", "; ".join(missing),
                                "python3 orchestrator.py status says what is wrong, python3 orchestrator.py up starts what is down")


def logs(call: Call, node: str) -> None:
    """Print the node's log files, the last lines of each."""
    site = call.site()
    for name, lines in site.runtime.logs(site.spec(node)):
        print(f"==> {name} <==")
        sys.stdout.writelines(lines)
