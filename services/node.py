"""Node: one member of the cluster, its database and what it knows of itself."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from microesb import microesb
from psycopg2 import sql

from pgunison.contract.names import GROUPS, link_ends
from pgunison.contract.phase import DRAINED, JOINING, SERVING, drained
from services import installation, pinned, stale, statements
from services.agent_role import ensure_agent_role, owner_of
from services.closing import close, drop_links, forget_peer
from services.driver import Cursor, column_names, one_row
from services.entry import Entry as OneEntry
from services.entry import forget, newest
from services.errors import ServiceError
from services.faults import all_changes, doubt, guard_fault, in_words
from services.kept import kept
from services.links import describe_senders, describe_subscriptions, trouble
from services.maintenance import SETTINGS, Upkeep, maintain, sweep
from services.publication import ensure_publication, published_tables
from services.result import Result
from services.retry import retried
from services.role import Role as OneRole
from services.server import UNSEEN, administer, agent, change, changing, connect, question, unless_changing
from services.table import replicated_tables
from services.texts import code_digest

if TYPE_CHECKING:
    # for annotations only: importing these when the program runs would be a circle
    from services.cluster import Cluster


class Node(microesb.ClassHandler):
    """The node that the call reaches, by name and index; ``database`` is the one that is replicated."""

    name: str
    index: int
    database: str
    tombstone_retention_s: int
    conflict_retention_s: int
    conflict_bytes: int
    by: str
    end: str
    limit: int
    peer: str
    parent_object: "Cluster"
    Role: Iterable[OneRole]
    Entry: Iterable[OneEntry]

    @retried
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
                before = installation.recorded(cursor)
                off = guard_fault(cursor) if before is not None and installation.fault(before) is None else None
                before = installation.install(cursor, owner, self.database, (self.parent_object.id, self.name, self.index))
                if off:
                    doubt(cursor)
                    result.done.append(f"restored the guard: {off}")
            if before is None:
                result.done.append(f"made this server {self.name} with index {self.index} of cluster {self.parent_object.id}")
            elif installation.fault(before):
                result.done.append("installed this version in place of another")
            with connect(self.database) as connection, connection.cursor() as cursor:
                self.require_prepared(cursor)
                ensure_publication(cursor, owner, result)
                pinned.keep(cursor, self.database, owner)
        return result

    def restore_guard(self, result: Result) -> None:
        """Install the guard again that is off or was replaced; every table of the node may have been changed meanwhile, so all are compared."""
        with administer(self.database) as connection, connection.cursor() as cursor:
            fault = guard_fault(cursor)
            installation.install(cursor, self._owner(cursor), self.database,
                                 (self.parent_object.id, self.name, self.index))
            doubt(cursor)
        result.done.append(f"restored the guard: {fault}")

    def _make_roles(self, owner: str, result: Result) -> None:
        with administer("postgres", autocommit=True, settings=UNSEEN) as connection, connection.cursor() as cursor:
            for group in GROUPS:
                cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [group])
                if not one_row(cursor)[0]:
                    cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(group)))
            for role in self.Role:
                role.set_up(cursor, result)
            if not database_exists(cursor, self.database):
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(self.database), sql.Identifier(owner)))
                result.done.append(f"created database {self.database}")

    def describe(self) -> Result:
        """Answer what the node is and does now; nothing is remembered, everything is looked up."""
        data: dict[str, Any] = {"prepared": False, "serving": False, "drained": None, "stale": None, "fault": None, "roles": [],
                                "tables": [], "subscriptions": [], "senders": [], "upkeep": None}
        try:
            with question(self.database) as connection, connection.cursor() as cursor:
                identity = self._identity(cursor)
                if identity is not None:
                    self._refuse_another(identity)
                if identity is not None and identity["fault"]:
                    # what it holds can be asked when it is of this version
                    data |= identity | {"prepared": True, "roles": describe_roles(cursor)}
                elif identity is not None:
                    data |= identity | {"stale": identity["stale"] or stale.reason(cursor), "prepared": True,
                                        "roles": describe_roles(cursor), "tables": describe_tables(cursor),
                                        "subscriptions": describe_subscriptions(cursor), "senders": describe_senders(cursor),
                                        "upkeep": describe_upkeep(cursor), "up_s": up_s(cursor)}
                return Result(data=data | {"server_version": version(cursor)})
        except ServiceError:
            with question("postgres", administer) as connection, connection.cursor() as cursor:
                if database_exists(cursor, self.database):
                    raise
                return Result(data=data | {"server_version": version(cursor)})

    @retried
    def admit(self) -> Result:
        """Declare that the node has joined: from here on ``/ready`` says so."""
        result = Result()
        with change(self.database) as connection, connection.cursor() as cursor:
            self.require_prepared(cursor)
            self.require_current(cursor)
            cursor.execute("UPDATE unison.node SET phase = %s, phase_since = clock_timestamp(), phase_by = NULL WHERE phase = %s", [SERVING, JOINING])
            if cursor.rowcount:
                result.done.append(f"admitted {self.name}")
        return result

    @retried
    def drain(self) -> Result:
        """Take the node out of service until :meth:`resume`: ``/ready`` says so from here on, and its links go on.

        One that is out of service already stays so by whom it was, and since then."""
        result = Result()
        with change(self.database) as connection, connection.cursor() as cursor:
            self.require_prepared(cursor)
            self.require_current(cursor)
            cursor.execute("UPDATE unison.node SET phase = %s, phase_since = clock_timestamp(), phase_by = %s WHERE phase = %s", [DRAINED, self.by, SERVING])
            if cursor.rowcount:
                result.done.append(f"took {self.name} out of service")
            cursor.execute("SELECT phase FROM unison.node")
            if one_row(cursor)[0] != DRAINED:
                raise ServiceError(f"{self.name} has not joined the cluster yet", "it serves nobody", "python3 orchestrator.py up")
        return result

    @retried
    def resume(self) -> Result:
        """Put the node into service again. Repeatable; a node that has not joined yet does not join by it."""
        result = Result()
        with change(self.database) as connection, connection.cursor() as cursor:
            self.require_prepared(cursor)
            cursor.execute("UPDATE unison.node SET phase = %s, phase_since = clock_timestamp(), phase_by = %s WHERE phase = %s", [SERVING, self.by, DRAINED])
            if cursor.rowcount:
                result.done.append(f"put {self.name} into service again")
        return result

    @retried
    def close(self) -> Result:
        """Take no writes any more, of nobody; the node is about to be removed. :meth:`services.table.Table.open` takes it back."""
        result = Result()
        with change(self.database) as connection, connection.cursor() as cursor:
            self.require_prepared(cursor)
            self.require_current(cursor)
            result.done += [f"closed {table}" for table in close(cursor, self.name)]
        return result

    @retried
    def part(self) -> Result:
        """Drop both links with ``peer``, which is removed for good, and forget it. Repeatable; the peer need not answer."""
        result = Result()
        with (change(self.database) as connection, connection.cursor() as cursor,
              administer(self.database, autocommit=True, settings=UNSEEN) as administration, administration.cursor() as superuser):
            self.require_prepared(cursor)
            if self.peer == self.name:
                raise ServiceError("a node cannot part from itself", f"it is {self.name}", "call another node")
            drop_links(superuser, self.name, self.peer, result)
            forget_peer(cursor, self.peer)
        return result

    def disconnect(self) -> Result:
        """End connections of writers and readers: ``end`` is none, idle (those without an open transaction) or all. Answers how many there were, before, that
        were ``idle`` and that were ``running``."""
        with question(self.database) as connection, connection.cursor() as cursor:
            cursor.execute(statements.text("clients"), {"end": self.end, "owner": self.require_prepared(cursor)})
            idle, running, ended = one_row(cursor)
        return Result([f"ended {ended} connections"] if ended else [], {"idle": idle, "running": running})

    @retried
    def record(self) -> Result:
        """Remember commands that were given to the cluster, and forget the oldest."""
        result = Result()
        with change(self.database) as connection, connection.cursor() as cursor:
            self.require_prepared(cursor)
            for entry in self.Entry:
                entry.record(cursor, result)
            forget(cursor)
        return result

    def history(self) -> Result:
        """Answer the newest commands that were given to the cluster, as far as this node was told, ``limit`` at the most."""
        with question(self.database) as connection, connection.cursor() as cursor:
            self.require_prepared(cursor)
            return Result(data={"entries": newest(cursor, self.limit)})

    def position(self) -> Result:
        """Answer the node's WAL position, and what each peer has confirmed to have applied of it: the two halves of a barrier.

        ``flushed`` is what a peer would not ask for again if it crashed now."""
        with question(self.database) as connection, connection.cursor() as cursor:
            self.require_prepared(cursor)
            cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
            position = one_row(cursor)[0]
            cursor.execute("SELECT s.slot_name, coalesce(r.replay_lsn, s.confirmed_flush_lsn)::text, s.confirmed_flush_lsn::text FROM pg_replication_slots s"
                           " LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name LIKE %s", [r"unison\_%"])
            found = [(link_ends(slot)[1], applied, flushed) for slot, applied, flushed in cursor]
            return Result(data={"position": position, "confirmed": {peer: applied for peer, applied, _ in found},
                                "flushed": {peer: flushed for peer, _, flushed in found}})

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
                old, seen = stale.notice(cursor), trouble(cursor)
            if old:
                # what it says of itself must not reach its peers, and what it remembers is old
                return Result(data=seen)
            done = maintain(connection, Upkeep(self.tombstone_retention_s, self.conflict_retention_s, self.conflict_bytes))
            # node.prepare pins them, too, and two at once would meet in the catalogue
            with unless_changing() as free, connection, connection.cursor() as cursor:
                changed = pinned.keep(cursor, self.database, self.require_prepared(cursor)) if free else []
            return Result(swept_sentence(done["swept"]), done | seen | {"settings": changed + pinned.overridden(self.database)})

    def require_prepared(self, cursor: Cursor) -> str:
        """Return the owner role's name, or raise ServiceError when this is not the node that the call is for."""
        identity = self._identity(cursor)
        if identity is None:
            raise ServiceError(f"{self.name} is not prepared", "its database has no schema unison", "call node.prepare first")
        self._refuse_another(identity)
        if identity["fault"]:
            raise ServiceError(f"{self.name} is of another version", identity["fault"], "python3 orchestrator.py up")
        return self._owner(cursor)

    def _owner(self, cursor: Cursor) -> str:
        owner = owner_of(cursor, agent())
        if owner is None:
            raise ServiceError(f"{self.name} is not prepared", "the agent has the rights of no owner", "call node.prepare first")
        return owner

    def require_current(self, cursor: Cursor) -> None:
        """Raise ServiceError when an old copy of the node's data was put back."""
        cursor.execute("SELECT stale FROM unison.node")
        found = one_row(cursor)[0] or stale.reason(cursor)
        if found:
            raise ServiceError(f"{self.name} is stale", found, "remove its data and make it anew: docs/operations.md, An old copy of a disk")

    def _refuse_early(self) -> None:
        """Raise ServiceError before a role or a password is changed, when the server is that of another node."""
        with administer("postgres") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [agent()])
            if not one_row(cursor)[0] or not database_exists(cursor, self.database):
                return
        with connect(self.database) as connection, connection.cursor() as cursor:
            self._refuse_another(self._identity(cursor))

    def _refuse_another(self, identity: dict[str, Any] | None) -> None:
        asked = (self.parent_object.id, self.name, self.index)
        if identity is not None and asked != (found := (identity["cluster"], identity["name"], identity["index"])):
            raise ServiceError("this is another node", "it is {1} with index {2} of cluster {0}".format(*found),
                               "the call is for {1} with index {2} of cluster {0}".format(*asked))

    def _identity(self, cursor: Cursor) -> dict[str, Any] | None:
        """Tell who the node is; ``fault`` says why it cannot be used before it is prepared again, or is null."""
        found = installation.recorded(cursor)
        # a column that an older version lacks
        return {name: found.get(name) for name in ("cluster", "name", "index", "stale")} | membership(found) | {"fault": installation.fault(found)} \
            if found else None


