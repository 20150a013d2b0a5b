"""What every command gets: the configuration, and the options that stand before the command."""

from dataclasses import dataclass
from pathlib import Path

from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import Configuration
from pgunison.directory import cluster_directory
from pgunison.runtime.choice import choose


@dataclass(frozen=True)
class Call:
    """The configuration, where it was read from, and the name of the runtime (``auto`` for whichever there is)."""

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
