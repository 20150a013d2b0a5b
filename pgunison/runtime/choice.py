"""Which runtime a command takes."""

from pgunison.directory import cluster_directory
from pgunison.runtime import engine
from pgunison.runtime.containers import DockerRuntime
from pgunison.runtime.process import ProcessRuntime
from pgunison.runtime.runtime import Runtime

RUNTIMES: dict[str, type[Runtime]] = {runtime.name: runtime for runtime in (ProcessRuntime, DockerRuntime)}


def choose(name: str, cluster_id: str) -> type[Runtime]:
    """Return the runtime's class: the one that is named; with ``auto`` Docker where an engine answers, unless the cluster is there as processes."""
    if name != "auto":
        return RUNTIMES[name]
    if (cluster_directory(cluster_id, ProcessRuntime.name) / "nodes").exists():
        return ProcessRuntime
    return DockerRuntime if engine.answers() else ProcessRuntime
