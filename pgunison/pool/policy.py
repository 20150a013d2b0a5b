"""Policies: which of the nodes that may serve is asked, and which one after it. No I/O."""

import hashlib
from collections.abc import Callable, Iterable, Mapping

POLICIES = ("round-robin", "least-busy", "local-first", "by-key")
# so finely are weights told apart in a round
PARTS = 10


def round_of(weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the nodes in turn, each as often as its weight asks for, well mixed (nginx's smooth weighted round-robin). Nodes of one weight come once each."""
    parts = {name: max(1, round(weight * PARTS)) for name, weight in sorted(weights.items())}
    if len(set(parts.values())) <= 1:
        return tuple(parts)
    total, credit, turns = sum(parts.values()), dict.fromkeys(parts, 0), []
    for _ in range(total):
        for name in credit:
            credit[name] += parts[name]
        chosen = max(credit, key=lambda name: credit[name])
        credit[chosen] -= total
        turns.append(chosen)
    return tuple(turns)


def homes(key: str, weights: Mapping[str, float]) -> list[str]:
    """Return the nodes in the order of a key's preference: the first is its home (rendezvous hashing, Thaler and Ravishankar 1998).

    The order of two nodes depends on nothing but the key and their names, so only the keys of a node that is lost move. One that comes back gets a part of
    its keys at first, as its weight says, and always the same ones.
    """
    ordered = sorted(weights, key=lambda name: draw(key, name), reverse=True)
    return sorted(ordered, key=lambda name: draw(key, name, "return") >= weights[name])


def draw(*of: str) -> float:
    """Return a number from 0 to 1 that depends on the texts alone; on every machine the same."""
    return int.from_bytes(hashlib.blake2b("\0".join(of).encode(), digest_size=8).digest(), "big") / 2**64


def least_busy(weights: Mapping[str, float], busy: Callable[[str], int], turn: int) -> list[str]:
    """Return the nodes from the least busy one on, measured by their weight; of equals each comes first in its turn."""
    names = sorted(weights)
    rotated = names[turn % len(names):] + names[:turn % len(names)] if names else []
    return sorted(rotated, key=lambda name: (busy(name) + 1) / weights[name])


def local_first(weights: Mapping[str, float], local: str | None, latencies: Mapping[str, float]) -> list[str]:
    """Return the local node first, then from the nearest one on; without a local one the nearest is it."""
    return sorted(weights, key=lambda name: (name != local, latencies.get(name, 0.0), name))


def rotated(names: Iterable[str], first: str) -> list[str]:
    """Return each name once, ``first`` first, the others in the order of their names behind it, as in a ring."""
    ring = sorted(set(names))
    at = ring.index(first)
    return ring[at:] + ring[:at]
