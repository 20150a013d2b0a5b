"""The nodes' image, as ``docker-build.sh`` makes it."""

import configparser
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pgunison.errors import OrchestratorError
from pgunison.runtime import engine

if TYPE_CHECKING:
    import docker
    from docker.models.images import Image

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("container", "esb_config", "services", "pgunison/contract")
VERSION, CODE = "org.pgunison.version", "org.pgunison.code"
HINT = "./docker-build.sh, or do without containers: --runtime process"


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
                                "./docker-build.sh, or name another one at $.system.config.container.image")
    if version != own_version():
        raise OrchestratorError(f"the image {name} is of version {version}", f"this is pgunison {own_version()}", HINT)
    if image.labels.get(CODE) != own_code():
        raise OrchestratorError(f"the image {name} was made of other sources", "host and nodes must have the same services", HINT)
    return image


@cache
def own_code() -> str:
    """Compute a digest of the sources that a node runs; ``docker-build.sh`` makes it the image's label."""
    digest = hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (PROJECT / package).rglob("*") if path.suffix in (".py", ".sql", ".yaml")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(PROJECT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def own_version() -> str:
    """Read the version of this checkout."""
    parser = configparser.ConfigParser()
    parser.read(PROJECT / "setup.cfg", encoding="utf-8")
    return parser["metadata"]["version"]


if __name__ == "__main__":
    print(own_code())
