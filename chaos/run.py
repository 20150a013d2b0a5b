"""A run: say the options; safety phase, in which anything may break; heal; liveness phase, in which everything must work; check."""

import contextlib
import time
from collections.abc import Callable, Sequence

import psycopg2

from chaos import clock, disk, planted
from chaos.checker import check
from chaos.comparison import MARKS, everywhere, settle
from chaos.container_faults import drop_impossible, signals_impossible
from chaos.disturber import Disturber
from chaos.options import SIGNALS, Options
from chaos.report import Report
from chaos.runtimes import DockerCluster
from chaos.schedule import offsets, schedule, tombstone_retention_s
from chaos.stage import Stage
from chaos.target import Target
from chaos.workload import Finding, Workload, finding
from chaos.workloads import WORKLOADS
from chaos.writers import Writers
from pgunison.contract.waiting import Late, wait_until

LIVE_TIMEOUT_S = 90.0

Say = Callable[[str], None]


def run(options: Options, document: dict, say: Say, kinds: Sequence[type[Workload]] = WORKLOADS) -> Report:
    """Make a cluster after the configuration ``document``, shake it, and remove it again, unless it failed and is to be kept.

    ``say`` gets a sentence at each phase. OrchestratorError when the cluster cannot be made.
    """
    say(str(options))
    if "disk" in options.faults and (reason := disk.impossible()):
        say(f"the full disk is left out, because no file system can be made for it: {reason}")
        options = options.without("disk")
    workloads = [each(versions=("modified_ts", "modified_node")) for each in kinds]
    retention_s = tombstone_retention_s(options)
    say(f"each node forgets a tombstone after {retention_s} s, when every other has it")
    stage = Stage(document, options.nodes, [*(table for each in workloads for table in each.tables), MARKS], mounted="disk" in options.faults,
                  runtime=options.runtime, settings={name: value for each in workloads for name, value in each.settings.items()},
                  upkeep={"tombstone_retention_s": retention_s})
    keep = False
    try:
        cluster = stage.make()
        say(f"cluster {cluster.site.configuration.id} is up, in {stage.directory}")
        if options.runtime == "docker":
            options = possible(cluster, options, say)
        report = shake(cluster, options, workloads, say)
        keep = options.keep and not report.converged
    finally:
        if keep:
            say(f"the cluster is left running, with its files in {stage.directory}; its configuration is sysconfig.json there")
        else:
            stage.remove()
    return report


def possible(cluster: DockerCluster, options: Options, say: Say) -> Options:
    """Leave out what this user cannot do to containers, and say so."""
    for names, impossible in ((SIGNALS, signals_impossible), (("drop",), drop_impossible)):
        asked = [name for name in names if name in options.faults]
        if asked and (reason := impossible(cluster)):
            say(f"{', '.join(asked)}: left out, because {reason}")
            options = options.without(*asked)
    return options


def shake(target: Target, options: Options, workloads: list[Workload], say: Say) -> Report:
    """Run the phases on a target that is up and holds the workloads' tables, empty."""
    report = disturb(target, options, workloads, say)
    say("check: every node applies all there is, then all are compared")
    found, report.rows = check(target, workloads, 60.0 + 3 * options.seconds)
    report.findings += found
    return report


def disturb(target: Target, options: Options, workloads: list[Workload], say: Say) -> Report:
    """Run all phases but the check: when it returns, nobody writes and nothing is broken any more."""
    report = Report(options)
    everywhere(target, lambda node: define(target, node, workloads))
    if "clock" in options.faults or options.plant:
        everywhere(target, lambda node: clock.install(target, node))
    if options.plant:
        say(f"planted: {options.plant}")
        everywhere(target, lambda node: planted.PLANTS[options.plant](target, node))
    for workload in workloads:
        workload.prepare(target)
    settle(target)
    if "clock" in options.faults:
        for node, offset in offsets(options).items():
            clock.turn(target, node, offset)
            report.faults.append(f"clock of {node} off by {offset.total_seconds():+.1f} s")
    with Writers(target, options.seed, workloads, options.expected) as writers, Disturber(target, schedule(options)) as disturber:
        say(f"safety phase: {options.seconds} s of writes on every node, and faults")
        time.sleep(options.seconds)
        say(f"heal: {len(disturber.done)} faults were done")
        with _late(report, "faults that do not heal"):
            disturber.heal()
        say("liveness phase: every writer must get on")
        with _late(report, "writers that do not get on"):
            await_progress(workloads, target.names())
    for workload in workloads:
        try:
            workload.conclude(target)
        except psycopg2.Error as error:
            report.findings += finding(f"{workload.name}: what was begun and left cannot be ended", [" ".join(str(error).split())])
    report.faults += disturber.done
    report.missed = disturber.missed
    report.operations = {workload.name: workload.counts() for workload in workloads}
    report.findings += finding("writers that hang", writers.hanging)
    report.findings += finding("errors that should not be met", [*writers.faults, *disturber.faults])
    return report


def define(target: Target, node: str, workloads: list[Workload]) -> None:
    """Make on a node, as its owner, what the workloads need beside their tables."""
    with target.connect(node) as connection, connection.cursor() as cursor:
        for statement in (statement for workload in workloads for statement in workload.definitions):
            cursor.execute(statement)


def await_progress(workloads: list[Workload], nodes: list[str]) -> None:
    """Wait until each workload has had one more operation acknowledged on each node; Late when that takes too long."""
    before = {(workload.name, node): workload.endings[node]["ok"] for workload in workloads for node in nodes}

    def pending() -> str | None:
        waiting = [f"{workload.name} on {node}" for workload in workloads for node in nodes
                   if workload.endings[node]["ok"] == before[workload.name, node]]
        return ", ".join(waiting) or None

    wait_until(pending, "every writer gets on", LIVE_TIMEOUT_S)


@contextlib.contextmanager
def _late(report: Report, what: str):
    try:
        yield
    except Late as late:
        report.findings.append(Finding(what, 1, str(late)))
