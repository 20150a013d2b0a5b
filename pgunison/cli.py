"""The command line: words in, commands called, errors out."""

import errno
import sys
from pathlib import Path
from typing import Any

import click

from pgunison import commands, output
from pgunison.configuration.sysconfig import load
from pgunison.errors import OrchestratorError, UsageError

PROJECT = Path(__file__).resolve().parents[1]


class Commands(click.Group):
    """A group whose help shows each command's whole first sentence, on as many lines as it takes, where click would cut it."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(context, name)) for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=1000)) for name, command in found if command and not command.hidden])


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_path", type=click.Path(path_type=Path), default=PROJECT / "sysconfig.json",
              help="The configuration; sysconfig.json by default.")
@click.option("--runtime", type=click.Choice(["auto", "process", "docker"]), default="auto", help="Where the nodes run.")
@click.pass_context
def cli(context: click.Context, config_path: Path, runtime: str) -> None:
    """An active-active PostgreSQL cluster that ends with the same rows on every node.

    Without a command: up, then the three tests, then verify; the cluster is left running.
    """
    context.obj = commands.Call(load(config_path), config_path, runtime)
    if context.invoked_subcommand is None:
        commands.main_job(context.obj)


@cli.command()
@click.pass_obj
def up(call: commands.Call) -> None:
    """Start the cluster, or finish what is missing of it."""
    commands.up(call)


@cli.command()
@click.option("--purge", is_flag=True, help="Remove the data, too.")
@click.pass_obj
def down(call: commands.Call, purge: bool) -> None:
    """Stop the cluster and keep its data."""
    commands.down(call, purge)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(call: commands.Call, as_json: bool) -> None:
    """Show nodes and links; exit 0 when all is well, else 1."""
    if not commands.status(call, as_json):
        click.get_current_context().exit(1)


@cli.command()
@click.option("--role", type=click.Choice(["owner", "writer", "reader"]), default="writer", help="Whom to log in as; writer by default.")
@click.argument("node", required=False)
@click.pass_obj
def dsn(call: commands.Call, role: str, node: str | None) -> None:
    """Print a connection string: to NODE, or to any of the nodes."""
    commands.dsn(call, role, node)


@cli.command()
@click.argument("name", type=click.Choice(["insert", "update", "select"]), required=False)
@click.pass_obj
def test(call: commands.Call, name: str | None) -> None:
    """Run one of the tests, or all three, against the cluster."""
    commands.test(call, [name] if name else list(commands.TESTS))


@cli.command()
@click.pass_obj
def verify(call: commands.Call) -> None:
    """Check that the rows are the same on every node.

    Exit status 0: they are; 3: they are not; 1: not every node answered, and those that did hold the same rows.
    """
    commands.verify(call)


@cli.command()
@click.option("--table", help="Only of this table.")
@click.option("--limit", type=click.IntRange(1, 10000), default=100, help="How many at the most; 100 by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def conflicts(call: commands.Call, table: str | None, limit: int, as_json: bool) -> None:
    """Show what was written and lost to a concurrent change."""
    commands.conflicts(call, table, as_json, limit)


@cli.command()
@click.option("--authority", is_flag=True, help="Make a new authority, which signs from the next renewal on; until then give its file to those who connect.")
@click.pass_obj
def renew(call: commands.Call, authority: bool) -> None:
    """Renew the certificates of all nodes; none is stopped."""
    commands.renew(call, authority)


@cli.command()
@click.argument("node")
@click.pass_obj
def logs(call: commands.Call, node: str) -> None:
    """Print a node's log."""
    commands.logs(call, node)


@cli.command()
@click.option("--seed", type=int, help="What is drawn at random is drawn from this number; a new one by default.")
@click.option("--seconds", type=click.IntRange(min=1), default=60, help="How long writers write under faults; 60 by default.")
@click.option("--nodes", type=click.IntRange(min=2, max=16), default=3, help="How many nodes the cluster has; 3 by default.")
@click.option("--faults", default="all", help="Names with commas, or all, or none, or all but some: -disk,-clock. A wrong name tells the right ones.")
@click.option("--plant", type=click.Choice(["stamp", "tombstone", "tie", "image", "sweep", "cascade", "guard"]),
              help="Turn a part of the merge off, to see that it is found.")
@click.option("--keep", is_flag=True, help="Leave the cluster running when something is found.")
@click.pass_obj
def chaos(call: commands.Call, /, **options: Any) -> None:
    """Shake a cluster of its own and compare its nodes.

    Random writes under random faults, then the same rows everywhere, or exit status 3. Its nodes are processes; containers with --runtime docker.
    """
    commands.chaos(call, options)


def main() -> int:
    """Run the command line; returns the exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 not converged."""
    output.guard()
    try:
        # a command that only says something by its status exits with it; others return nothing
        status = cli.main(standalone_mode=False) or 0
        sys.stdout.flush()
        return status
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "orchestrator.py"
        return _failed(UsageError(error.format_message(), f"called as {' '.join(['orchestrator.py', *sys.argv[1:]])[:200]}", f"python3 {where} --help"))
    except click.exceptions.Exit as error:
        return error.exit_code
    except OrchestratorError as error:
        return _failed(error)
    except (click.Abort, KeyboardInterrupt):
        return _failed(OrchestratorError("interrupted", "what was done stays", "call the same command again: it continues"))
    except output.OutputError as error:
        output.give_up()
        # whoever closed a pipe has seen enough
        return 1 if error.errno == errno.EPIPE else _failed(OrchestratorError(
            f"cannot write the output: {error.strerror}", "the command did its work up to there", "give it another place to write to, and call it again"))
    except Exception as error:
        return _failed(OrchestratorError(f"a fault of pgunison: {type(error).__name__}: {error}".splitlines()[0], _place(error), "please report it"))


def _failed(error: OrchestratorError) -> int:
    print(error, file=sys.stderr)
    return error.exit_status


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else ""
