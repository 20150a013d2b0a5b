"""``history``: who did what with the cluster."""

import json
import sys
from dataclasses import asdict

import click

from pgunison.cluster.history import Entry, collect
from pgunison.commands.call import Call

HEADER = ("began (UTC)", "took", "who", "command", "outcome")


def history(call: Call, as_json: bool, limit: int) -> None:
    """Print the newest commands that changed the cluster, a line each, the newest first; a node that cannot be asked is named."""
    site = call.site()
    entries, missing = collect(site, limit)
    if as_json:
        print(json.dumps([asdict(entry) | {"seconds": entry.seconds} for entry in entries], indent=2))
    else:
        rows = [HEADER, *map(row, entries)]
        widths = [max(len(line[column]) for line in rows) for column in range(len(HEADER))]
        for line in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for name, reason in missing.items():
        print(f"warning: {name} was not asked: {' '.join(reason.split())}", file=sys.stderr)


def row(entry: Entry) -> tuple[str, ...]:
    """Write an entry as a line of the table."""
    took = f"{entry.seconds:.1f} s" if entry.seconds is not None else "unknown" if entry.outcome != "running" else ""
    outcome = {"lost": "did not end: killed, or its machine went down"}.get(entry.outcome, entry.outcome)
    return (entry.began[:19].replace("T", " "), took, entry.who, entry.command, " ".join((f"{outcome}: {entry.detail}" if entry.detail else outcome).split()))


@click.command("history")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, help="How many at the most; 100 by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(call: Call, as_json: bool, limit: int) -> None:
    """Show who did what with the cluster, when, and how it ended."""
    history(call, as_json, limit)
