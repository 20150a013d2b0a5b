"""The command line: words in, commands called, errors out."""

import errno
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from pgunison import interruption, output
from pgunison.errors import OrchestratorError, UsageError
from pgunison.program import WRITTEN, as_called, program_name

# the module that holds each command: imported when it is called, or when all of them are shown
COMMANDS = {name: f"pgunison.commands.{name}" for name in (
    "add", "balancer", "conflicts", "down", "drain", "dsn", "history", "logs", "psql", "remove", "renew", "replace", "restart", "resume", "scale",
    "status", "test", "up", "verify")}


class Commands(click.Group):
    """A group that imports a command when it is needed, and whose help shows each command's whole first sentence, where click would cut it."""

    modules: Mapping[str, str] = COMMANDS

    def list_commands(self, context: click.Context) -> list[str]:
        """List the names of all commands."""
        return sorted(self.modules)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import the command of that name; None when there is none."""
        if name not in self.modules:
            return None
        command: click.Command = importlib.import_module(self.modules[name]).command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        found = [(name, self.get_command(context, name)) for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=1000)) for name, command in found if command and not command.hidden])


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_path", type=click.Path(path_type=Path), default=Path("sysconfig.json"),
              help="The configuration; sysconfig.json by default.")
@click.option("--runtime", type=click.Choice(["auto", "process", "docker"]), default="auto", help="Where the nodes run.")
@click.pass_context
def cli(context: click.Context, config_path: Path, runtime: str) -> None:
    """An active-active PostgreSQL cluster that ends with the same rows on every node.

    Without a command: up, then the three tests, then verify; the cluster is left running.
    """
    from pgunison.commands.call import Call
    from pgunison.configuration.sysconfig import load
    context.obj = Call(load(config_path), config_path, runtime)
    if context.invoked_subcommand is not None:
        # what the command itself needs was imported when click looked it up
        interruption.raise_as_usual()
        return
    from pgunison.commands.main_job import main_job
    interruption.raise_as_usual()
    main_job(context.obj)


def main(more: Mapping[str, str] | None = None, config_path: Path | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 not converged.

    ``more`` are further commands, as the modules that hold them by name; ``config_path`` is the configuration where ``--config`` names none.
    """
    cli.modules = COMMANDS | dict(more or {})
    output.guard()
    try:
        # a command that only says something by its status exits with it; others return nothing
        status = cli.main(standalone_mode=False, prog_name=program_name().split()[-1], default_map={"config_path": config_path} if config_path else None) or 0
        sys.stdout.flush()
        return status
    except click.ClickException as error:
        # without the program's own name
        command = error.ctx.command_path.split()[1:] if isinstance(error, click.UsageError) and error.ctx else []
        called = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        return _failed(UsageError(error.format_message(), f"called as {called[:200]}", " ".join([WRITTEN, *command, "--help"])))
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
    try:
        # what the command found out comes before why it failed; if that cannot be written, the error and its status still count
        sys.stdout.flush()
    except output.OutputError:
        output.give_up()
    print(as_called(str(error)), file=sys.stderr)
    return error.exit_status


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else ""
