"""The agent: one program a node, the same in a container and as a plain process.

``python3 -m container.agent CONFIGURATION.json`` runs until SIGTERM, which stops the node's PostgreSQL fast and clean. With ``stop`` behind
the configuration it stops the PostgreSQL that a dead agent left behind.
"""

import fcntl
import logging
import logging.handlers
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn

from container.certificates import Certificates
from container.heart import Heart
from container.keeper import Keeper
from container.postgresql import Postgresql
from container.protocol import PromptProtocol
from container.readiness import Answer, Readiness
from container.web import application
from esb_config.call import execute
from esb_config.document import document
from pgunison.contract.agent import AgentConfiguration
from pgunison.contract.phase import in_words
from services.errors import ServiceError
from services.pulse import Pulse
from services.server import Server, configure

# so long after its start a node waits for peers who know whether its data is the newest there is of it
PEERS_S = 15.0
LOCK_PATIENCE_S = 0.5
LOG_LIMIT_BYTES = 4 * 1024 * 1024

logger = logging.getLogger("container.agent")


def main() -> int:
    """Run the agent of the configuration that the command line names; returns the exit status."""
    try:
        configuration = AgentConfiguration.load(Path(sys.argv[1]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return failed(f"{sys.argv[1]} cannot be used: {type(error).__name__}: {error}")
    log_to(configuration.directory / "agent.log", configuration.console)
    # A bare descriptor, because a file object would be closed when this function returns, and the lock must be held until the process is gone.
    lock = os.open(configuration.directory / "agent.lock", os.O_RDWR | os.O_CREAT, 0o644)
    if not take(lock):
        return failed("another agent keeps this node")
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    if sys.argv[2:] == ["stop"]:
        Postgresql(configuration).stop()
        return 0
    # asyncio sets TCP_NODELAY only where the protocol is named: without it every answer waits 40 ms for an acknowledgement
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((configuration.address, configuration.agent_port))
    except OSError as error:
        return failed(f"port {configuration.agent_port} of {configuration.address} is not free: {error.strerror}")
    listener.listen(64)
    token = configuration.token_file.read_text(encoding="utf-8").strip()
    certificates: Certificates | None = None
    secured: dict[str, Any] = {}
    if configuration.tls:
        certificates = presented = Certificates(configuration.tls)
        try:
            certificates.load()
        except OSError as error:
            return failed(f"the certificates in {configuration.tls} cannot be used: {error}")
        secured = {"ssl_context_factory": lambda *_: presented.context}
    configure(Server(str(configuration.socket_directory), configuration.postgresql_port,
                     root_certificate=str(certificates.authorities) if certificates else None,
                     log_directory=configuration.log_directory))
    keeper = Keeper(configuration, certificates)
    readiness = Readiness(lambda: keeper.ailment() or keeper.unkept(), lambda: not_ready(configuration, keeper))
    heart = Heart(Pulse(configuration.database).ask)
    answer = Answer(readiness.reason, lambda: beat(keeper, heart))
    web = application(token, lambda: health(configuration, keeper), answer.of, keeper.refused)
    server = uvicorn.Server(uvicorn.Config(web, http=PromptProtocol, log_config=None, access_log=False, lifespan="off",
                                           timeout_graceful_shutdown=2, **secured))

    def end(*_: object) -> None:
        server.should_exit = True

    # Before there is a PostgreSQL, which has to be stopped. uvicorn has handlers of its own while it serves, and raises the signal again afterwards.
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, end)
    keeper.start()
    logger.info("agent of %s listens at %s:%d", configuration.node, configuration.address, configuration.agent_port)
    server.run(sockets=[listener])
    keeper.stop()
    return 0


def take(lock: int) -> bool:
    """Take the lock on the open file; False when somebody keeps it. Who only asks whether it is taken has it for a moment (pgunison/runtime/process.py)."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)


def health(configuration: AgentConfiguration, keeper: Keeper) -> dict[str, Any]:
    """Say whose agent this is, and how its PostgreSQL does."""
    return {"cluster": configuration.cluster, "node": configuration.node, "problem": keeper.ailment(), "failures": keeper.failures,
            "warnings": keeper.warnings, "unkept": keeper.unkept()}


def beat(keeper: Keeper, heart: Heart) -> tuple[str | None, dict[str, Any]]:
    """Ask PostgreSQL how it does, unless its keeper knows that it does not run, which it says itself."""
    return heart.beat() if keeper.ailment() is None else (None, {})


def not_ready(configuration: AgentConfiguration, keeper: Keeper) -> str | None:
    """Say why the node may not serve, None when it may."""
    if (ailment := keeper.ailment() or keeper.unkept()) is not None:
        return ailment
    try:
        found = execute(document("node.describe", Cluster={"id": configuration.cluster, "Node": {
            "name": configuration.node, "index": configuration.index, "database": configuration.database}}))
    except ServiceError as error:
        return f"{error.message}: {error.detail}"
    if found["stale"]:
        return str(found["stale"])
    silent = [sender["target"] for sender in found["senders"] if not sender["told"]]
    if silent and found.get("up_s", PEERS_S) < PEERS_S:
        return f"the server has just started, and {', '.join(silent)} has not said yet what it has of this node: it may be an old copy"
    if not found["serving"]:
        return "the node has not joined the cluster yet"
    if found["drained"]:
        return in_words(found["drained"])
    return next((f"{table['schema']}.{table['name']}: {table['fault']}" for table in found["tables"] if table["fault"]), None)


def log_to(path: Path, console: bool) -> None:
    """Log to a file that cannot grow without bound, and to stderr if it is kept elsewhere."""
    handlers: list[logging.Handler] = [
        logging.handlers.RotatingFileHandler(path, maxBytes=LOG_LIMIT_BYTES, backupCount=1, encoding="utf-8")]
    handlers += [logging.StreamHandler()] if console else []
    logging.basicConfig(level=logging.INFO, handlers=handlers, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def failed(reason: str) -> int:
    """Log why the agent cannot run, tell it to whoever started it, and return the exit status."""
    logger.error("%s", reason)
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
