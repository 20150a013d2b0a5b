"""Node: one member of the cluster, its database and what it knows of itself."""

from microesb import microesb
from psycopg2 import sql

from services import installation, pinned, statements
from services.agent_role import ensure_agent_role, owner_of
from services.errors import ServiceError
from services.kept import kept
from services.maintenance import SETTINGS, Upkeep, maintain, sweep
from services.publication import ensure_publication, published_tables
from services.result import Result
from services.role import GROUPS
from services.server import UNSEEN, administer, agent, change, changing, connect, question, unless_changing
from services.subscription import link_ends
from services.table import installed_triggers, replicated_tables
from services.texts import code_digest
from services.trigger import INSTALLED


class Node(microesb.ClassHandler):
    """The node that the call reaches, by name and index; ``database`` is the one that is replicated."""

    def prepare(self) -> Result:
        """Make roles, database and the schema ``unison``. Repeatable. Refuses a server that belongs to another node or cluster."""
        result = Result()
        owner = next((role.name for role in self.Role if role.kind == "owner"), None)
        if owner is None:
            raise ServiceError("a node needs an owner", "no role of the call is of kind owner", "add one")
        with changing():
            self._refuse_early()
            self._make_roles(owner, result)
            with administer(self.database) as connection, connection.cursor() as cursor:
                ensure_agent_role(cursor, agent(), owner)
            with connect(self.database) as connection, connection.cursor() as cursor:
                self._refuse_another(self._identity(cursor))
            with administer(self.database) as connection, connection.cursor() as cursor:
                before = installation.install(cursor, owner, self.database, (self.parent_object.id, self.name, self.index))
            if before is None:
                result.done.append(f"made this server {self.name} with index {self.index} of cluster {self.parent_object.id}")
            elif installation.fault(before):
                result.done.append("installed this version in place of another")
            with connect(self.database) as connection, connection.cursor() as cursor:
                self.require_prepared(cursor)
                ensure_publication(cursor, owner, result)
                pinned.keep(cursor, self.database, owner)
        return result

    def _make_roles(self, owner: str, result: Result) -> None:
        with administer("postgres", autocommit=True, settings=UNSEEN) as connection, connection.cursor() as cursor:
            for group in GROUPS:
                cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [group])
                if not cursor.fetchone()[0]:
                    cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(group)))
            for role in self.Role:
                role.set_up(cursor, result)
            if not database_exists(cursor, self.database):
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(self.database), sql.Identifier(owner)))
                result.done.append(f"created database {self.database}")

    def describe(self) -> Result:
        """Answer what the node is and does now; nothing is remembered, everything is looked up."""
        data = {"prepared": False, "serving": False, "fault": None, "roles": [], "tables": [], "subscriptions": [], "senders": [], "upkeep": None}
        try:
            with question(self.database) as connection, connection.cursor() as cursor:
                identity = self._identity(cursor)
                if identity is not None:
                    self._refuse_another(identity)
                if identity is not None and identity["fault"]:
                    # what it holds can be asked when it is of this version
                    data |= identity | {"prepared": True, "roles": describe_roles(cursor)}
                elif identity is not None:
                    data |= identity | {"prepared": True, "roles": describe_roles(cursor), "tables": describe_tables(cursor),
                                        "subscriptions": describe_subscriptions(cursor), "senders": describe_senders(cursor),
                                        "upkeep": describe_upkeep(cursor)}
                return Result(data=data | {"server_version": version(cursor)})
        except ServiceError:
            with question("postgres", administer) as connection, connection.cursor() as cursor:
                if database_exists(cursor, self.database):
                    raise
                return Result(data=data | {"server_version": version(cursor)})

    def admit(self) -> Result:
        """Declare that the node has joined: from here on ``/ready`` says so."""
        result = Result()
        with change(self.database) as connection, connection.cursor() as cursor:
            self.require_prepared(cursor)
            cursor.execute("UPDATE unison.node SET serving = true WHERE NOT serving")
            if cursor.rowcount:
                result.done.append(f"admitted {self.name}")
        return result

    def position(self) -> Result:
        """Answer the node's WAL position, and what each peer has confirmed to have applied of it: the two halves of a barrier."""
        with question(self.database) as connection, connection.cursor() as cursor:
            self.require_prepared(cursor)
            cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
            position = cursor.fetchone()[0]
            cursor.execute("SELECT s.slot_name, coalesce(r.replay_lsn, s.confirmed_flush_lsn)::text FROM pg_replication_slots s"
                           " LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name LIKE %s", [r"unison\_%"])
            return Result(data={"position": position, "confirmed": {link_ends(slot)[1]: lsn for slot, lsn in cursor}})

    def sweep(self) -> Result:
        """Delete every row that is older than its tombstone; needed after a race, and before nodes are compared."""
        with connect(self.database, settings={"statement_timeout": "10min"}) as connection:
            with connection.cursor() as cursor:
                self.require_prepared(cursor)
            swept = sweep(connection)
        return Result(swept_sentence(swept), {"swept": swept})

    def maintain(self) -> Result:
        """Sweep what arrived lately, trim messages that are in the WAL already, collect tombstones; the agent calls it again and again.

        Answers how many of each, which tables' share of it fails, and which transactions are prepared.
        """
        with kept(self.database, SETTINGS) as connection:
            with connection, connection.cursor() as cursor:
                identity = self._identity(cursor)
            if identity is None or identity["fault"]:
                return Result()
            self._refuse_another(identity)
            done = maintain(connection, Upkeep(self.tombstone_retention_s, self.conflict_retention_s, self.conflict_bytes))
            # node.prepare pins them, too, and two at once would meet in the catalogue
            with unless_changing() as free, connection, connection.cursor() as cursor:
                changed = pinned.keep(cursor, self.database, self.require_prepared(cursor)) if free else []
            return Result(swept_sentence(done["swept"]), done | {"settings": changed + pinned.overridden(self.database)})

    def require_prepared(self, cursor) -> str:
        """Return the owner role's name, or raise ServiceError when this is not the node that the call is for."""
        identity = self._identity(cursor)
        if identity is None:
            raise ServiceError(f"{self.name} is not prepared", "its database has no schema unison", "call node.prepare first")
        self._refuse_another(identity)
        if identity["fault"]:
            raise ServiceError(f"{self.name} is of another version", identity["fault"], "python3 orchestrator.py up")
        owner = owner_of(cursor, agent())
        if owner is None:
            raise ServiceError(f"{self.name} is not prepared", "the agent has the rights of no owner", "call node.prepare first")
        return owner

    def _refuse_early(self) -> None:
        """Raise ServiceError before a role or a password is changed, when the server is that of another node."""
        with administer("postgres") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [agent()])
            if not cursor.fetchone()[0] or not database_exists(cursor, self.database):
                return
        with connect(self.database) as connection, connection.cursor() as cursor:
            self._refuse_another(self._identity(cursor))

    def _refuse_another(self, identity: dict | None) -> None:
        asked = (self.parent_object.id, self.name, self.index)
        if identity is not None and asked != (found := (identity["cluster"], identity["name"], identity["index"])):
            raise ServiceError("this is another node", "it is {1} with index {2} of cluster {0}".format(*found),
                               "the call is for {1} with index {2} of cluster {0}".format(*asked))

    def _identity(self, cursor) -> dict | None:
        """Tell who the node is; ``fault`` says why it cannot be used before it is prepared again, or is null."""
        found = installation.recorded(cursor)
        return {name: found[name] for name in ("cluster", "name", "index", "serving")} | {"fault": installation.fault(found)} if found else None


