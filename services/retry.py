"""Retry what met traffic: a change that lost against users' transactions is made again."""

import functools
import logging
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import psycopg2
import psycopg2.errors

from services.errors import ServiceError

# deadlock_detected, lock_not_available, serialization_failure: the transaction is undone whole, and the next one may succeed
PASSING = (psycopg2.errors.DeadlockDetected, psycopg2.errors.LockNotAvailable, psycopg2.errors.SerializationFailure)
PATIENCE_S = 60.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0

logger = logging.getLogger(__name__)

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def retried(method: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Let a service, which can be repeated, be called again while it meets conflicts of locks, for :data:`PATIENCE_S`.

    Between the attempts whoever waits behind the locks that were asked for gets on. ServiceError with what was met at last.
    """
    @functools.wraps(method)
    def call(*arguments: Given.args, **named: Given.kwargs) -> Answer:
        began, pause_s = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                return method(*arguments, **named)
            except PASSING as error:
                said = reason(error)
                if time.monotonic() + pause_s > began + PATIENCE_S:
                    raise ServiceError(f"users' transactions were in the way for {PATIENCE_S:.0f} s", said,
                                       "end what runs for long (pg_stat_activity says since when), and call again") from error
                logger.warning("%s: %s; trying again", method.__qualname__, said)
            time.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    return call


def reason(error: psycopg2.Error) -> str:
    """Say in one line what PostgreSQL met; without the statement, which may hold a secret."""
    context: Any = error.diag
    return " ".join(" ".join(filter(None, (context.message_primary, context.message_detail))).split()) or type(error).__name__
