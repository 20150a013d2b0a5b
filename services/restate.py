"""Restate: what a node sends again of a table whose merge was off for a while, before it merges all that its peers hold of it.

Versions do not tell what was written meanwhile, so contents are compared. A row of an equal version and another content gets the next version,
one microsecond later: it is what somebody wrote last where it was written, and everything that was written properly since wins over it. A row that the
peer does not have in this version or a later one is sent as it is. What the peer has and this node has not comes back with the seed, so a deletion
that left no tombstone is undone. See docs/decisions/0014-the-guard.md.
"""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager

from psycopg2 import sql

from services import shape, statements
from services.driver import Connection, Cursor, one_row


def restate(connection: Connection, open_peer: Callable[[], AbstractContextManager[Connection]], subscription: str,
            node_index: int, owner: str) -> int | None:
    """Send again what the peer of a subscription lacks of its doubtful tables; returns how many rows there were, None without such a table.

    ``connection`` is in autocommit mode and is left so. Repeatable: a table is doubtful until what it lacks is sent.
    """
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM unison.doubtful WHERE subscription NOT IN (SELECT oid FROM pg_subscription)")
        cursor.execute("SELECT d.schema_name, d.table_name FROM unison.doubtful AS d JOIN pg_subscription AS s ON s.oid = d.subscription"
                       " WHERE s.subname = %s ORDER BY 1, 2", [subscription])
        tables = cursor.fetchall()
        if not tables:
            return None
        connection.autocommit = False
        try:
            rows = 0
            for schema, table in tables:
                rows += _restate_table(cursor, open_peer, shape.read(cursor, schema, table), node_index, owner)
                cursor.execute("DELETE FROM unison.doubtful AS d USING pg_subscription AS s WHERE s.oid = d.subscription AND s.subname = %s"
                               " AND (d.schema_name, d.table_name) = (%s, %s)", [subscription, schema, table])
                connection.commit()
            return rows
        finally:
            connection.rollback()
            connection.autocommit = True


def _restate_table(cursor: Cursor, open_peer: Callable[[], AbstractContextManager[Connection]], found: shape.Shape,
                   node_index: int, owner: str) -> int:
    names = found.parts(node_index)["names"] | {"stored": statements.joined(found.stored), "t_stored": statements.joined(found.stored, "t"),
                                                "p_key": statements.joined(list(found.key), "p"), "owner": sql.Identifier(owner)}
    # the whole table is read at both ends
    cursor.execute("SET LOCAL statement_timeout = 0")
    cursor.execute(sql.SQL("SET LOCAL ROLE {owner}; CREATE TEMPORARY TABLE unison_peer_rows ON COMMIT DROP AS"
                           " SELECT {key}, modified_ts, modified_node, 0::bigint AS mark FROM {table} WITH NO DATA").format(**names))
    with tempfile.TemporaryFile() as file:
        with open_peer() as peer, peer.cursor() as source:
            source.copy_expert(sql.SQL("COPY (SELECT {key}, modified_ts, modified_node, hashtextextended(ROW({stored})::text, 0) FROM {table})"
                                       " TO STDOUT").format(**names), file)
        file.seek(0)
        cursor.copy_expert("COPY pg_temp.unison_peer_rows FROM STDIN", file)
    cursor.execute(statements.render("restate", cursor, **names))
    sent: int = one_row(cursor)[0]
    cursor.execute("SET LOCAL ROLE NONE")
    return sent
