"""Rights: nobody gains any by us. The owner's code runs with the owner's rights, our functions are for our triggers, secrets are seen nowhere."""

import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2 import sql

from pgunison.cluster.execute import bring_up
from pgunison.errors import OrchestratorError
from pgunison.progress import Progress
from tests.convergence.comparison import administer, wait_until
from tests.integration.test_types import set_up

pytestmark = pytest.mark.process_runtime("the server's log and its socket are looked at; what runs in a container is the same")

DEADLINE_S = 60.0
COLUMNS = [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}]
PAIR = [{"name": "a", "type": "bigint", "primary_key": True}, {"name": "b", "type": "text", "primary_key": True}, {"name": "value", "type": "text"}]
SUPERUSERS = "SELECT rolname FROM pg_roles WHERE rolsuper OR rolcreaterole OR rolreplication ORDER BY 1"
# What an owner would run as somebody else: take back the superuser's rights, and keep them.
ATTACK = """
CREATE TABLE IF NOT EXISTS public.proof (who text, login text, place text);
GRANT INSERT ON public.proof TO PUBLIC;
CREATE OR REPLACE FUNCTION public.attack(place text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE 'RESET ROLE';
        EXECUTE 'RESET SESSION AUTHORIZATION';
        EXECUTE 'ALTER ROLE unison_owner SUPERUSER';
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    INSERT INTO public.proof SELECT current_user, session_user, place;
    RETURN true;
END $$;
CREATE OR REPLACE FUNCTION public.attack() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.attack(TG_TABLE_NAME);
    RETURN coalesce(NEW, OLD);
END $$
"""
# The same where no trigger is needed. What stands in an index or a generated column has to call itself immutable, and is believed.
TRAPS = """
CREATE FUNCTION public.caught(place text, value anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN public.attack(place); END $$;
CREATE DOMAIN public.trapped AS text CHECK (public.caught('domain', VALUE));
CREATE TABLE public.trap (id bigint PRIMARY KEY, value public.trapped, made boolean GENERATED ALWAYS AS (public.caught('generated column', id)) STORED,
                          CHECK (public.caught('constraint', id)));
CREATE INDEX ON public.trap (public.caught('index', id))
"""
PLACES = {"domain", "generated column", "constraint", "index"}


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[{"schema": "public", "name": "entry", "columns": COLUMNS},
                                         {"schema": "public", "name": "pair", "columns": PAIR}]).up()