def swept_sentence(swept: int) -> list[str]:
    return [f"swept {swept} rows that were older than their tombstone"] if swept else []


def version(cursor) -> str:
    cursor.execute("SHOW server_version")
    return cursor.fetchone()[0]


def database_exists(cursor, database: str) -> bool:
    cursor.execute("SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)", [database])
    return cursor.fetchone()[0]


def describe_roles(cursor) -> list[str]:
    """List the roles of the cluster that can log in: the owner and the members of the groups."""
    cursor.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname IN (SELECT %s UNION SELECT pg_get_userbyid(member) FROM pg_auth_members"
                   " WHERE roleid = ANY(%s::regrole[])) ORDER BY 1", [owner_of(cursor, agent()), list(GROUPS)])
    return [row[0] for row in cursor]


def describe_tables(cursor) -> list[dict]:
    """Describe each replicated table; ``fault`` says why its merge is not as this program installs it, or is null."""
    published, tables = published_tables(cursor), []
    for table in replicated_tables(cursor):
        missing = set().union(*INSTALLED.values()) - installed_triggers(cursor, table["schema"], table["name"])
        fault = None
        if not table["unchanged"]:
            fault = "its columns or keys were changed, or it was dropped: the nodes may hold different rows"
        elif table["digest"] != code_digest():
            fault = "installed by another version"
        elif missing:
            fault = "triggers are missing or disabled: " + ", ".join(sorted(f"{name} on the {place}" for place, name, _ in missing))
        tables.append({"schema": table["schema"], "name": table["name"], "columns": table["description"]["columns"], "open": table["open"],
                       "published": (table["schema"], table["name"]) in published, "fault": fault})
    return tables


