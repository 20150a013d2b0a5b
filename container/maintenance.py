"""Maintenance: have it done again and again, and remember what of it fails."""

import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from esb_config.call import execute
from esb_config.document import document
from pgunison.contract.agent import AgentConfiguration
from services.errors import ServiceError

# A lock or a deadlock is nobody's concern: the next round does it.
WARN_AFTER_S = 6.0
# What failed for so long may be left undone for good, and rows may stand that no other node has.
UNREADY_AFTER_S = 300.0
# Two-phase commit takes a moment; what takes longer was forgotten.
FORGOTTEN_AFTER_S = 300.0
LOG_EVERY_S = 300.0

logger = logging.getLogger(__name__)


class Maintenance:
    """The maintenance of one node.

    ``warnings`` says what of it fails or is in its way, since when, and what to do; ``ailment`` is None, or why nobody
    can rely on the node because of that.
    """

    def __init__(self, configuration: AgentConfiguration, do: Callable[[Any], dict[str, Any]] = execute,
                 clock: Callable[[], float] = time.monotonic):
        self.warnings: list[str] = []
        self.ailment: str | None = None
        self._do, self._clock = do, clock
        self._failed_since: float | None = None
        self._logged: dict[str, float] = {}
        self._node = configuration.node
        self._call = document("node.maintain", Cluster={"id": configuration.cluster, "Node": {
            "name": configuration.node, "index": configuration.index, "database": configuration.database,
            **dict(configuration.upkeep)}})

    def round(self) -> dict[str, Any]:
        """Do one round, and return what the service answered. What fails is told by ``warnings`` and ``ailment``, and logged now and then."""
        try:
            done = self._do(self._call)
        except ServiceError as error:
            self._failed(f"{error.message}: {error.detail}")
            return {}
        except psycopg2.Error as error:
            # a lock that is held for long, a deadlock, a server that ends: the next round does it
            self._failed(error.diag.message_primary or type(error).__name__)
            return {}
        self._failed_since = None
        if done.get("swept"):
            logger.info("swept %d rows that a race had left behind their tombstones", done["swept"])
        if done.get("collected"):
            logger.info("collected %d tombstones that every member has applied", done["collected"])
        failing = [(each["table"], each["age_s"], each["reason"]) for each in done.get("failing", [])]
        self._judge(failing, [forgotten(each) for each in done.get("prepared", []) if each["age_s"] >= FORGOTTEN_AFTER_S]
                    + done.get("settings", []))
        return done

    def _failed(self, reason: str) -> None:
        now = self._clock()
        self._failed_since = now if self._failed_since is None else self._failed_since
        self._judge([("every table", int(now - self._failed_since), reason)], [])

    def _judge(self, failing: list[tuple[str, float, str]], others: list[str]) -> None:
        # the age of a forgotten transaction grows, and is no news
        self._log({f"{what}: {reason}": f"maintenance: {what}: {reason}" for what, _, reason in failing}
                  | {text.partition(" is prepared")[0]: text for text in others})
        said = [(age_s, f"the maintenance of {what} fails for {lasting(age_s)}: {reason}; {next_step(reason)}") for what, age_s, reason in failing]
        self.warnings = [text for age_s, text in said if age_s >= WARN_AFTER_S] + others
        self.ailment = next((text for age_s, text in said if age_s >= UNREADY_AFTER_S), None)

    def _log(self, lines: dict[str, str]) -> None:
        """Log what is new, or was not said for long; ``lines`` by what stays the same of them."""
        now = self._clock()
        for key, text in lines.items():
            if key not in self._logged or now - self._logged[key] >= LOG_EVERY_S:
                logger.warning("%s", text)
                self._logged[key] = now
        if self._logged and not lines:
            logger.info("maintenance is done again")
        self._logged = {key: at for key, at in self._logged.items() if key in lines}


def forgotten(prepared: dict[str, Any]) -> str:
    """Name a prepared transaction that nobody finishes: the barrier of every deletion, and of every new link."""
    gid = prepared["gid"].replace("'", "''")
    return (f"transaction '{gid}' of database {prepared['database']} is prepared for {lasting(prepared['age_s'])} and holds locks, deletions and new"
            f" links; COMMIT PREPARED '{gid}' or ROLLBACK PREPARED '{gid}' there")


def next_step(reason: str) -> str:
    """Say what to do about a failure."""
    if "lock timeout" in reason:
        return "end what holds the lock: see pg_locks, pg_stat_activity and pg_prepared_xacts"
    return "mend that, or run: python3 orchestrator.py up"


def lasting(seconds: float) -> str:
    """Write how long something lasts, as people say it."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
