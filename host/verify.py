"""Are the rows the same on every node? Count and hashes first, then the keys that differ."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from host.barrier import Barrier
from host.config import Table
from host.errors import NotConverged
from host.site import Site
from host.state import LinkState

BUCKETS = 1024
KEYS_SHOWN = 10
# Rows that users change while we look differ for a moment; a difference counts when it stays through barriers for this long.
SETTLE_S = 20.0


@dataclass(frozen=True)
class Verified:
    """A table whose rows are the same everywhere."""

    table: str
    rows: int


def verify(site: Site, broken: Sequence[LinkState] = ()) -> list[Verified]:
    """Compare each table on all nodes; NotConverged with the keys that differ and what each node holds.

    ``broken`` links carry nothing now, so nothing is waited for there; what they hold back shows as a difference.
    """
    deadline = time.monotonic() + SETTLE_S
    found = []
    without = frozenset((link.source, link.target) for link in broken)
    for table in site.configuration.tables:
        differing, rows = _differing_buckets(site, table, without)
        previous: dict[str, dict] = {}
        while differing:
            current = _differing_keys(site, table, differing)
            # what is the same difference twice in a row, with a barrier and a sweep between, does not go away
            lasting = {key: versions for key, versions in current.items() if previous.get(key) == versions}
            if lasting and (time.monotonic() > deadline or len(lasting) == len(current)):
                links = "".join(f"\n        {link.source} to {link.target} is {link.state}" for link in broken)
                raise NotConverged(f"the nodes hold different rows of {table.schema}.{table.name}", _shown(lasting) + links,
                                   "python3 orchestrator.py up mends links" if broken else "see docs/convergence.md; please report it")
            previous = current
            differing, rows = _differing_buckets(site, table, without)
        found.append(Verified(f"{table.schema}.{table.name}", rows))
    return found


def _settle(site: Site, without: frozenset[tuple[str, str]]) -> None:
    """Pass a barrier, then sweep: only then are the nodes comparable."""
    Barrier(site, without).wait()
    _everywhere(site, lambda name: site.call(name, "node.sweep"))


def _differing_buckets(site: Site, table: Table, without: frozenset[tuple[str, str]]) -> tuple[list[int], int]:
    _settle(site, without)
    answers = _everywhere(site, lambda name: site.call(name, "table.digest", Table={
        "schema": table.schema, "name": table.name, "buckets": BUCKETS})["buckets"])
    digests = [{bucket: marks for bucket, *marks in answer} for answer in answers.values()]
    differing = [bucket for bucket in sorted(set().union(*digests)) if len({tuple(digest.get(bucket, ())) for digest in digests}) > 1]
    return differing, max(sum(marks[0] for marks in digest.values()) for digest in digests)


def _differing_keys(site: Site, table: Table, buckets: list[int]) -> dict[str, dict[str, list | None]]:
    """Return ``{key: {node: [version, hash] or None}}`` for the keys in these parts of the key space that are not the same everywhere."""
    rows = _everywhere(site, lambda name: site.call(name, "table.versions", Table={
        "schema": table.schema, "name": table.name, "buckets": BUCKETS, "wanted": buckets})["rows"])
    keys = sorted(set().union(*rows.values()))
    held = {key: {name: rows[name].get(key) for name in rows} for key in keys}
    return {key: versions for key, versions in held.items() if len({tuple(v or ()) for v in versions.values()}) > 1}


def _everywhere(site: Site, ask: Callable[[str], object]) -> dict[str, object]:
    names = [node.name for node in site.configuration.nodes]
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return dict(zip(names, pool.map(ask, names), strict=True))


def _shown(differing: dict[str, dict[str, list | None]]) -> str:
    lines = [f"{len(differing)} keys differ" if len(differing) > 1 else "1 key differs"]
    for key, versions in list(differing.items())[:KEYS_SHOWN]:
        lines.append(f"{key}: " + ", ".join(f"{name} {found[0] if found else 'has no row'}" for name, found in versions.items()))
    return "\n        ".join(lines)
