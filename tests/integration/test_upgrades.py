"""Every version that could ever make a node, upgraded to this one: what stands in the database afterwards is what this version makes in an empty one."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from container.postgresql import Postgresql
from esb_config.call import execute
from esb_config.document import document
from pgunison.contract.agent import AgentConfiguration
from pgunison.runtime import binaries
from services import server
from services.errors import ServiceError
from services.texts import MIGRATIONS, code_digest, database_digest
from tests.integration.old_versions import Version, find_versions, install

SETTINGS = (("fsync", "off"), ("full_page_writes", "off"), ("autovacuum", "off"), ("jit", "off"), ("max_wal_size", "1GB"))
VERSIONS = find_versions()
# the history only grows: fewer of them is a history that is cut off
LEAST_VERSIONS = 42
ROLES = [{"name": "app_owner", "kind": "owner", "password": "owner of it"}, {"name": "app_writer", "kind": "writer", "password": "writer of it"},
         {"name": "app_replicator", "kind": "replicator", "password": "replicator of it"}]
COLUMNS = [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]
NAMED = [{"name": "name", "type": "text", "primary_key": True}, {"name": "value", "type": "text"}]
TABLES = {"drawn": COLUMNS, "named": NAMED}
CALLS = [("node.prepare", {"Role": ROLES}), *[("table.setup", {"Table": {"name": name, "Column": columns}}) for name, columns in TABLES.items()],
         ("publication.setup", {"Publication": {}}), *[("table.open", {"Table": {"schema": "public", "name": name}}) for name in TABLES],
         ("node.admit", {})]

# Everything that pgunison makes in a database, a line each, but for oids and the order of columns, which no statement of ours relies on.
CATALOGUE = r"""
WITH ours AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname IN ('unison', 'public')),
acl AS (
    SELECT 'schema ' || nspname AS what, nspowner AS owner, coalesce(nspacl, acldefault('n', nspowner)) AS acl FROM ours
    UNION ALL SELECT 'relation ' || c.oid::regclass, relowner, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
        FROM pg_class AS c JOIN ours AS n ON n.oid = relnamespace WHERE relkind IN ('r', 'S')
    UNION ALL SELECT 'function ' || p.oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner))
        FROM pg_proc AS p WHERE pronamespace IN (SELECT oid FROM ours) OR pronamespace = 'pg_catalog'::regnamespace AND proacl IS NOT NULL
    UNION ALL SELECT 'database', datdba, coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = current_database()
)
SELECT what || ' of ' || owner::regrole FROM acl
UNION ALL SELECT 'grant on ' || what || ': ' || a.grantee::regrole || ' ' || a.privilege_type || ' by ' || a.grantor::regrole FROM acl, aclexplode(acl) AS a
UNION ALL SELECT 'relation ' || c.oid::regclass || ' ' || relkind::text || relpersistence::text || relreplident::text || relrowsecurity
                 || coalesce(reloptions::text, '') || coalesce(' toast ' || (SELECT reloptions::text FROM pg_class WHERE oid = c.reltoastrelid), '')
    FROM pg_class AS c JOIN ours AS n ON n.oid = relnamespace WHERE relkind IN ('r', 'S', 'v')
UNION ALL SELECT 'column ' || attrelid::regclass || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull || attgenerated::text
                 || attidentity::text || ' ' || attcollation::regcollation || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid JOIN ours AS n ON n.oid = relnamespace
    LEFT JOIN pg_attrdef AS d ON (adrelid, adnum) = (attrelid, attnum) WHERE relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || convalidated
    FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
UNION ALL SELECT pg_get_indexdef(indexrelid) || indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace IN (SELECT oid FROM ours)
UNION ALL SELECT 'sequence ' || seqrelid::regclass || ' ' || concat_ws(' ', seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle)
    FROM pg_sequence JOIN pg_class ON pg_class.oid = seqrelid WHERE relnamespace IN (SELECT oid FROM ours)
UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND prokind <> 'a'
UNION ALL SELECT tgrelid::regclass || ' ' || tgenabled::text || ' ' || pg_get_triggerdef(t.oid)
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid WHERE relnamespace IN (SELECT oid FROM ours) AND NOT tgisinternal
UNION ALL SELECT concat_ws(' ', 'event trigger', evtname, evtevent, evtfoid::regproc, evtenabled, evttags, evtowner::regrole) FROM pg_event_trigger
UNION ALL SELECT concat_ws(' ', 'setting', nullif(setrole, 0)::regrole, setting) FROM pg_db_role_setting, unnest(setconfig) AS c (setting)
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT concat_ws(' ', 'publication', pubname, pubowner::regrole, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate) FROM pg_publication
UNION ALL SELECT concat_ws(' ', 'published', schemaname, tablename, (SELECT array_agg(name ORDER BY name) FROM unnest(attnames) AS name), rowfilter)
    FROM pg_publication_tables
UNION ALL SELECT concat_ws(' ', 'policy', polrelid::regclass, polname) FROM pg_policy
UNION ALL SELECT concat_ws(' ', 'default rights', defaclrole::regrole, defaclobjtype, defaclacl) FROM pg_default_acl
UNION ALL SELECT concat_ws(' ', 'type', typname, typtype) FROM pg_type WHERE typnamespace IN (SELECT oid FROM ours) AND typtype <> 'b' AND typrelid = 0
UNION ALL SELECT concat_ws(' ', 'node', digest, migration, functions) FROM unison.node
UNION ALL SELECT concat_ws(' ', 'table', schema_name, table_name, image_name, tombstone_name, key_columns, digest, is_open)
    FROM unison.replicated_table
UNION ALL SELECT concat_ws(' ', 'fact', schema_name, table_name, fact ->> 0, fact ->> 1)
    FROM unison.replicated_table, jsonb_array_elements(signature::jsonb) AS f (fact)
