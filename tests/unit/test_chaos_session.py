"""chaos/session.py: an operation ends ok, failed or unknown, and unknown only when its commit was under way."""

import psycopg2
import psycopg2.errors
import pytest

from chaos.session import Session


class Connection:
    """A connection that fails at a statement, alive or lost."""

    def __init__(self, at: str, error: Exception, *, lost: bool):
        self.at, self.error, self.lost = at, error, lost
        self.closed = 0
        self.said: list[str] = []
        self.description = None

    def cursor(self) -> "Connection":
        return self

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exception) -> None:
        pass

    def execute(self, statement: str, parameters=None) -> None:
        self.said.append(statement.split(" ISOLATION")[0])
        if self.said[-1] == self.at:
            self.closed = int(self.lost)
            raise self.error

    def close(self) -> None:
        self.closed = 1


def ending(connection: Connection, *, transaction: bool) -> str | None:
    session = Session(connection)
    with pytest.raises(psycopg2.Error) as found:
        if transaction:
            with session.transaction():
                session.execute("UPDATE")
        else:
            session.execute("UPDATE")
    return session.ending(found.value)


LOST = psycopg2.OperationalError("server closed the connection unexpectedly")
TAKEN, DEADLOCK, SYNTAX, FULL = (psycopg2.errors.lookup(code)("refused") for code in ("23505", "40P01", "42601", "53100"))


class Coded(psycopg2.OperationalError):
    """An error with a code, which psycopg2 sets only itself."""

    def __init__(self, code: str):
        super().__init__("refused")
        self.code = code

    @property
    def pgcode(self) -> str:
        return self.code


@pytest.mark.parametrize(("at", "transaction", "expected"), [
    ("UPDATE", False, "unknown"), ("BEGIN", True, "failed"), ("UPDATE", True, "failed"), ("COMMIT", True, "unknown")])
def test_a_lost_connection(at, transaction, expected):
    connection = Connection(at, LOST, lost=True)
    assert ending(connection, transaction=transaction) == expected
    assert connection.closed and "ROLLBACK" not in connection.said


@pytest.mark.parametrize("code", ["23505", "40P01", "40001", "53100", "55P03", "57014", "58030"])
@pytest.mark.parametrize(("at", "transaction"), [("UPDATE", False), ("UPDATE", True), ("COMMIT", True)])
def test_a_refusal_leaves_nothing(code, at, transaction):
    connection = Connection(at, Coded(code), lost=False)
    assert ending(connection, transaction=transaction) == "failed"
    assert not connection.closed


def test_a_server_that_ends_us_may_have_committed():
    assert ending(Connection("UPDATE", Coded("57P01"), lost=False), transaction=False) == "unknown"


@pytest.mark.parametrize("code", ["42601", "23503", "22001", "XX000"])
def test_what_should_not_be_met(code):
    assert ending(Connection("UPDATE", Coded(code), lost=False), transaction=False) is None


def test_what_a_workload_may_meet_beside_that():
    session = Session(Connection("UPDATE", Coded("23503"), lost=False))
    with pytest.raises(psycopg2.Error) as met:
        session.execute("UPDATE")
    assert session.ending(met.value) is None
    assert session.ending(met.value, ("23503",)) == "failed"


@pytest.mark.parametrize(("at", "expected"), [("UPDATE", "failed"), ("PREPARE TRANSACTION 'name'", "unknown")])
def test_a_transaction_that_is_prepared(at, expected):
    connection = Connection(at, LOST, lost=True)
    session = Session(connection)
    with pytest.raises(psycopg2.Error) as met, session.transaction(prepare="name"):
        session.execute("UPDATE")
    assert session.ending(met.value) == expected
    assert "COMMIT" not in connection.said


def test_a_failed_statement_is_rolled_back():
    connection = Connection("UPDATE", Coded("40001"), lost=False)
    ending(connection, transaction=True)
    assert connection.said == ["BEGIN", "UPDATE", "ROLLBACK"]
