"""What the user of a connection has in hand, for one ``with`` block."""

import time
from functools import partial
from types import TracebackType
from typing import Any, Self

import psycopg2
from psycopg2 import extensions

from pgunison.pool import tokens
from pgunison.pool.errors import ConnectionLost, PartlyCommitted, PoolError, UnknownOutcome
from pgunison.pool.lanes import Lanes
from pgunison.pool.session import Session
from pgunison.pool.stock import Stock


class Borrowed:
    """A connection that is lent for a ``with`` block. In a group without autocommit the block is a transaction: its end commits, an exception rolls back."""

    __slots__ = ("_after", "_committed", "_group", "_key", "_node", "_session", "_stock", "_timeout_s")

    def __init__(self, stock: Stock, group: Lanes, key: str | None, after: str | None, timeout_s: float | None):
        self._stock, self._group, self._key, self._after, self._timeout_s = stock, group, key, after, timeout_s
        self._session: Session | None = None
        self._node: str | None = None
        # something of the block may stand, whatever becomes of the rest
        self._committed = False

    def __enter__(self) -> Self:
        if self._session is not None:
            raise PoolError("the block has begun already", "a connection is lent for one block", "call pool.connection() for each")
        session = self._session = self._lend()
        self._node = session.lane.endpoint.name
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        session = self._session
        if session is None:
            return
        if kind is None and self._group.group.autocommit and session.connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE:
            # what happens nearly always
            self._session = None
            self._stock.put(session)
            return
        unsettled = self._group.group.autocommit and not session.connection.closed
        try:
            if kind is None and not self._group.group.autocommit:
                self.commit()
        finally:
            self._session = None
            self._stock.end(session)
        if kind is None and unsettled:
            raise PoolError("the block left a transaction open, and it was rolled back", f"{self._group.name} commits each statement by itself",
                            "end what BEGIN began, or take a group without autocommit")

    def _lend(self) -> Session:
        stock, group, timeout_s = self._stock, self._group, self._timeout_s
        first: str | None = None
        if self._key is None and self._after is None and not group.waiting and (take := stock.router.choices[group.name].take) is not None:
            # what happens nearly always, with nothing that waits and no lock
            first = take()
            try:
                session = group.lanes[first].idle.pop()
            except (KeyError, IndexError):
                pass
            else:
                if session.alive():
                    session.limit_s = group.limit_s if timeout_s is None else timeout_s
                    return session
                stock.discard(session)
        return self._lend_slowly(first)

    def _lend_slowly(self, first: str | None) -> Session:
        group, key = self._group, self._key
        wait_s = group.group.timeout_s if self._timeout_s is None else self._timeout_s
        deadline = time.monotonic() + wait_s
        if self._after is not None:
            session = tokens.after(self._stock, group, key, self._after, deadline, wait_s)
        else:
            session = self._stock.take(group, lambda choice: choice.order(key, self._stock.busy, first), deadline, wait_s)
        session.limit_s = group.limit_s if self._timeout_s is None else self._timeout_s
        return session

    @property
    def node(self) -> str:
        """Return the name of the node that the connection leads to."""
        if self._node is None:
            raise PoolError("the block has not begun", "", "use it in a with statement")
        return self._node

    def query(self, statement: Any, parameters: Any = None) -> list[dict[str, Any]]:
        """Execute a statement, a text or a psycopg2.sql.Composable; returns its rows, none for one that answers with none.

        Raises psycopg2.Error for what PostgreSQL refuses; when the connection is lost, UnknownOutcome where the statement may have committed by itself, else
        PartlyCommitted where something of the block stands, else ConnectionLost.
        """
        rows = self._query(statement, parameters, commits=self._group.group.autocommit and self._group.writes)
        if self._group.writes and not self._committed and self._session is not None:
            # each statement does, and one that was a COMMIT, also where AND CHAIN has begun the next transaction
            said = self._session.cursor.statusmessage
            idle = self._session.connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE
            self._committed = said == "COMMIT" or (idle and said != "ROLLBACK")
        return rows

    def _query(self, statement: Any, parameters: Any = None, *, commits: bool = False) -> list[dict[str, Any]]:
        session = self._session or self._ended()
        cursor = session.cursor
        session.since = time.monotonic()
        try:
            cursor.execute(statement, parameters)
            if cursor.description is None:
                return []
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]
        except psycopg2.Error as error:
            if not session.connection.closed:
                raise
            raise self._lost(session, error, commits=commits) from error
        finally:
            session.since = 0.0

    def commit(self) -> None:
        """Commit what was done so far. UnknownOutcome when the connection is lost in it; PoolError where each statement commits by itself."""
        session = self._transaction()
        if session.connection.status == extensions.STATUS_READY:
            # nothing was done since the last one
            return
        if session.connection.closed or session.cut_because is not None:
            # no COMMIT is sent any more
            raise self._lost(session, psycopg2.OperationalError("it was lost before COMMIT"), commits=False)
        status = session.connection.get_transaction_status()
        if status == extensions.TRANSACTION_STATUS_INERROR:
            self.rollback()
            raise PoolError("nothing was committed: a statement of the transaction had failed", "PostgreSQL takes a COMMIT for a ROLLBACK then",
                            "let the error leave the block, or call rollback()")
        number = self._number() if self._group.writes and status == extensions.TRANSACTION_STATUS_INTRANS else None
        session.since = time.monotonic()
        try:
            session.connection.commit()
        except psycopg2.Error as error:
            if not session.connection.closed:
                raise
            # what only reads leaves nothing
            raise self._lost(session, error, commits=self._group.writes, number=number) from error
        finally:
            session.since = 0.0
        self._committed = self._committed or number is not None

    def _number(self) -> tokens.Numbered | None:
        """Ask for the number of the transaction, by which its outcome can be asked later; None when it has written nothing."""
        (row,) = self._query(f"SELECT pg_current_xact_id_if_assigned()::text AS number, {tokens.ERA} AS era")
        return None if row["number"] is None else tokens.Numbered(row["number"], row["era"])

    def rollback(self) -> None:
        """Undo what was done since the last commit; PoolError where each statement commits by itself."""
        session = self._transaction()
        session.since = time.monotonic()
        try:
            session.connection.rollback()
        except psycopg2.Error as error:
            raise self._lost(session, error, commits=False) from error
        finally:
            session.since = 0.0

    def token(self) -> str:
        """Return what a later read must have seen: all that was committed here, and all that was visible. For ``connection(..., after=token)``.

        Also behind the block. PoolError while a transaction has written and not committed: its place in the WAL is not known yet; and behind the block when
        its node does not tell it: then what the block committed stands all the same.
        """
        if self._session is None:
            node = self.node
            try:
                return self._token_behind(node)
            except (PoolError, psycopg2.Error) as error:
                said = error.message if isinstance(error, PoolError) else str(error).strip().partition("\n")[0]
                raise PoolError(f"the token cannot be had from {node}", said,
                                "what the block committed stands: ask for the token again, or read on that node") from error
        idle = self._session.connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE
        (found,) = self._query("SELECT unison.token() AS token, pg_current_xact_id_if_assigned() IS NULL AS settled")
        if not found["settled"]:
            raise PoolError("a token cannot be had before what was written is committed", f"a transaction of {self._group.name} is open",
                            "call commit() before, or token() behind the block")
        if idle and not self._group.group.autocommit:
            self.rollback()
        return str(found["token"])

    def _token_behind(self, node: str) -> str:
        session = self._stock.take(self._group, lambda _: [node], time.monotonic() + self._group.group.timeout_s, self._group.group.timeout_s)
        self._session = session
        try:
            return self.token()
        finally:
            self._session = None
            self._stock.end(session)

    def _transaction(self) -> Session:
        """Return the session of a block that is a transaction."""
        session = self._session or self._ended()
        if self._group.group.autocommit:
            raise PoolError(f"{self._group.name} commits each statement by itself", "there is no transaction to commit or to roll back",
                            'take a group with "autocommit": false')
        return session

    def _ended(self) -> Session:
        raise PoolError("the block has ended, and its connection with it", "", "borrow another one: pool.connection(...)")

    def _lost(self, session: Session, error: psycopg2.Error, *, commits: bool, number: tokens.Numbered | None = None) -> PoolError:
        life = self._stock.router.states[session.node].life if session.node in self._stock.router.states else None
        self._stock.router.suspect(session.node)
        detail = session.cut_because or str(error).strip().partition("\n")[0] or type(error).__name__
        if commits:
            ask = partial(tokens.outcome, self._stock, self._group, session.node, life, number) if number and life else None
            return UnknownOutcome(f"the connection to {session.node} was lost in COMMIT: what was done may stand or not", detail,
                                  "ask outcome(), or look for it, before doing it again", session.node, ask)
        if self._committed:
            return PartlyCommitted(f"the connection to {session.node} was lost", detail, "what was committed before stands; the rest does not", session.node)
        return ConnectionLost(f"the connection to {session.node} was lost", detail, "nothing of the block stands: it may be done again", session.node)