@contextlib.contextmanager
def superuser(cluster, node: str = "node1") -> Iterator:
    with contextlib.closing(cluster.superuser(node)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def asked(cluster, statement: str, parameters=None, node: str = "node1") -> list[tuple]:
    with superuser(cluster, node) as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


@pytest.fixture
def attacked(cluster) -> Iterator[str]:
    """Hang the attack wherever the owner can, a superuser's hand past the guard; gives the name of the table's companions."""
    (image, tombstone), = asked(cluster, "SELECT image_name, tombstone_name FROM unison.replicated_table WHERE table_name = 'entry'")
    places = [sql.Identifier("public", "entry"), sql.Identifier("unison", image), sql.Identifier("unison", tombstone), sql.SQL("unison.beat")]
    cluster.query("node1", ATTACK)
    with superuser(cluster) as cursor:
        for place in places:
            cursor.execute(sql.SQL("CREATE TRIGGER attack BEFORE INSERT OR DELETE ON {0} FOR EACH ROW EXECUTE FUNCTION public.attack();"
                                   " ALTER TABLE {0} ENABLE ALWAYS TRIGGER attack").format(place))
    try:
        yield image
    finally:
        with superuser(cluster) as cursor:
            for place in places:
                cursor.execute(sql.SQL("DROP TRIGGER attack ON {}").format(place))


def test_what_the_owner_hangs_at_a_table_runs_with_the_owners_rights(cluster, attacked):
    before = asked(cluster, SUPERUSERS)
    cluster.query("node1", "INSERT INTO entry (value) VALUES ('a'), ('b')")
    cluster.query("node1", "UPDATE entry SET value = 'c'")
    cluster.query("node1", "DELETE FROM entry WHERE value = 'c'")

    def not_yet() -> str | None:
        missing = {attacked, "beat"} - {row[0] for row in asked(cluster, "SELECT DISTINCT place FROM proof WHERE login = 'unison_agent'")}
        return f"not on {missing}" if missing else None

    wait_until(not_yet, "the maintenance ran into it", DEADLINE_S)
    cluster.sweep("node1")
    for service in ("node.describe", "node.position"):
        cluster.site.call("node1", service)
    logins = {row[0] for row in asked(cluster, "SELECT DISTINCT login FROM proof")}
    assert "unison_agent" in logins
    assert logins.isdisjoint({row[0] for row in asked(cluster, "SELECT rolname FROM pg_roles WHERE rolsuper")})
    assert asked(cluster, SUPERUSERS) == before


def test_what_the_owner_hangs_at_a_column_runs_with_the_owners_rights(cluster):
    before = {node: asked(cluster, SUPERUSERS, node=node) for node in cluster.names()}
    for node in cluster.names():
        cluster.query(node, ATTACK)
        cluster.query(node, TRAPS)
    set_up(cluster, "trap")
    for node in cluster.names():
        cluster.query(node, "DELETE FROM proof")
    with superuser(cluster) as cursor:
        # whoever has more rights and touches the table would be seen
        cursor.execute("BEGIN; INSERT INTO trap (id, value) VALUES (1, 'a'); SELECT array_agg(DISTINCT place), array_agg(DISTINCT login) FROM proof")
        places, logins = cursor.fetchone()
        assert set(places) == PLACES and logins == ["postgres"]
        cursor.execute("ROLLBACK")
    cluster.query("node1", "INSERT INTO trap (id, value) VALUES (1, 'a'), (2, 'b')", role="writer")
    cluster.query("node1", "UPDATE trap SET value = 'c' WHERE id = 1", role="writer")
    cluster.query("node1", "DELETE FROM trap WHERE id = 2", role="writer")

    def missing() -> str | None:
        found = PLACES - {row[0] for row in asked(cluster, "SELECT DISTINCT place FROM proof", node="node2")}
        return f"not in {found}" if found else None

    wait_until(missing, "an apply worker ran into each", DEADLINE_S)
    for node in cluster.names():
        # each agent touches it
        cluster.sweep(node)
        cluster.site.call(node, "node.describe")
        cluster.site.call(node, "table.digest", Table={"name": "trap"})
        logins = {row[0] for row in asked(cluster, "SELECT DISTINCT login FROM proof", node=node)}
        assert logins and logins.isdisjoint({row[0] for row in asked(cluster, "SELECT rolname FROM pg_roles WHERE rolsuper", node=node)})
        assert asked(cluster, SUPERUSERS, node=node) == before[node]


def test_the_agent_has_the_owners_rights_and_no_more(cluster):
    assert asked(cluster, "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolconfig IS NULL FROM pg_roles"
                          " WHERE rolname = 'unison_agent'") == [(False, False, False, False, False, True)]
    assert asked(cluster, "SELECT pg_get_userbyid(roleid)::text, admin_option FROM pg_auth_members WHERE member = 'unison_agent'::regrole") == [
        ("unison_owner", False)]
    assert asked(cluster, "SELECT rolpassword FROM pg_authid WHERE rolname = 'unison_agent'") == [(None,)]


def test_what_stands_once_in_the_database_is_not_the_owners(cluster):
    companions = ("SELECT c.relname FROM pg_class AS c, unison.replicated_table AS r WHERE starts_with(c.relname, left(r.image_name, -length('image')))")
    relations = asked(cluster, "SELECT relname::text FROM pg_class WHERE relnamespace = 'unison'::regnamespace AND relkind IN ('r', 'S', 'v')"
                               f" AND relowner = 'unison_owner'::regrole AND relname NOT IN ({companions})")
    # apply workers write as a table's owner
    assert relations == [("beat",)]
    functions = asked(cluster, "SELECT proname FROM pg_proc AS p WHERE pronamespace = 'unison'::regnamespace AND proowner <> 10 AND NOT EXISTS ("
                               " SELECT FROM unison.replicated_table AS r WHERE starts_with(p.proname, left(r.image_name, -length('image'))))")
    assert functions == []
    assert asked(cluster, "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'unison'") == [("postgres",)]


def test_the_agent_reads_rows_whole_or_not_at_all(cluster):
    with superuser(cluster) as cursor:
        cursor.execute("ALTER TABLE entry ENABLE ROW LEVEL SECURITY")
        try:
            cluster.sweep("node1")
            cursor.execute("ALTER TABLE entry FORCE ROW LEVEL SECURITY")
            with pytest.raises(OrchestratorError, match="cannot be swept"):
                cluster.sweep("node1")
        finally:
            cursor.execute("ALTER TABLE entry NO FORCE ROW LEVEL SECURITY; ALTER TABLE entry DISABLE ROW LEVEL SECURITY")


@pytest.mark.parametrize("statement", [
    "DROP SCHEMA unison CASCADE", "ALTER TABLE unison.node RENAME TO other", "CREATE TRIGGER attack BEFORE UPDATE ON unison.node EXECUTE FUNCTION"
    " suppress_redundant_updates_trigger()", "CREATE OR REPLACE FUNCTION unison.signature(text, text) RETURNS text LANGUAGE sql AS 'SELECT NULL'",
    "DROP FUNCTION unison.guard() CASCADE", "ALTER ROLE unison_agent SUPERUSER", "ALTER ROLE unison_agent PASSWORD 'mine'",
    "ALTER ROLE unison_agent SET search_path = public", "SET ROLE unison_agent", "SET session_replication_role = replica"])
def test_the_owner_may_not(cluster, statement):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cluster.query("node1", statement)


# what a token is made of and waited for with (services/sql/token.sql)
FOR_CLIENTS = {"unison.token()", "unison.behind(text,double precision)", "unison.wait_for(text,double precision)"}


@pytest.mark.parametrize("role", ["stranger", "reader", "writer", "replicator"])
def test_nobody_can_call_or_attach_a_function_of_ours(cluster, role):
    name = role if role == "stranger" else cluster.site.configuration.role(role).name
    with superuser(cluster) as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'stranger')")
        if not cursor.fetchone()[0]:
            cursor.execute("CREATE ROLE stranger")
        # the worst case
        cursor.execute(sql.SQL("BEGIN; GRANT TEMPORARY ON DATABASE {} TO {role}; GRANT USAGE ON SCHEMA unison TO {role}").format(
            sql.Identifier(cluster.site.configuration.database), role=sql.Identifier(name)))
        try:
            cursor.execute("SELECT p.oid::regprocedure::text, p.prorettype = 'trigger'::regtype, has_function_privilege(%s, p.oid, 'EXECUTE')"
                           " FROM pg_proc AS p WHERE p.pronamespace = 'unison'::regnamespace", [name])
            functions = cursor.fetchall()
            assert len(functions) > 12
            cursor.execute(sql.SQL("SET LOCAL ROLE {}; CREATE TEMPORARY TABLE forged (LIKE public.entry)").format(sql.Identifier(name))
                           if role in ("reader", "writer") else
                           sql.SQL("SET LOCAL ROLE {}; CREATE TEMPORARY TABLE forged (id bigint)").format(sql.Identifier(name)))
            for signature, is_trigger, allowed in functions:
                if is_trigger:
                    cursor.execute("SAVEPOINT before")
                    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="permission denied for function"):
                        cursor.execute(f"CREATE TRIGGER forged AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION {signature}")
                    cursor.execute("ROLLBACK TO before")
                assert allowed == (role in ("reader", "writer") and signature in FOR_CLIENTS), signature
        finally:
            cursor.execute("ROLLBACK")


