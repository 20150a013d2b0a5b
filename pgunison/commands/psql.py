"""``psql``: a psql that is connected to a node."""

import os
from collections.abc import Sequence

import click

from pgunison.commands.call import Call
from pgunison.commands.dsn import ROLE
from pgunison.runtime.binaries import LEAST_VERSION
from pgunison.runtime.binaries import psql as find_psql


def psql(call: Call, role: str, node: str | None, options: Sequence[str]) -> None:
    """Become a psql; the password is in the passfile that the connection string names."""
    site = call.site()
    program, version = find_psql(tls=site.runtime.certificates is not None)
    # an older one tries the nodes in their order
    dsn = site.dsn(call.configuration.role(role).name, node, spread=version >= LEAST_VERSION)
    os.execv(program, [str(program), f"--dbname={dsn}", *options])


@click.command("psql")
@ROLE
@click.argument("words", metavar="[NODE] [-- OPTION...]", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def command(call: Call, role: str, words: tuple[str, ...]) -> None:
    """Open a psql on NODE, or on any of the nodes; it gets the options behind --."""
    node = words[0] if words and not words[0].startswith("-") else None
    psql(call, role, node, words[1:] if node else words)
