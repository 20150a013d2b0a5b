"""What of a cluster stays as it is once it has nodes: kept beside it, and compared with the configuration."""

import json
from collections.abc import Collection
from pathlib import Path

from pgunison.configuration.sysconfig import Configuration
from pgunison.errors import UsageError
from pgunison.files import write_whole

FILE = "identity.json"


def require_same(configuration: Configuration, directory: Path, nodes: Collection[str]) -> None:
    """UsageError when the configuration names another database or other ports than those of the cluster in ``directory``, whose ``nodes`` there are.

    Another database would be a second one, without the rows of the first; at other ports no node would find the others. A cluster without nodes takes what
    the configuration says.
    """
    wanted = {"$.system.config.database": configuration.database, "$.system.config.ports.postgresql": configuration.postgresql_port,
              "$.system.config.ports.agent": configuration.agent_port}
    path = directory / FILE
    known = json.loads(path.read_text(encoding="utf-8")) if nodes and path.exists() else wanted
    changed = [f"{place}: the cluster has {known[place]!r}, the configuration says {value!r}" for place, value in wanted.items()
               if known.get(place, value) != value]
    if changed:
        raise UsageError("a cluster keeps its database and its ports", "; ".join(changed), "restore them, or give a new cluster an id of its own")
    write_whole(path, json.dumps(wanted, indent=1) + "\n")