# Operators, functions and types of the server's own, each with another that fails, before them in the caller's search_path.
SHADOWS = """
BEGIN;
CREATE SCHEMA shadow;
GRANT USAGE ON SCHEMA shadow TO PUBLIC;
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT oprname, oprleft::regtype AS a, oprright::regtype AS b, oprresult::regtype AS answer, row_number() OVER () AS n
             FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b'
             AND ARRAY[oprleft, oprright] <@ '{int2,int4,int8,float8,oid,bool,text,timestamptz,interval}'::regtype[]::oid[] LOOP
        EXECUTE format('CREATE FUNCTION shadow.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', r.n, r.a, r.b, r.answer,
                       format('BEGIN RAISE EXCEPTION USING MESSAGE = %L; END', format('operator %s of %s and %s', r.oprname, r.a, r.b)));
        EXECUTE format('CREATE OPERATOR shadow.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = shadow.operator_%s)', r.oprname, r.a, r.b, r.n);
    END LOOP;
    FOR r IN SELECT DISTINCT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, p.prorettype::regtype AS answer
             FROM pg_proc AS p JOIN pg_proc AS ours ON ours.pronamespace = 'unison'::regnamespace AND ours.prosrc ~ ('\\m' || p.proname || '\\(')
             WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.provariadic = 0
             AND p.prorettype <> 'internal'::regtype LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION shadow.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', r.proname, r.arguments, r.answer,
                           format('BEGIN RAISE EXCEPTION USING MESSAGE = %L; END', 'function ' || r.proname));
        EXCEPTION WHEN invalid_function_definition OR feature_not_supported OR syntax_error OR duplicate_function THEN
            NULL;
        END;
    END LOOP;
    -- the check of a domain is computed for NULL, too: each variable that is declared with it fails
    CREATE FUNCTION shadow.refuse(type text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING MESSAGE = $1; END';
    FOR r IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'p') AND typname !~ '^_' LOOP
        EXECUTE format('CREATE DOMAIN shadow.%I AS pg_catalog.text CHECK (shadow.refuse(%L))', r.typname, 'type ' || r.typname);
    END LOOP;
END
$$;
COMMIT
"""
# one of each way through the parts that have no search_path of their own; the key is not this node's next one
WRITES = [
    "INSERT INTO public.entry (value) VALUES ('drawn')",
    "INSERT INTO public.entry (id, value) VALUES (77, 'given'), (1, 'known')",
    "UPDATE public.entry SET value = 'changed' WHERE id OPERATOR(pg_catalog.=) 77::bigint",
    "UPDATE public.entry SET id = 78 WHERE id OPERATOR(pg_catalog.=) 77::bigint",
    "DELETE FROM public.entry WHERE id OPERATOR(pg_catalog.=) 78::bigint",
    "INSERT INTO public.entry (id, value) VALUES (78, 'again')",
    "WITH gone AS (DELETE FROM public.entry WHERE id OPERATOR(pg_catalog.=) 78::bigint RETURNING id)"
    " INSERT INTO public.entry (id, value) SELECT id, 'back' FROM gone",
    "INSERT INTO public.pair (a, b, value) VALUES (1, 'one', 'x'), (2, 'two', 'x')",
    "UPDATE public.pair SET value = 'changed' WHERE a OPERATOR(pg_catalog.=) 1::bigint",
    "UPDATE public.pair SET b = 'other' WHERE a OPERATOR(pg_catalog.=) 1::bigint",
    "DELETE FROM public.pair WHERE a OPERATOR(pg_catalog.=) 1::bigint",
    "INSERT INTO public.pair (a, b, value) VALUES (1, 'other', 'again')",
    "WITH gone AS (DELETE FROM public.pair WHERE a OPERATOR(pg_catalog.=) 1::bigint RETURNING a, b)"
    " INSERT INTO public.pair (a, b, value) SELECT a, b, 'back' FROM gone",
]


