"""The fight: writers that change the same rows through the pool, each transaction and its answer kept as history."""

import contextlib
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2 import sql

from byhand.history import History, Operation
from byhand.run import Run
from byhand.spread import Spread
from pgunison.configuration.sysconfig import Group
from pgunison.pool import Borrowed, ConnectionLost, Pool, Unavailable, UnknownOutcome

TRIES = 5


class Fight:
    """Change rows of a run; ``history`` is what was done, ``spread`` where. Threads may share it."""

    def __init__(self, run: Run, pool: Pool):
        self.history, self.spread = History(), Spread()
        self._run, self._pool = run, pool
        answer = "RETURNING id, modified_ts, modified_node"
        self._insert = sql.SQL(f"INSERT INTO {{}} (col1, col2) VALUES (%s, %s) {answer}").format(run.table)
        self._update = sql.SQL(f"UPDATE {{}} SET col2 = %s WHERE id = %s {answer}").format(run.table)
        self._delete = sql.SQL("DELETE FROM {} WHERE id = %s RETURNING id").format(run.table)

    def insert(self, group: Group, value: str, updated: str | None = None) -> int:
        """Insert a row, and with ``updated`` update it in the same transaction; returns its key. What fails is raised, but where nothing stands it is done
        again, as an application does."""

        def work(db: Borrowed) -> dict:
            (row,) = db.query(self._insert, [self._run.id, value])
            return row if updated is None else db.query(self._update, [updated, row["id"]])[0]

        node, row = again(lambda: self._transact(group, work))
        self.history.add(Operation(row["id"], node, "ok", updated or value, version(row)))
        return row["id"]

    def update(self, group: Group, key: int, *values: str) -> None:
        """Give a row one value after the other; in a group without autocommit that is one transaction."""
        self._compete(group, key, values[-1], lambda db: [first(db.query(self._update, [value, key])) for value in values][-1])

    def delete(self, group: Group, key: int) -> None:
        """Delete a row."""
        self._compete(group, key, None, lambda db: first(db.query(self._delete, [key])))

    def _compete(self, group: Group, key: int, value: str | None, work: Callable) -> None:
        try:
            node, row = self._transact(group, work)
        except (psycopg2.Error, Unavailable):
            self.history.add(Operation(key, "", "failed", value))
        except UnknownOutcome as error:
            self.history.add(Operation(key, error.node, "unknown", value))
        else:
            self.history.add(Operation(key, node, "ok" if row else "missed", value, version(row) if row and value is not None else None))

    def _transact(self, group: Group, work: Callable) -> tuple:
        with self._pool.connection(group.name) as db, self.spread.measured(group.name, db.node):
            row = work(db)
            if not group.autocommit:
                db.commit()
        return db.node, row


def again(work: Callable[[], Any]) -> Any:
    """Do a transaction, and where it was lost before its COMMIT once more: nothing of it stands. On a busy machine the pool may take a node for frozen."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(ConnectionLost):
            return work()
    return work()


def first(rows: list[dict]) -> dict | None:
    """Return the only row of an answer, None when there is none."""
    return rows[0] if rows else None


def version(row: dict) -> tuple:
    """Return the version of a row, as the history knows it."""
    return row["modified_ts"], row["modified_node"]
