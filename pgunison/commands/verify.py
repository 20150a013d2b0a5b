"""``verify``: do the nodes hold the same rows?"""

import sys

import click

from pgunison.cluster.observe import IMPATIENCE_S
from pgunison.cluster.verify import find_orphans
from pgunison.cluster.verify import verify as verify_site
from pgunison.commands.asked import require_all, warn_of_surplus_tables, who_answers
from pgunison.commands.call import Call
from pgunison.errors import NotConverged


def verify(call: Call) -> None:
    """Compare the nodes that answer, and say how many rows are the same.

    NotConverged when they differ; else OrchestratorError when not every node was compared.
    """
    site = call.site()
    cluster = site.observe(IMPATIENCE_S)
    asked, missing = who_answers(cluster, site.names())
    broken = sorted((link for link in cluster.links if not link.state.carries and link.source in asked and link.target in asked),
                    key=lambda link: (link.source, link.target))
    for link in broken:
        print(f"warning: {link.source} to {link.target} is {link.state}", file=sys.stderr)
    warn_of_surplus_tables(call.configuration, cluster)
    if not call.configuration.tables:
        print("no table is configured: there is nothing to compare")
    on = f"{len(asked)} nodes" if not missing else ", ".join(asked)
    try:
        for verified in verify_site(site, broken, asked):
            print(f"{verified.table}: {verified.rows} rows, the same on {on}" if len(asked) > 1 else
                  f"{verified.table}: {verified.rows} rows on {on}")
    except NotConverged as error:
        if missing:
            error.detail += "\n        not asked: " + "; ".join(missing)
        raise
    for orphans in find_orphans(site, asked):
        rows = "1 row refers" if orphans.rows == 1 else f"{orphans.rows} rows refer"
        print(f"warning: {orphans.table}: {rows} to no row of {orphans.references} (foreign key {orphans.foreign_key}, on {orphans.node})", file=sys.stderr)
    require_all(missing, "compared")


@click.command("verify")
@click.pass_obj
def command(call: Call) -> None:
    """Check that the rows are the same on every node.

    Exit status 0: they are; 3: they are not; 1: not every node answered, and those that did hold the same rows.
    """
    verify(call)
