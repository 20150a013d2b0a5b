"""Which runtime a command takes."""

from pgunison.directory import cluster_directory
from pgunison.runtime import engine
from pgunison.runtime.runtime import Runtime


def choose(name: str, cluster_id: str) -> type[Runtime]:
    """Return the runtime's class: the one that is named; with ``auto`` Docker where an engine answers, unless the cluster is there as processes."""
    if name == "auto":
        here = (cluster_directory(cluster_id, "process") / "nodes").exists()
        name = "docker" if not here and engine.answers() else "process"
    # loaded when it is chosen: containers have certificates, and what makes those takes its time
    if name == "docker":
        from pgunison.runtime.containers import DockerRuntime
        return DockerRuntime
    from pgunison.runtime.process import ProcessRuntime
    return ProcessRuntime
