"""The nodes' image, as ``docker-build.sh`` makes it."""

import configparser
import hashlib
import sys
from functools import cache
from typing import TYPE_CHECKING

from pgunison.errors import OrchestratorError
from pgunison.runtime import engine
from pgunison.tree import INSTALLED, PACKAGE, TREE

if TYPE_CHECKING:
    import docker
    from docker.models.images import Image

# what a node runs: by the name that it has on a node
PACKAGES = {name: TREE / name for name in ("container", "esb_config", "services")} | {"pgunison/contract": PACKAGE / "contract"}
VERSION, CODE = "org.pgunison.version", "org.pgunison.code"
BUILD = f"PYTHON={sys.executable} bash {TREE}/docker-build.sh" if INSTALLED else "./docker-build.sh"
HINT = f"{BUILD}, or do without containers: --runtime process"


def node_image(client: "docker.DockerClient", name: str) -> "Image":
    """Return the image of that name; OrchestratorError when it is missing, is no image of ours, or is one of another version."""
    import docker
    with engine.asked_to(f"find the image {name}"):
        try:
            image = client.images.get(name)
        except docker.errors.ImageNotFound as error:
            raise OrchestratorError(f"there is no image {name}", "the Docker engine holds none of this name", HINT) from error
    version = image.labels.get(VERSION)
    if version is None:
        raise OrchestratorError(f"the image {name} is none of pgunison", f"it has no label {VERSION}",
                                f"{BUILD}, or name another one at $.system.config.container.image")
    if version != own_version():
        raise OrchestratorError(f"the image {name} is of version {version}", f"this is pgunison {own_version()}", HINT)
    if image.labels.get(CODE) != own_code():
        raise OrchestratorError(f"the image {name} was made of other sources", "host and nodes must have the same services", HINT)
    return image


@cache
def own_code() -> str:
    """Compute a digest of the sources that a node runs; ``docker-build.sh`` makes it the image's label."""
    digest = hashlib.sha256()
    found = {f"{name}/{path.relative_to(folder)}": path for name, folder in PACKAGES.items() for path in folder.rglob("*")
             if path.suffix in (".py", ".sql", ".yaml")}
    for name, path in sorted(found.items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def own_version() -> str:
    """Read the version of these sources."""
    parser = configparser.ConfigParser()
    parser.read(TREE / "setup.cfg", encoding="utf-8")
    return parser["metadata"]["version"]


if __name__ == "__main__":
    print(own_code())
