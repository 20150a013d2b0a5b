"""``balancer``: HAProxy over the live cluster, for clients that cannot use the pool."""

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from pgunison.balancer import Listening, haproxy
from pgunison.commands.call import Call
from pgunison.endpoints import Endpoints, find, read
from pgunison.errors import OrchestratorError
from pgunison.files import write_whole
from pgunison.program import as_called

# where Debian's package puts it, which is not on every user's path
PLACES = "/usr/sbin:/usr/local/sbin"
LOOK_EVERY_S = 0.5
STOP_TIMEOUT_S = 5.0
# Ctrl-C, whoever keeps us (systemd), and a terminal that goes
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def balancer(call: Call, listening: Listening, max_lag_s: float, only_print: bool) -> None:
    """Print the configuration, or run HAProxy with it until one of ``ENDING`` comes, and have it read anew when nodes come or go."""
    path = find(call.configuration.id, call.runtime)
    endpoints = read(path)
    if only_print:
        print(as_called(haproxy(endpoints, listening, max_lag_s)), end="")
        return
    program = found_program()
    file = path.with_name("haproxy.cfg")
    write_whole(file, as_called(haproxy(endpoints, listening, max_lag_s)))
    _require_valid(program, file)
    with _heard() as ended, _running(program, file) as process:
        print(f"write: {listening.address}:{listening.write}  read: {listening.address}:{listening.read}"
              f"  statistics: http://{listening.address}:{listening.statistics}/", flush=True)
        _follow(process, ended, path, file, endpoints, listening, max_lag_s)


def found_program() -> str:
    """Find HAProxy; OrchestratorError where it is not installed."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path=PLACES)
    if program is None:
        raise OrchestratorError("there is no HAProxy on this machine", "no program haproxy is on the path or in /usr/sbin",
                                "apt-get install haproxy; or take the configuration elsewhere: python3 orchestrator.py balancer --print")
    return program


def _follow(process: subprocess.Popen[bytes], ended: Callable[[], bool], path: Path, file: Path, known: Endpoints, listening: Listening,
            max_lag_s: float) -> None:
    """Wait until we are asked to end, or HAProxy ends, which is an error; reload it when the endpoints change."""
    while process.poll() is None and not ended():
        time.sleep(LOOK_EVERY_S)
        # half a cluster is none: up writes the file as a whole, and down --purge removes it
        with contextlib.suppress(OrchestratorError):
            if (found := read(path)) != known:
                known = found
                write_whole(file, as_called(haproxy(found, listening, max_lag_s)))
                process.send_signal(signal.SIGUSR2)
                print(f"nodes: {', '.join(node.name for node in found.nodes) or 'none'}", flush=True)
    # Ctrl-C reaches both of us
    if not ended():
        raise OrchestratorError("HAProxy has ended", f"exit status {process.returncode}", "what it said stands above; is one of the ports taken?")


@contextlib.contextmanager
def _heard() -> Iterator[Callable[[], bool]]:
    """From here on the signals of ``ENDING`` are taken note of; gives what tells whether one has come. An exception could leave a HAProxy that just starts."""
    heard: list[int] = []
    # what a shell had us ignore stays ignored
    numbers = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, frame: heard.append(number)) for number in numbers}
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _running(program: str, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    # -W: a master, which takes SIGUSR2 for a reload without dropping a connection; -db: in the foreground
    process = subprocess.Popen([program, "-W", "-db", "-f", file], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _require_valid(program: str, file: Path) -> None:
    done = subprocess.run([program, "-c", "-q", "-f", file], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise OrchestratorError("HAProxy refuses the configuration", said[0] if said else f"exit status {done.returncode}", f"{program} -c -f {file}")


@click.command("balancer")
@click.option("--print", "only_print", is_flag=True, help="Print HAProxy's configuration, and do nothing.")
@click.option("--address", default="127.0.0.1", help="Where it listens; 127.0.0.1 by default.")
@click.option("--write", type=click.IntRange(1, 65535), default=5000, help="The port to write; 5000 by default.")
@click.option("--read", type=click.IntRange(1, 65535), default=5001, help="The port to read; 5001 by default.")
@click.option("--statistics", type=click.IntRange(1, 65535), default=5002, help="The port of the statistics page; 5002 by default.")
@click.option("--max-lag", type=click.FloatRange(0), default=10.0, help="How many seconds a node may be behind for readers; 10 by default.")
@click.pass_obj
def command(call: Call, only_print: bool, address: str, write: int, read: int, statistics: int, max_lag: float) -> None:
    """Run HAProxy over the cluster: a port to write, one to read, and a page; until it is interrupted."""
    balancer(call, Listening(address, write, read, statistics), max_lag, only_print)
