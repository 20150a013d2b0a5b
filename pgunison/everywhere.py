"""Ask all nodes at once."""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Node = TypeVar("Node")
Answer = TypeVar("Answer")


def everywhere(nodes: Collection[Node], ask: Callable[[Node], Answer]) -> dict[Node, Answer]:
    """Ask every node side by side; returns the answers in the order of ``nodes``. When all have ended, the first error of them is raised."""
    with ThreadPoolExecutor(max_workers=max(1, len(nodes))) as pool:
        return dict(zip(nodes, pool.map(ask, nodes), strict=True))
