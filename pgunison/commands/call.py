"""What every command gets: the configuration, and the options that stand before the command."""

from dataclasses import dataclass
from pathlib import Path

from pgunison.cluster.site import Site
from pgunison.configuration import members
from pgunison.configuration.members import Members
from pgunison.configuration.sysconfig import Configuration
from pgunison.directory import cluster_directory
from pgunison.runtime.choice import choose


@dataclass(frozen=True)
class Call:
    """The configuration, where it was read from, and the name of the runtime (``auto`` for whichever there is)."""

    configuration: Configuration
    config_path: Path
    runtime: str

    def directory(self) -> Path:
        """Return the directory of the cluster's files; it may not exist."""
        return cluster_directory(self.configuration.id, choose(self.runtime, self.configuration.id).name)

    def site(self, *, make: bool = False, supposed: Members | None = None) -> Site:
        """Open the site of a cluster that was made, or with ``make`` may be; ``supposed`` takes the place of the members that are written down."""
        return Site.of(self.configuration, self.runtime, make=make, supposed=supposed)

    def widened_site(self) -> Site:
        """Open the site with those among the members that were made and that a smaller ``max_nodes`` does not count any more: they can be removed."""
        site = self.site()
        known = {node.name for node in (*site.configuration.nodes, *site.configuration.former)}
        supposed = members.read(site.directory)
        for name in site.runtime.nodes():
            if name not in known:
                supposed = supposed.with_added(site.any_spec(name))
        return self.site(supposed=supposed)
