"""Which runtime a command takes."""

from host.errors import UsageError
from host.runtime.process import ProcessRuntime

RUNTIMES = {"process": ProcessRuntime}


def choose(name: str) -> type[ProcessRuntime]:
    """Return the runtime's class. UsageError for one that this version does not have."""
    if name == "auto":
        return ProcessRuntime
    if name not in RUNTIMES:
        raise UsageError(f"there is no runtime {name} in this version", f"it has: {', '.join(RUNTIMES)}", "leave --runtime out")
    return RUNTIMES[name]
