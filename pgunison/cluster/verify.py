"""Are the rows the same on every node? Count and hashes first, then the keys that differ."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pgunison.cluster.barrier import Barrier
from pgunison.cluster.site import Site
from pgunison.cluster.state import LinkState
from pgunison.configuration.sysconfig import Table
from pgunison.errors import NotConverged
from pgunison.everywhere import everywhere

BUCKETS = 4096
KEYS_SHOWN = 10
# how many rows are compared one by one at a time, and the most that a node answers at once
ROWS_AT_ONCE = 20_000
ROWS_LIMIT = 100_000


@dataclass(frozen=True)
class Verified:
    """A table whose rows are the same everywhere."""

    table: str
    rows: int


@dataclass(frozen=True)
class Orphans:
    """Rows of a table that refer to no row, by their foreign key; ``node`` is the one that holds the most."""

    table: str
    foreign_key: str
    references: str
    rows: int
    node: str


def verify(site: Site, broken: Sequence[LinkState] = (), nodes: Sequence[str] | None = None) -> list[Verified]:
    """Compare each table on these nodes, all by default; NotConverged with the keys that differ and what each node holds.

    ``broken`` links carry nothing now, so nothing is waited for there; what they hold back shows as a difference.
    """
    without = frozenset((link.source, link.target) for link in broken)
    names = _names(site, nodes)
    return [_verify_table(site, table, names, broken, without) for table in site.configuration.tables]


def total_rows(site: Site) -> int:
    """Return how many rows all nodes hold, in all tables; NotConverged when they are not the same."""
    return sum(verified.rows for verified in verify(site))


def proof(site: Site) -> str:
    """Say that all nodes hold the same rows; NotConverged when they do not."""
    names = site.names()
    return f"{', '.join(names)} {'hold' if len(names) > 1 else 'holds'} the same {total_rows(site):,} rows"


def find_orphans(site: Site, nodes: Sequence[str] | None = None) -> list[Orphans]:
    """Ask these nodes, all by default, for rows that refer to no row: none when each foreign key of each replicated table holds everywhere."""
    found: list[Orphans] = []
    for table in site.configuration.tables:
        asked = {"schema": table.schema, "name": table.name}
        answers = everywhere(_names(site, nodes), partial(_orphans, site, asked))
        worst: dict[str, Orphans] = {}
        for node, keys in answers.items():
            for key in keys:
                known = worst.get(key["name"])
                if key["rows"] > (known.rows if known else 0):
                    worst[key["name"]] = Orphans(f"{table.schema}.{table.name}", key["name"], key["references"], key["rows"], node)
        found += worst.values()
    return found


def _orphans(site: Site, table: dict[str, str], node: str) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = site.call(node, "table.orphans", Table=table)["foreign_keys"]
    return keys


def _verify_table(site: Site, table: Table, nodes: list[str], broken: Sequence[LinkState], without: frozenset[tuple[str, str]]) -> Verified:
    """Compare a table, however fast it is written: what was committed before this call is the same when it returns."""
    name = f"{table.schema}.{table.name}"
    _settle(site, nodes, without)
    differing, rows = _differing_buckets(site, table, nodes)
    while differing:
        chosen = _some(differing)
        before = _differing_keys(site, table, nodes, chosen)
        _settle(site, nodes, without)
        after = _differing_keys(site, table, nodes, chosen)
        # What one node held before a barrier, every node holds after it, or something newer. The same difference on both sides is none of time. And a key that
        # differs otherwise is being written: the newest of it is on its way to all.
        lasting = {key: versions for key, versions in after.items() if before.get(key) == versions}
        for bucket in chosen:
            del differing[bucket]
        if lasting:
            links = "".join(f"\n        {link.source} to {link.target} is {link.state}" for link in broken)
            raise NotConverged(f"the nodes hold different rows of {name}", _shown(lasting, bool(differing)) + links,
                               "python3 orchestrator.py up mends links" if broken else _way_out(lasting))
    return Verified(name, rows)


def _way_out(differing: dict[str, dict[str, list[str] | None]]) -> str:
    """Say what mends such differences where no link is broken."""
    report = "see docs/convergence.md; please report it"
    if any(len({found and found[0] for found in versions.values()}) == 1 for versions in differing.values()):
        # no node takes the other's row for a newer one
        return f"an UPDATE of such a row, on the node whose values shall stay, makes it the same where the versions are equal; {report}"
    return report


def _settle(site: Site, nodes: list[str], without: frozenset[tuple[str, str]]) -> None:
    """Pass a barrier, then sweep: only then are the nodes comparable."""
    Barrier(site, without, nodes).wait()
    everywhere(nodes, lambda name: site.call(name, "node.sweep"))


def _differing_buckets(site: Site, table: Table, nodes: list[str]) -> tuple[dict[int, int], int]:
    """Return the parts of the key space that differ, each with how many rows it has at the most, and the number of all rows."""
    answers = everywhere(nodes, lambda name: site.call(name, "table.digest", Table={
        "schema": table.schema, "name": table.name, "buckets": BUCKETS})["buckets"])
    digests = [{bucket: marks for bucket, *marks in answer} for answer in answers.values()]
    differing = {bucket: max(digest.get(bucket, [0])[0] for digest in digests) for bucket in set().union(*digests)
                 if len({tuple(digest.get(bucket, ())) for digest in digests}) > 1}
    return differing, max(sum(marks[0] for marks in digest.values()) for digest in digests)


def _some(differing: dict[int, int]) -> list[int]:
    """Choose parts to compare row by row, at random, so that a busy part cannot hide another."""
    buckets = list(differing)
    random.shuffle(buckets)
    chosen, rows = [buckets[0]], differing[buckets[0]]
    for bucket in buckets[1:]:
        rows += differing[bucket]
        if rows > ROWS_AT_ONCE:
            break
        chosen.append(bucket)
    return chosen


def _differing_keys(site: Site, table: Table, nodes: list[str],
                    buckets: list[int]) -> dict[str, dict[str, list[str] | None]]:
    """Return ``{key: {node: [version, hash] or None}}`` for the keys in these parts of the key space that are not the same everywhere."""
    rows = everywhere(nodes, lambda name: site.call(name, "table.versions", Table={
        "schema": table.schema, "name": table.name, "buckets": BUCKETS, "wanted": buckets, "limit": ROWS_LIMIT})["rows"])
    if any(len(held) == ROWS_LIMIT for held in rows.values()):
        raise NotConverged(f"the nodes hold different rows of {table.schema}.{table.name}",
                           f"in a part of its keys that has {ROWS_LIMIT} rows or more: too many to name the keys", "compare the table by SQL")
    keys = sorted(set().union(*rows.values()))
    held = {key: {name: rows[name].get(key) for name in rows} for key in keys}
    return {key: versions for key, versions in held.items() if len({tuple(v or ()) for v in versions.values()}) > 1}


def _names(site: Site, nodes: Sequence[str] | None) -> list[str]:
    return list(nodes) if nodes is not None else [node.name for node in site.configuration.nodes]


def _shown(differing: dict[str, dict[str, list[str] | None]], and_more: bool) -> str:
    lines = [("at least " if and_more else "") + (f"{len(differing)} keys differ" if len(differing) > 1 else "1 key differs")]
    for key, versions in list(differing.items())[:KEYS_SHOWN]:
        lines.append(f"{key}: " + ", ".join(f"{name} {found[0] if found else 'has no row'}" for name, found in versions.items()))
    return "\n        ".join(lines)
