"""What is retried, how often, and what is said at the end."""

import psycopg2.errors
import pytest

from services import retry
from services.errors import ServiceError
from services.retry import retried


class Service:
    def __init__(self, *failures: Exception):
        self.failures, self.calls = list(failures), 0

    @retried
    def change(self, word: str) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return word


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)


@pytest.mark.parametrize("kind", ["DeadlockDetected", "LockNotAvailable", "SerializationFailure"])
def test_what_passes_is_retried(kind):
    service = Service(*[getattr(psycopg2.errors, kind)("once")] * 2)
    assert service.change("done") == "done"
    assert service.calls == 3


@pytest.mark.parametrize("error", [ServiceError("no"), psycopg2.errors.UniqueViolation("no"), psycopg2.OperationalError("gone")])
def test_what_stays_is_not(error):
    service = Service(error)
    with pytest.raises(type(error)):
        service.change("done")
    assert service.calls == 1


def test_it_ends_with_the_reason(monkeypatch):
    monkeypatch.setattr(retry, "PATIENCE_S", 0.05)
    with pytest.raises(ServiceError) as refused:
        Service(*[psycopg2.errors.LockNotAvailable("again")] * 1000).change("done")
    assert "in the way" in refused.value.message and refused.value.detail == "LockNotAvailable"
