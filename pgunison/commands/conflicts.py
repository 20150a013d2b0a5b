"""``conflicts``: what was written and lost to a concurrent change."""

import sys

import click
from rich.console import Console

from pgunison import report
from pgunison.cluster.conflicts import collect_conflicts, to_json
from pgunison.cluster.observe import IMPATIENCE_S
from pgunison.commands.asked import require_all, who_answers
from pgunison.commands.call import Call
from pgunison.configuration.sysconfig import Configuration, Table
from pgunison.errors import UsageError


def conflicts(call: Call, table: str | None, as_json: bool, limit: int) -> None:
    """Print what the nodes remember of versions that lost to a concurrent one: each once, the newest first."""
    site = call.site()
    tables = [_configured_table(call.configuration, table)] if table else call.configuration.tables
    asked, missing = who_answers(site.observe(IMPATIENCE_S), site.names())
    found = collect_conflicts(site, tables, limit, asked)
    if as_json:
        print(to_json(found))
    elif found:
        report.conflicts(found, Console(highlight=False, soft_wrap=True))
        if len(found) == limit:
            print(f"the newest {limit}; --limit shows more", file=sys.stderr)
    else:
        print("no conflicts")
    require_all(missing, "asked")


def _configured_table(configuration: Configuration, name: str) -> Table:
    tables = [table for table in configuration.tables if name in (table.name, f"{table.schema}.{table.name}")]
    if len(tables) != 1:
        raise UsageError(f"{len(tables) or 'no'} tables are called {name}", "the configuration has " + ", ".join(
            f"{table.schema}.{table.name}" for table in configuration.tables), "name one of them, with its schema")
    return tables[0]


@click.command("conflicts")
@click.option("--table", help="Only of this table.")
@click.option("--limit", type=click.IntRange(1, 10000), default=100, help="How many at the most; 100 by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(call: Call, table: str | None, limit: int, as_json: bool) -> None:
    """Show what was written and lost to a concurrent change."""
    conflicts(call, table, as_json, limit)
