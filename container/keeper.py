"""The keeper: a thread that sees to it that the node's PostgreSQL runs, and its maintenance is done."""

import logging
import threading

from container.certificates import Certificates
from container.maintenance import Maintenance
from container.pace import Pacer
from container.postgresql import Postgresql, PostgresqlError
from pgunison.contract.agent import AgentConfiguration

START_TIMEOUT_S = 120.0
MAINTAIN_EVERY_S = 2.0
LONGEST_PAUSE_S = 15.0

logger = logging.getLogger(__name__)


class Keeper(threading.Thread):
    """Start PostgreSQL, watch it, start it again when it ends, until :meth:`stop`.

    ``problem`` is None while the server accepts connections, and otherwise says why it does not; ``failures`` counts the attempts to start it
    that failed in a row.
    """

    def __init__(self, configuration: AgentConfiguration, certificates: Certificates | None = None):
        super().__init__(name="keeper", daemon=True)
        self.problem: str | None = "PostgreSQL is being started"
        self.failures = 0
        self._server = Postgresql(configuration)
        self._pacer = Pacer(self._server, MAINTAIN_EVERY_S)
        self._certificates = certificates
        self._stopping = threading.Event()
        self._maintenance = Maintenance(configuration)

    def run(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            try:
                pid = self._start()
            except Exception as error:
                # whatever it is, nobody else would try again
                self.problem, self.failures = str(error), self.failures + 1
                logger.error("%s", error, exc_info=None if isinstance(error, (PostgresqlError, OSError)) else error)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2 + 0.5)
                continue
            self.problem, self.failures, pause_s = None, 0, 0.0
            logger.info("PostgreSQL runs as process %d", pid)
            while not self._stopping.is_set() and not self._server.wait_end(pid, MAINTAIN_EVERY_S):
                self._care()
            if not self._stopping.is_set():
                self.problem = f"PostgreSQL ended unexpectedly: {self._server.last_words()}"
                logger.error("%s; starting it again", self.problem)

    def _start(self) -> int:
        if self._server.make():
            logger.info("made the data directory")
        pid = self._server.start()
        self._server.await_connections(pid, START_TIMEOUT_S)
        return pid

    def _care(self) -> None:
        """Do what is due now and then. A fault of ours is logged, and leaves no server without its keeper."""
        try:
            self._renew()
            self._pacer.see(self._maintenance.round())
        except Exception as error:
            logger.error("a fault of the agent: %s: %s", type(error).__name__, error, exc_info=error)

    def ailment(self) -> str | None:
        """Say why nobody can rely on PostgreSQL here, None when all is well."""
        return self.problem if self.is_alive() else self.problem or "the keeper of PostgreSQL has died: restart the agent"

    @property
    def warnings(self) -> list[str]:
        """What is wrong here although PostgreSQL runs: what, since when, and the next step."""
        return self._maintenance.warnings

    def unkept(self) -> str | None:
        """Say what of the maintenance has failed for so long that nobody can rely on the rows here, None when all is well."""
        return self._maintenance.ailment

    def refused(self, settings: tuple[tuple[str, str], ...]) -> str | None:
        """Say why PostgreSQL would not start with these further settings, None when it would; PostgresqlError or OSError when it cannot be asked."""
        return self._server.refused(settings)

    def stop(self) -> None:
        """Stop PostgreSQL fast and clean, and the thread."""
        self.problem = "PostgreSQL is being stopped"
        self._stopping.set()
        self.join(timeout=5)
        try:
            self._server.stop()
            logger.info("PostgreSQL is stopped")
        except PostgresqlError as error:
            logger.error("%s", error)

    def _renew(self) -> None:
        """Take certificates that the host replaced; connections that stand keep theirs."""
        try:
            if self._certificates and self._certificates.load():
                self._server.reload()
                logger.info("took new certificates")
        except OSError as error:
            # half written just now, or wrong: the old ones stay
            logger.warning("the certificates cannot be used: %s", error)
