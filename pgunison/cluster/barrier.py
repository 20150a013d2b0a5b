"""The barrier: every node has applied all that was committed anywhere before it was asked for."""

from collections.abc import Sequence
from typing import Any

from pgunison.cluster.site import Site
from pgunison.contract.waiting import Late, wait_until
from pgunison.errors import OrchestratorError
from pgunison.everywhere import everywhere


def lsn(text: str) -> int:
    """Turn a WAL position as PostgreSQL writes it (``16/B374D848``) into a number of bytes."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


class Barrier:
    """Take every node's WAL position now; :meth:`wait` until each peer has confirmed to have applied it.

    ``without`` are links (source, target) that are not waited for; ``nodes`` are those that take part, all by default. ``durable``: a peer must have flushed
    it, too, so that it never asks for it again; without, one that crashes in the next moment does.
    """

    def __init__(self, site: Site, without: frozenset[tuple[str, str]] = frozenset(), nodes: Sequence[str] | None = None, *, durable: bool = False):
        self._site = site
        self._confirmed = "flushed" if durable else "confirmed"
        self._without = without
        self._names = list(nodes) if nodes is not None else [node.name for node in site.configuration.nodes]
        self._positions = {name: lsn(look["position"]) for name, look in self._look().items()}

    def pending(self) -> str | None:
        """Return None when the barrier is passed, or else who has not confirmed what yet."""
        for source, look in self._look().items():
            for target in self._names:
                if target == source or (source, target) in self._without:
                    continue
                confirmed = look[self._confirmed].get(target)
                if confirmed is None:
                    return f"{source} has no replication slot for {target}"
                behind = self._positions[source] - lsn(confirmed)
                if behind > 0:
                    return f"{target} is {behind} bytes behind {source}"
        return None

    def wait(self, timeout_s: float = 120.0) -> None:
        """Wait until the barrier is passed; OrchestratorError with the reason why not when it takes longer."""
        try:
            wait_until(self.pending, "the nodes have caught up", timeout_s)
        except Late as late:
            raise OrchestratorError(f"the nodes have not caught up after {timeout_s:.0f} s", late.last,
                                    "python3 orchestrator.py status shows the links") from late

    def _look(self) -> dict[str, dict[str, Any]]:
        return everywhere(self._names, lambda name: self._site.call(name, "node.position"))