def membership(node: dict[str, Any]) -> dict[str, Any]:
    """Tell of a row of ``unison.node`` whether the node is a member, and by whom and since when it is ``drained``, None when it is not."""
    # an older version has "serving" in place of phases
    phase = node.get("phase") or (SERVING if node.get("serving") else JOINING)
    return {"serving": phase != JOINING, "drained": drained(phase, node.get("phase_by"), node.get("phase_since", ""))}


def swept_sentence(swept: int) -> list[str]:
    return [f"swept {swept} rows that were older than their tombstone"] if swept else []


def version(cursor: Cursor) -> str:
    cursor.execute("SHOW server_version")
    return str(one_row(cursor)[0])


def up_s(cursor: Cursor) -> float:
    """Return for how many seconds the server has been running."""
    cursor.execute("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float")
    return float(one_row(cursor)[0])


def database_exists(cursor: Cursor, database: str) -> bool:
    cursor.execute("SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)", [database])
    return bool(one_row(cursor)[0])


def describe_roles(cursor: Cursor) -> list[str]:
    """List the roles of the cluster that can log in and do their work: the owner and the members of the groups."""
    # a replicator that policies apply to is none
    cursor.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin AND (rolbypassrls OR NOT rolreplication)"
                   " AND rolname IN (SELECT %s UNION SELECT pg_get_userbyid(member) FROM pg_auth_members"
                   " WHERE roleid = ANY(%s::regrole[])) ORDER BY 1", [owner_of(cursor, agent()), list(GROUPS)])
    return [row[0] for row in cursor]


def describe_tables(cursor: Cursor) -> list[dict[str, Any]]:
    """Describe each replicated table; ``fault`` says in words why its merge is not as this program installs it, or is null."""
    published, changed, guard = published_tables(cursor), all_changes(cursor), guard_fault(cursor)
    tables = []
    fault: str | None
    for table in replicated_tables(cursor):
        name = (table["schema"], table["name"])
        if table["digest"] != code_digest():
            fault = "installed by another version"
        else:
            fault = "; ".join(filter(None, [in_words(changed[name]) if name in changed else None, guard])) or None
        tables.append({"schema": table["schema"], "name": table["name"], "columns": table["description"]["columns"], "open": table["open"],
                       "published": name in published, "fault": fault})
    return tables


def describe_upkeep(cursor: Cursor) -> dict[str, Any]:
    """Describe what the node remembers, and since when the members have confirmed (seconds, null while they never have)."""
    cursor.execute(statements.text("collect"))
    found = cursor.fetchone()
    cursor.execute(statements.text("upkeep"), {"round": found[0] if found else None})
    return dict(zip(column_names(cursor), one_row(cursor), strict=True))
