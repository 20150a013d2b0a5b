"""Subscription: what this node takes from one peer."""

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.extensions
from microesb import microesb
from psycopg2 import sql

from pgunison.contract.names import PUBLICATION, link_name
from services.driver import Connection, Cursor, one_row
from services.errors import ServiceError
from services.restate import restate
from services.result import Result
from services.retry import retried
from services.seed import ensure_origin, seed, unseeded
from services.server import UNSEEN, administer, change, options, security, unlimit

if TYPE_CHECKING:
    # for annotations only: importing these when the program runs would be a circle
    from services.node import Node

SLOT_TIMEOUT_S = 120
# a seed reads range by range of a key, which its index gives in order, however little the planner knows of the table
IN_KEY_ORDER = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}


class Subscription(microesb.ClassHandler):
    """The subscription to the peer ``source``, reached at ``host`` and ``port`` as ``user``."""

    source: str
    host: str
    port: int
    user: str
    password: str
    parent_object: "Node"

    @retried
    def set_up(self) -> Result:
        """Make the slot and the subscription, let the changes flow, merge what the peer held before the slot.

        Repeatable, and it continues where an earlier call was interrupted.
        """
        result = Result()
        node = self.parent_object
        name = link_name(self.source, node.name)
        # a slot waits for the peer's running transactions
        settings = UNSEEN | {"statement_timeout": f"{SLOT_TIMEOUT_S}s"}
        with (change(node.database, autocommit=True) as connection, connection.cursor() as cursor,
              administer(node.database, autocommit=True, settings=settings) as administration, administration.cursor() as superuser):
            owner = node.require_prepared(cursor)
            self._create(superuser, name, owner, result)
            if self._incomplete(cursor, name):
                self._refresh(superuser, name, result)
            doubtful = restate(connection, self._peer, name, node.index, owner)
            if doubtful is not None:
                result.done.append(f"sent {doubtful} rows again that {self.source} held otherwise")
            # before the seed: a slot that nobody streams from would keep all of the peer's WAL meanwhile, up to its limit
            cursor.execute("SELECT subenabled FROM pg_subscription WHERE subname = %s", [name])
            if not one_row(cursor)[0]:
                superuser.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(name)))
                result.done.append(f"enabled {name}")
            if unseeded(cursor, name):
                ensure_origin(superuser)
                rows, sentences = seed(connection, self._peer, name)
                result.done += [f"merged {rows} rows and tombstones of {self.source}", *sentences]
        return result

    def _conninfo(self) -> str:
        # a peer that is frozen or cut off must not hold the worker: it notices within half a minute
        return psycopg2.extensions.make_dsn(
            host=self.host, port=self.port, dbname=self.parent_object.database, user=self.user, password=self.password,
            connect_timeout=5, keepalives_idle=10, keepalives_interval=5, keepalives_count=3, tcp_user_timeout=20000, **security())

    def _create(self, cursor: Cursor, name: str, owner: str, result: Result) -> None:
        cursor.execute("SELECT subconninfo, pg_get_userbyid(subowner) FROM pg_subscription WHERE subname = %s", [name])
        found = cursor.fetchone()
        if found is not None and not self._slot_exists(name):
            # without its slot a subscription has lost changes: made anew, it merges all that the peer holds
            for statement in ("ALTER SUBSCRIPTION {} DISABLE", "ALTER SUBSCRIPTION {} SET (slot_name = NONE)", "DROP SUBSCRIPTION {}"):
                cursor.execute(sql.SQL(statement).format(sql.Identifier(name)))
            result.done.append(f"dropped {name}, whose replication slot was lost")
            found = None
        if found is None:
            self._create_with_slot(cursor, name)
            result.done.append(f"subscribed to {self.source}")
        elif found[0] != self._conninfo():
            cursor.execute(sql.SQL("ALTER SUBSCRIPTION {} CONNECTION {}").format(sql.Identifier(name), sql.Literal(self._conninfo())))
            result.done.append(f"renewed the connection of {name}")
        if found is None or found[1] != owner:
            cursor.execute(sql.SQL("ALTER SUBSCRIPTION {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(owner)))

    def _create_with_slot(self, cursor: Cursor, name: str) -> None:
        statement = sql.SQL("CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {}"
                            " WITH (copy_data = false, origin = none, enabled = false, streaming = off, slot_name = {})").format(
                                sql.Identifier(name), sql.Literal(self._conninfo()), sql.Identifier(PUBLICATION), sql.Literal(name))
        try:
            try:
                cursor.execute(statement)
            except psycopg2.errors.QueryCanceled:
                raise
            except psycopg2.Error:
                if not self._drop_stale_slot(name):
                    raise
                cursor.execute(statement)
        except psycopg2.errors.QueryCanceled as error:
            raise self._slot_waits() from error
        except psycopg2.Error as error:
            raise ServiceError(f"cannot subscribe to {self.source}", str(error).strip().splitlines()[0],
                               f"is PostgreSQL at {self.host}:{self.port} up?") from error

    def _slot_waits(self) -> ServiceError:
        """Say what the slot waits for: a prepared transaction, of any database, where there is one; nobody sees those in pg_stat_activity."""
        with self._peer() as peer, peer.cursor() as cursor:
            cursor.execute("SELECT gid, database, extract(epoch FROM clock_timestamp() - prepared)::bigint FROM pg_prepared_xacts ORDER BY prepared LIMIT 5")
            prepared = cursor.fetchall()
        message = f"no replication slot on {self.source} within {SLOT_TIMEOUT_S} s"
        if not prepared:
            return ServiceError(message, "a transaction that wrote before runs there still", "end it (see pg_stat_activity there) and call again")
        named = [(psycopg2.extensions.adapt(gid).getquoted().decode(), database, age_s) for gid, database, age_s in prepared]
        return ServiceError(message, "; ".join(f"transaction {gid} of database {database} there is prepared for {age_s} s" for gid, database, age_s in named),
                            f"COMMIT PREPARED {named[0][0]} or ROLLBACK PREPARED {named[0][0]} in database {named[0][1]} there, and call again")

    def _slot_exists(self, name: str) -> bool:
        with self._peer() as peer, peer.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s AND wal_status <> 'lost')", [name])
            return bool(one_row(cursor)[0])

    def _drop_stale_slot(self, name: str) -> bool:
        """Drop the slot that an interrupted call left on the peer, if it did: what it holds back was never promised to anybody."""
        with self._peer() as peer, peer.cursor() as cursor:
            cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active", [name])
            return bool(cursor.rowcount)

    def _incomplete(self, cursor: Cursor, name: str) -> bool:
        """Tell whether tables were set up and published after the subscription was made."""
        cursor.execute("SELECT count(*) FROM (SELECT 'unison' AS schema_name, 'beat' AS table_name UNION ALL"
                       " SELECT t.* FROM unison.replicated_table r CROSS JOIN LATERAL (VALUES (r.schema_name, r.table_name),"
                       " ('unison', r.image_name), ('unison', r.tombstone_name)) AS t (schema_name, table_name)) AS t"
                       " WHERE NOT EXISTS (SELECT FROM pg_subscription_rel s JOIN pg_subscription p ON p.oid = s.srsubid"
                       " WHERE p.subname = %s AND s.srrelid = to_regclass(format('%%I.%%I', t.schema_name, t.table_name)))", [name])
        return bool(one_row(cursor)[0])

    def _refresh(self, cursor: Cursor, name: str, result: Result) -> None:
        # only an enabled subscription can be refreshed
        cursor.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(name)))
        cursor.execute(sql.SQL("ALTER SUBSCRIPTION {} REFRESH PUBLICATION WITH (copy_data = false)").format(sql.Identifier(name)))
        result.done.append(f"took new tables into {name}")

    def _peer(self) -> closing[Connection]:
        try:
            connection = psycopg2.connect(self._conninfo(), application_name="pgunison seed", options=options(IN_KEY_ORDER))
            unlimit(connection)
        except psycopg2.OperationalError as error:
            raise ServiceError(f"{self.source} does not answer at {self.host}:{self.port}", str(error).strip().splitlines()[0],
                               "see that node's log") from error
        return closing(connection)
