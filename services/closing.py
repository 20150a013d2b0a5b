"""Closing: a node that is about to leave for good takes no writes; and its peers forget it."""


import psycopg2.extensions
from psycopg2 import sql

from pgunison.contract.names import link_name
from pgunison.contract.waiting import Late, wait_until
from services.driver import Cursor, one_row
from services.errors import ServiceError
from services.result import Result

TRIGGER = sql.Identifier("unison_closed")
# until a walsender that was told to end has ended
SLOT_TIMEOUT_S = 30.0


def close(cursor: Cursor, name: str) -> list[str]:
    """Close every replicated table: writers and readers lose it, and whoever else writes there gets an error. Returns the tables that were open.

    Waits for every transaction that has written there. ServiceError when one is prepared: nobody but who knows what it is may end it.
    """
    cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared")
    prepared = [psycopg2.extensions.adapt(gid).getquoted().decode() for (gid,) in cursor]
    if prepared:
        raise ServiceError(f"{name} cannot be closed: a transaction is prepared there", f"gid {', '.join(prepared)}",
                           f"COMMIT PREPARED {prepared[0]} or ROLLBACK PREPARED {prepared[0]} there, and call again")
    cursor.execute("UPDATE unison.replicated_table SET is_open = false WHERE is_open RETURNING schema_name, table_name")
    opened = [f"{schema}.{table}" for schema, table in cursor.fetchall()]
    cursor.execute("SELECT schema_name, table_name FROM unison.replicated_table ORDER BY 1, 2")
    for schema, table in cursor.fetchall():
        closed = sql.Identifier(schema, table)
        cursor.execute(sql.SQL("REVOKE SELECT, INSERT, UPDATE, DELETE ON {} FROM unison_writers, unison_readers").format(closed))
        cursor.execute(sql.SQL("CREATE OR REPLACE TRIGGER {} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {}"
                               " FOR EACH STATEMENT EXECUTE FUNCTION unison.refuse_write()").format(TRIGGER, closed))
    return opened


def let_write(cursor: Cursor, table: sql.Identifier) -> None:
    """Take from a table what :func:`close` has put there, if it has."""
    cursor.execute(sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(TRIGGER, table))


def drop_links(cursor: Cursor, node: str, peer: str, result: Result) -> None:
    """Drop the subscription of ``node`` to ``peer`` and the slot that ``peer`` took from, as a superuser in autocommit. Repeatable.

    The peer need not answer: its own slot goes with its data.
    """
    incoming, outgoing = link_name(peer, node), link_name(node, peer)
    cursor.execute("SELECT EXISTS (SELECT FROM pg_subscription WHERE subname = %s)", [incoming])
    if one_row(cursor)[0]:
        for statement in ("ALTER SUBSCRIPTION {} DISABLE", "ALTER SUBSCRIPTION {} SET (slot_name = NONE)", "DROP SUBSCRIPTION {}"):
            cursor.execute(sql.SQL(statement).format(sql.Identifier(incoming)))
        result.done.append(f"dropped subscription {incoming}")

    def held() -> str | None:
        cursor.execute("SELECT active_pid, pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active", [outgoing])
        row = cursor.fetchone()
        return f"walsender {row[0]} uses it" if row else None

    try:
        wait_until(held, f"nobody uses replication slot {outgoing}", SLOT_TIMEOUT_S, 0.1)
    except Late as late:
        raise ServiceError(f"replication slot {outgoing} is in use", late.last, f"stop {peer}, and call again") from late
    cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", [outgoing])
    if cursor.rowcount:
        result.done.append(f"dropped replication slot {outgoing}")


def forget_peer(cursor: Cursor, peer: str) -> None:
    """Forget what was kept for links that are gone, and remember that nothing comes of that node any more.

    Deletions no longer wait for it: those are the members to which there is a link (sql/collect.sql).
    """
    for table in ("seeded", "seed_piece", "doubtful"):
        cursor.execute(sql.SQL("DELETE FROM {} AS t WHERE NOT EXISTS (SELECT FROM pg_subscription AS s WHERE s.oid = t.subscription)").format(
            sql.Identifier("unison", table)))
    # a node that came later has never heard of it
    cursor.execute("INSERT INTO unison.member AS m (name, life, number, settled, gone) VALUES (%s, %s, 0, '{}', true)"
                   " ON CONFLICT (name) DO UPDATE SET gone = true", [peer, "00000000-0000-0000-0000-000000000000"])
