"""The fight: writers that change the same rows through the balancer, each transaction and its answer kept as history."""

from collections.abc import Callable

import psycopg2
from pgdbpool.pool import DBQueryError
from psycopg2 import sql

from byhand.history import History, Operation
from byhand.run import Run
from byhand.spread import Spread
from pgunison.balance import Balancer, sqlstate
from pgunison.configuration.sysconfig import Group


class Fight:
    """Change rows of a run; ``history`` is what was done, ``spread`` where. Threads may share it."""

    def __init__(self, run: Run, balancer: Balancer):
        self.history, self.spread = History(), Spread()
        self._run, self._balancer = run, balancer
        answer = "RETURNING id, modified_ts, modified_node"
        self._insert = sql.SQL(f"INSERT INTO {{}} (col1, col2) VALUES (%s, %s) {answer}").format(run.table)
        self._update = sql.SQL(f"UPDATE {{}} SET col2 = %s WHERE id = %s {answer}").format(run.table)
        self._delete = sql.SQL("DELETE FROM {} WHERE id = %s RETURNING id").format(run.table)

    def insert(self, group: Group, value: str, updated: str | None = None) -> int:
        """Insert a row, and with ``updated`` update it in the same transaction; returns its key. What fails is raised."""

        def work(db) -> tuple:
            row = db.query(self._insert, [self._run.id, value]).fetchone()
            return row if updated is None else db.query(self._update, [updated, row[0]]).fetchone()

        node, row = self._transact(group, work)
        self.history.add(Operation(row[0], node, "ok", updated or value, tuple(row[1:])))
        return row[0]

    def update(self, group: Group, key: int, *values: str) -> None:
        """Give a row one value after the other; in a group without autocommit that is one transaction."""
        self._compete(group, key, values[-1], lambda db: [db.query(self._update, [value, key]).fetchone() for value in values][-1])

    def delete(self, group: Group, key: int) -> None:
        """Delete a row."""
        self._compete(group, key, None, lambda db: db.query(self._delete, [key]).fetchone())

    def _compete(self, group: Group, key: int, value: str | None, work: Callable) -> None:
        try:
            node, row = self._transact(group, work)
        except (DBQueryError, psycopg2.Error) as error:
            self.history.add(Operation(key, "", "failed" if rolled_back(error) else "unknown", value))
            return
        version = tuple(row[1:]) if row and value is not None else None
        self.history.add(Operation(key, node, "ok" if row else "missed", value, version))

    def _transact(self, group: Group, work: Callable) -> tuple:
        with self._balancer.handler(group.name) as db:
            node = self._balancer.node(db)
            with self.spread.measured(group.name, node):
                row = work(db)
                if not group.autocommit:
                    db.commit()
        return node, row


def rolled_back(error: BaseException) -> bool:
    """Tell whether an error says that its transaction left nothing: PostgreSQL's own do, unless the connection was lost or is ended by them."""
    code = sqlstate(error)
    return code is not None and not code.startswith(("08", "57P"))