@pytest.fixture(scope="module")
def shadows(cluster):
    """The cluster, with a schema of shadows on its first node."""
    with superuser(cluster) as cursor:
        cursor.execute(SHADOWS)
    return cluster


@contextlib.contextmanager
def shadowed(cluster, isolation: str = "READ COMMITTED", change: str = "") -> Iterator:
    """Be a writer with the shadows in sight, in a transaction that leaves nothing; ``change`` is made before."""
    with superuser(cluster) as cursor:
        cursor.execute(f"BEGIN ISOLATION LEVEL {isolation}")
        try:
            if change:
                cursor.execute(change)
            cursor.execute("SET LOCAL search_path = shadow, pg_catalog")
            cursor.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(cluster.site.configuration.role("writer").name)))
            yield cursor
        finally:
            cursor.execute("ROLLBACK")


@pytest.mark.parametrize("first", ["", "DELETE FROM public.entry WHERE id OPERATOR(pg_catalog.=) 4242::bigint"], ids=["any", "deletes first"])
@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_a_callers_search_path_chooses_nothing_of_ours(shadows, isolation, first):
    if first:
        shadows.query("node1", "INSERT INTO public.entry (id, value) VALUES (4242, 'there') ON CONFLICT DO NOTHING", role="writer")
    with shadowed(shadows, isolation) as cursor:
        for statement in [first, *WRITES] if first else WRITES:
            cursor.execute(statement)
            assert cursor.rowcount > 0, statement