def describe_subscriptions(cursor) -> list[dict]:
    """Describe each subscription: is it enabled, seeded, does its apply worker run, how often did that fail?"""
    cursor.execute(
        "SELECT s.subname AS name, s.subenabled AS enabled, (SELECT count(*) FROM unison.replicated_table r WHERE NOT EXISTS ("
        "   SELECT FROM unison.seeded d WHERE (d.subscription, d.schema_name, d.table_name) = (s.oid, r.schema_name, r.table_name))) = 0 AS seeded,"
        " w.pid IS NOT NULL AS worker,"
        " coalesce(e.apply_error_count, 0) AS errors,"
        " (SELECT count(*) FROM unison.replicated_table r CROSS JOIN LATERAL (VALUES (r.schema_name, r.table_name),"
        "   ('unison', r.image_name), ('unison', r.tombstone_name)) AS t (schema_name, table_name)"
        "   WHERE NOT EXISTS (SELECT FROM pg_subscription_rel l WHERE l.srsubid = s.oid"
        "     AND l.srrelid = to_regclass(format('%%I.%%I', t.schema_name, t.table_name)))) = 0 AS complete"
        " FROM pg_subscription s"
        " LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.relid IS NULL AND w.pid IS NOT NULL"
        " LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid"
        " WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.subname LIKE %s ORDER BY 1", [r"unison\_%"])
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) | {"source": link_ends(row[0])[0]} for row in cursor]


def describe_upkeep(cursor) -> dict:
    """Describe what the node remembers, and since when the members have confirmed (seconds, null while they never have)."""
    cursor.execute(statements.text("collect"))
    found = cursor.fetchone()
    cursor.execute(statements.text("upkeep"), {"round": found[0] if found else None})
    return dict(zip((column.name for column in cursor.description), cursor.fetchone(), strict=True))


def describe_senders(cursor) -> list[dict]:
    """Describe each replication slot of a peer: does its walsender stream, and how far behind is the peer (bytes of WAL)?"""
    cursor.execute(
        "SELECT s.slot_name AS name, coalesce(r.state, 'not connected') AS state, s.wal_status,"
        " pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(r.replay_lsn, s.confirmed_flush_lsn))::bigint AS lag_bytes"
        " FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid"
        " WHERE s.slot_name LIKE %s ORDER BY 1", [r"unison\_%"])
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) | {"target": link_ends(row[0])[1]} for row in cursor]
