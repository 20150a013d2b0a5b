"""The command line of the three tests: --config, --runtime, --timeout, and --seed where one is drawn; exit status 0 it holds, 1 it does not, 2 wrong usage."""

import random
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import click
import psycopg2

from byhand.run import Run
from pgunison.cluster.site import Site
from pgunison.configuration.sysconfig import load
from pgunison.errors import OrchestratorError, UsageError

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = f"tests/{Path(sys.argv[0]).name}"


def main(test: Callable[[Run], None], *, seeded: bool = False) -> int:
    """Run a test as the command line asks for; print ``ok``, or on stderr why it does not hold; returns the exit status. ``seeded`` if it draws by chance."""
    try:
        command(test, seeded).main(standalone_mode=False)
        return 0
    except click.ClickException as error:
        return _failed(UsageError(error.format_message(), "", f"python3 {SCRIPT} --help"))
    except OrchestratorError as error:
        return _failed(error)
    except psycopg2.Error as error:
        return _failed(OrchestratorError("a statement failed", str(error).strip(), "python3 orchestrator.py status shows nodes and links"))
    except (click.Abort, KeyboardInterrupt):
        return _failed(OrchestratorError("interrupted", "the rows written so far stay", "call it again: each run has rows of its own"))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return _failed(OrchestratorError(f"a fault of pgunison: {type(error).__name__}: {error}".splitlines()[0],
                                         f"{Path(place.filename).name}, line {place.lineno}", "please report it"))


def command(test: Callable[[Run], None], seeded: bool) -> click.Command:
    """Make the click command that runs ``test``; its help is the test's docstring."""

    def callback(config: Path, runtime: str, timeout: float, seed: int | None = None) -> None:
        with Site.of(load(config), runtime) as site:
            run = Run(site, timeout, config, runtime, random.randrange(2**32) if seed is None else seed)
            test(run)
            run.report.say("ok")

    options = [
        click.Option(["--config"], type=click.Path(path_type=Path), default=PROJECT / "sysconfig.json", help="The configuration; sysconfig.json by default."),
        click.Option(["--runtime"], type=click.Choice(["auto", "process", "docker"]), default="auto", help="Where the nodes run."),
        click.Option(["--timeout"], type=click.FloatRange(0, min_open=True), default=60.0, help="Seconds to wait for the nodes to catch up; 60 by default."),
    ]
    if seeded:
        options.append(click.Option(["--seed"], type=click.IntRange(0), help="Draw as the run that printed this seed did; a new one by default."))
    return click.Command(SCRIPT, params=options, callback=callback, help=test.__doc__, context_settings={"help_option_names": ["-h", "--help"]})


def _failed(error: OrchestratorError) -> int:
    print(error, file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1