# What keeps a caller's search_path out of a part, and the same without it: each is asked for by WRITES.
LOOSENED = {"operator": (r"OPERATOR\(pg_catalog\.(\S+?)\)", r"\1"), "type": (r"(?m)^( +\w+ )pg_catalog\.(\w+)(?=;| :=)", r"\1\2"),
            "function": (r"\bpg_catalog\.(\w+)(?=\()", r"\1"), "setting": (r"(?m)^ SET search_path TO .*$", "")}


@pytest.mark.parametrize(("table", "part", "kept_out_by"), [
    *((table, part, kept_out_by) for table in ("entry", "pair") for part in ("bury", "image") for kept_out_by in ("operator", "type", "function")),
    *(("entry", "outlive", kept_out_by) for kept_out_by in ("operator", "type", "function")), ("pair", "outlive", "setting"),
    *((table, part, "setting") for table in ("entry", "pair") for part in ("outlive_moved", "move", "revive"))])
def test_what_a_callers_search_path_chooses_is_found(shadows, table, part, kept_out_by):
    (definition,), = asked(shadows, "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'unison'::regnamespace"
                                    " AND proname ~ ('^' || %s || '_[0-9a-f]{8}_' || %s || '$')", [table, part])
    loose = re.sub(*LOOSENED[kept_out_by], definition)
    assert loose != definition
    # two keys are compared as rows, and not with any operator
    with shadowed(shadows, change=loose) as cursor, pytest.raises(psycopg2.Error, match="^(operator|function|type) |row comparison operator") as found:
        for statement in WRITES:
            cursor.execute(statement)
    assert kept_out_by == "setting" or str(found.value).startswith(kept_out_by)


def test_who_comes_in_where(cluster):
    address, configuration = cluster.site.spec("node1"), cluster.site.configuration
    with pytest.raises(psycopg2.OperationalError, match="pg_hba.conf rejects"):
        psycopg2.connect(host=address.loopback, port=configuration.postgresql_port, user="unison_agent", password="any", dbname=configuration.database)
    replicator = cluster.site.dsn(configuration.role("replicator").name, "node1")
    with pytest.raises(psycopg2.OperationalError, match="pg_hba.conf rejects"):
        psycopg2.connect(replicator, host=str(cluster.folder("node1") / "socket"), hostaddr="")