UNION ALL SELECT concat_ws(' ', 'changes', schema_name, table_name, changes) FROM unison.changes(NULL, NULL)
"""


@pytest.fixture(scope="module")
def scratch(state_directory) -> Iterator[server.Server]:
    """One server for all versions, each in a database of its own."""
    directory, user = state_directory / "upgrades", binaries.server_user()
    directory.mkdir(mode=0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = AgentConfiguration(
        cluster="upgrades", node="node1", index=1, database="a", address="127.0.0.1", postgresql_port=port, agent_port=0, max_nodes=3, networks=(),
        settings=SETTINGS, directory=directory, binaries=binaries.find(state_directory, user), token_file=directory / secrets.token_hex(4),
        template=None, user=user)
    postgresql = Postgresql(configuration)
    postgresql.make()
    before = server._server
    try:
        postgresql.await_connections(postgresql.start(), 60)
        where = server.Server(str(configuration.socket_directory), port)
        server.configure(where)
        yield where
    finally:
        server._server = before
        postgresql.stop()


@pytest.fixture(scope="module")
def old(scratch, tmp_path_factory) -> dict[Version, str]:
    """Databases that the old versions have made, with some rows, by version."""
    folders = tmp_path_factory.mktemp("versions")
    databases = {version: f"v{number}" for number, version in enumerate(VERSIONS)}
    failed = install((scratch.socket_directory, scratch.port),
                     [(version.extract(folders / str(version)), database) for version, database in databases.items()], CALLS)
    assert {database: said for database, said in failed.items() if said} == {}
    for database in databases.values():
        with connected(scratch, database) as cursor:
            cursor.execute("INSERT INTO drawn (value) SELECT 'old ' || n FROM generate_series(1, 5) AS n; UPDATE drawn SET value = value || ' changed'"
                           " WHERE value = 'old 2'; DELETE FROM drawn WHERE value = 'old 3'; INSERT INTO named VALUES ('a', 'old'), ('b', 'old');"
                           " DELETE FROM named WHERE name = 'b'")
    return databases


@pytest.fixture(scope="module")
def fresh(scratch) -> set[str]:
    """The catalogue of a database that this version made."""
    set_up("fresh")
    return catalogue(scratch, "fresh")


@contextmanager
def connected(where: server.Server, database: str) -> Iterator[Any]:
    with closing(psycopg2.connect(host=where.socket_directory, port=where.port, user="postgres", dbname=database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def set_up(database: str) -> list[str]:
    """Do with this version what the orchestrator does; returns what it says to have done."""
    done = []
    for service, node in CALLS:
        done += execute(document(service, Cluster={"id": "upgrades", "Node": {"name": "node1", "index": 1, "database": database} | node}))["done"]
    return done


def describe(database: str) -> dict:
    return execute(document("node.describe", Cluster={"id": "upgrades", "Node": {"name": "node1", "index": 1, "database": database}}))


def catalogue(where: server.Server, database: str) -> set[str]:
    with connected(where, database) as cursor:
        # every name with its schema
        cursor.execute("SET search_path = pg_catalog")
        cursor.execute(CATALOGUE)
        return {row[0] for row in cursor}


def test_the_history_is_here():
    """A clone without it would try nothing: git fetch --unshallow."""
    assert len(VERSIONS) >= LEAST_VERSIONS


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_an_older_version_becomes_this_one(version, old, fresh, scratch):
    database = old[version]
    # a database of another version says so
    other = describe(database)["fault"] is not None
    assert other or version != VERSIONS[0]
    done = set_up(database)
    found = catalogue(scratch, database)
    differ = [f"more: {line}" for line in sorted(found - fresh)] + [f"less: {line}" for line in sorted(fresh - found)]
    assert not differ, "\n".join(differ)
    assert other == ("installed this version in place of another" in done)
    assert set_up(database) == [], "the second time there is nothing to do"
    told = describe(database)
    assert told["fault"] is None and [table["fault"] for table in told["tables"]] == [None, None]
    with connected(scratch, database) as cursor:
        assert_rows_and_merge(cursor)


def test_a_view_on_what_a_migration_takes_away_is_named_and_nothing_is_changed(fresh, scratch):
    database = "looked_at"
    set_up(database)
    with connected(scratch, database) as cursor:
        # as before there were phases
        cursor.execute("ALTER TABLE unison.node ADD serving boolean DEFAULT true, DROP phase; UPDATE unison.node SET digest = 'old', migration = 1;"
                       " CREATE VIEW public.node_serves AS SELECT serving FROM unison.node")
    before = catalogue(scratch, database)
    with pytest.raises(ServiceError) as refused:
        set_up(database)
    said = refused.value
    assert said.message == f"database {database} cannot become one of this version"
    assert "view public.node_serves depends on column serving of table unison.node" in said.detail and "up" in said.hint
    assert catalogue(scratch, database) == before
    with connected(scratch, database) as cursor:
        cursor.execute("DROP VIEW public.node_serves")
    set_up(database)
    assert catalogue(scratch, database) == fresh


def assert_rows_and_merge(cursor: Any) -> None:
    """What the old version left is there; writers' changes make messages, and a peer's messages are merged."""
    cursor.execute("SELECT value FROM drawn ORDER BY id")
    assert [row[0] for row in cursor] == ["old 1", "old 2 changed", "old 4", "old 5"]
    cursor.execute("SELECT image_name, tombstone_name FROM unison.replicated_table WHERE table_name = 'named'")
    image, tombstone = cursor.fetchone()
    cursor.execute(f'DELETE FROM unison."{image}"')
    cursor.execute("UPDATE named SET value = 'new' WHERE name = 'a'; INSERT INTO named VALUES ('c', 'new'); DELETE FROM named WHERE name = 'c'")
    cursor.execute(f'SELECT name, value FROM unison."{image}"')
    assert cursor.fetchall() == [("a", "new")]
    cursor.execute(f'SELECT name FROM unison."{tombstone}" ORDER BY 1')
    assert cursor.fetchall() == [("b",), ("c",)]
    # a peer's: a row that is older than the deletion here, a newer one, an image, a tombstone
    cursor.execute("SET session_replication_role = replica")
    cursor.execute("INSERT INTO named (name, value, modified_ts, modified_node) VALUES ('b', 'late', '2020-01-01', 2), ('d', 'peer', clock_timestamp(), 2)")
    cursor.execute(f'INSERT INTO unison."{image}" (name, value, modified_ts, modified_node)'
                   " VALUES ('a', 'peer', clock_timestamp() + interval '1 s', 2)")
    cursor.execute(f"""INSERT INTO unison."{tombstone}" (name, modified_ts, modified_node) VALUES ('d', clock_timestamp() + interval '1 s', 2)""")
    cursor.execute("SELECT name, value FROM named ORDER BY 1")
    assert cursor.fetchall() == [("a", "peer")]
    cursor.execute("RESET session_replication_role")


def test_each_version_is_recorded(fresh, scratch):
    with connected(scratch, "fresh") as cursor:
        cursor.execute("SELECT digest, migration FROM unison.node")
        assert cursor.fetchone() == (database_digest(), len(MIGRATIONS))
        cursor.execute("SELECT DISTINCT digest FROM unison.replicated_table")
        assert cursor.fetchall() == [(code_digest(),)]
