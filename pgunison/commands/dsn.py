"""``dsn``: a connection string."""

import click

from pgunison.commands.call import Call

ROLE = click.option("--role", type=click.Choice(["owner", "writer", "reader"]), default="writer", help="Whom to log in as; writer by default.")


def dsn(call: Call, role: str, node: str | None) -> None:
    """Print one libpq connection string."""
    print(call.site().dsn(call.configuration.role(role).name, node))


@click.command("dsn")
@ROLE
@click.argument("node", required=False)
@click.pass_obj
def command(call: Call, role: str, node: str | None) -> None:
    """Print a connection string: to NODE, or to any of the nodes."""
    dsn(call, role, node)