def test_no_reader_can_hold_up_a_change_or_a_deletion(cluster):
    for role in ("reader", "writer"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cluster.query("node1", "BEGIN; LOCK TABLE unison.knowing IN ACCESS SHARE MODE", role=role)
    with cluster.connect("node1", "reader") as connection, connection.cursor() as cursor:
        # the locks that were ours once
        cursor.execute("SELECT pg_advisory_lock(7305807)")
        for (known,) in asked(cluster, "SELECT oid::bigint FROM pg_class WHERE relnamespace = 'unison'::regnamespace AND relkind = 'S'"):
            cursor.execute("SELECT pg_advisory_lock((x'756e6b6e'::bigint << 32) | %s)", [known])
        began = time.monotonic()
        cluster.site.call("node1", "node.admit")
        cluster.query("node2", "INSERT INTO entry (id, value) SELECT n, 'x' FROM generate_series(50000, 50010) AS n")
        cluster.query("node2", "DELETE FROM entry WHERE id >= 50000")
        # on their way behind the deletions, so these are here when it is done
        cluster.query("node2", "INSERT INTO entry (id, value) VALUES (60000, 'x')")
        wait_until(lambda: None if asked(cluster, "SELECT count(*) FROM entry WHERE id BETWEEN 50000 AND 60000") == [(1,)] else "not deleted",
                   "a peer's deletions are applied", DEADLINE_S)
        cluster.query("node1", "INSERT INTO entry (id, value) VALUES (90000, 'x')")
        cluster.query("node1", "DELETE FROM entry WHERE id = 90000")
        assert time.monotonic() - began < DEADLINE_S


def test_the_replicators_password_is_seen_nowhere(cluster):
    """Under every setting that writes statements down, while a link is made, renewed, and a role is prepared."""
    secret = cluster.site.credentials.passwords[cluster.site.configuration.role("replicator").name]
    loud = {"log_statement": "all", "log_min_duration_statement": "0", "log_min_error_statement": "debug5", "debug_print_parse": "on",
            "log_transaction_sample_rate": "1", "log_min_duration_sample": "0", "log_replication_commands": "on", "log_lock_waits": "on"}
    with superuser(cluster) as cursor:
        for name, value in loud.items():
            cursor.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        cursor.execute("SELECT pg_reload_conf()")
    seen, done = [], threading.Event()

    def watch() -> None:
        with superuser(cluster) as cursor:
            while not done.is_set():
                cursor.execute("SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
                seen.extend(query for (query,) in cursor if query)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        administer(cluster, "node1", "ALTER SUBSCRIPTION unison_node2_to_node1 DISABLE",
                   "ALTER SUBSCRIPTION unison_node2_to_node1 SET (slot_name = NONE)", "DROP SUBSCRIPTION unison_node2_to_node1")
        bring_up(cluster.site, Progress())
        with superuser(cluster) as cursor:
            cursor.execute("ALTER SUBSCRIPTION unison_node2_to_node1 CONNECTION 'host=127.0.0.1 password=other'")
            cursor.execute("ALTER ROLE unison_replicator PASSWORD NULL")
        assert "set the password of unison_replicator" in cluster.site.call("node1", "node.prepare", Role=cluster.site.roles())["done"]
        done_here = cluster.site.call("node1", "subscription.setup", Subscription=cluster.site.subscription("node2"))["done"]
        assert "renewed the connection of unison_node2_to_node1" in done_here
    finally:
        done.set()
        watcher.join()
        with superuser(cluster) as cursor:
            for name in loud:
                cursor.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))
            cursor.execute("SELECT pg_reload_conf()")
    assert seen
    verifiers = [query for query in seen if "SCRAM-SHA-256$" in query]
    assert not [query for query in seen if secret in query] and not verifiers
    logs = list((cluster.folder("node1") / "log").glob("*.log"))
    assert any("DROP SUBSCRIPTION" in path.read_text(errors="replace") for path in logs), "the log was not loud"
    assert not [path for path in logs if secret in path.read_text(errors="replace")]


def test_the_agent_answers_the_probe_while_others_loiter(cluster):
    address = (cluster.site.spec("node1").loopback, cluster.site.configuration.agent_port)
    with contextlib.ExitStack() as opened:
        for _ in range(80):
            opened.enter_context(socket.create_connection(address)).sendall(b"GET /health HTTP/1.1\r\n")
        with contextlib.closing(http.client.HTTPConnection(*address, timeout=5)) as connection:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
