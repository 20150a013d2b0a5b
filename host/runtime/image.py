"""The nodes' image, as ``docker-build.sh`` makes it."""

import configparser
from functools import cache
from pathlib import Path

from host.errors import OrchestratorError
from host.runtime import engine

PROJECT = Path(__file__).resolve().parents[2]
VERSION = "org.pgunison.version"
HINT = "./docker-build.sh, or do without containers: --runtime process"


def node_image(client, name: str):
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
    return image


@cache
def own_version() -> str:
    """Read the version of this checkout."""
    parser = configparser.ConfigParser()
    parser.read(PROJECT / "setup.cfg", encoding="utf-8")
    return parser["metadata"]["version"]
