"""Settings that are meant for clients, set in each way there is: changes of peers are sent and applied all the same, and the agent works on."""

import contextlib
import re
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2 import sql

from services import pinned
from services.server import options
from tests.convergence.comparison import MARKS, all_links, assert_same, names, wait_until

TABLE1 = {"name": "table1", "columns": [{"name": "id", "type": "bigserial", "primary_key": True}, {"name": "col1", "type": "text"},
                                        {"name": "list", "type": "text[]"}, {"name": "price", "type": "money"}, {"name": "at", "type": "timestamptz"},
                                        {"name": "bytes", "type": "bytea"}, {"name": "span", "type": "interval"}, {"name": "number", "type": "float8"}]}
# Each of them has stopped a link, changed a value on its way, or stopped the agent, or may: what a client may set for itself, or an owner for its database.
HOSTILE = {
    "statement_timeout": "1ms", "lock_timeout": "1ms", "transaction_timeout": "1s", "idle_in_transaction_session_timeout": "1ms", "idle_session_timeout": "1ms",
    "default_transaction_read_only": "on", "default_transaction_isolation": "serializable", "default_transaction_deferrable": "on", "row_security": "off",
    "search_path": "nowhere", "array_nulls": "off", "xmloption": "document", "transform_null_equals": "on", "standard_conforming_strings": "off",
    "quote_all_identifiers": "on", "gin_fuzzy_search_limit": "1", "plan_cache_mode": "force_custom_plan", "enable_indexscan": "off", "enable_bitmapscan": "off",
    "timezone": "Pacific/Chatham", "datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "extra_float_digits": "-15", "bytea_output": "escape",
    "xmlbinary": "hex", "default_tablespace": "nowhere", "temp_tablespaces": "nowhere", "work_mem": "64kB", "jit": "on", "client_encoding": "LATIN1",
    "check_function_bodies": "off", "escape_string_warning": "off", "backslash_quote": "on", "client_min_messages": "error",
    "default_text_search_config": "simple", "wal_sender_timeout": "1ms", "tcp_user_timeout": "1",
    "unison.careful": "no transaction", "unison.seeding": "on", "unison.moved": "yes",
}
# of a superuser
HOSTILE_SUPERUSER = {"session_replication_role": "replica", "exit_on_error": "on", "log_min_messages": "panic", "log_statement": "all",
                     "lc_messages": "POSIX", "log_error_verbosity": "terse", "deadlock_timeout": "1h", "max_stack_depth": "100kB",
                     "track_activities": "off", "track_counts": "off", "plpgsql.variable_conflict": "error", "plpgsql.extra_errors": "all"}
# What nobody can do harm with to a session that replicates, and why. A setting that a PostgreSQL of tomorrow brings is in none.
HARMLESS = {
    "the connection says it, or replication for itself":
        "search_path|client_encoding|application_name|synchronous_commit|log_(dis)?connections|ignore_system_indexes|jit_(debugging|profiling)_support|post_auth_delay",
    "it is of one transaction, and ends with it": "transaction_(isolation|read_only|deferrable)",
    "another plan, with the same rows":
        "enable_.*|geqo.*|jit.*|cpu_.*|(seq|random)_page_cost|parallel_.*|min_parallel_.*|effective_cache_size|constraint_exclusion|cursor_tuple_fraction"
        "|default_statistics_target|(from|join)_collapse_limit|recursive_worktable_factor|debug_parallel_query|max_parallel_.*|synchronize_seqscans",
    "more or less memory, or work at a time":
        ".*_mem|.*_mem_multiplier|temp_buffers|max_stack_depth|.*_io_concurrency|backend_flush_after|io_combine_limit|file_copy_method|gin_pending_list_limit"
        "|commit_(delay|siblings)|wal_(skip_threshold|compression|init_zero|recycle|consistency_checking)|client_connection_check_interval|tcp_keepalives_.*"
        "|debug_(discard_caches|logical_replication_streaming)",
    "no worker vacuums, or runs DDL":
        "vacuum_.*|default_(tablespace|toast_compression|table_access_method|text_search_config)|temp_tablespaces|check_function_bodies|createrole_self_grant"
        "|event_triggers|allow_.*|icu_validation_level|extension_control_path|lo_compat_privileges|restrict_nonsystem_relation_kind|password_encryption"
        "|md5_password_warnings|scram_iterations",
    "values are sent with all their digits, and times with their offset": "timezone_abbreviations|escape_string_warning|backslash_quote",
    "what is told to somebody else": "client_min_messages|log_.*|debug_(pretty_)?print.*|trace_.*|track_.*|compute_query_id|stats_fetch_consistency"
                                     "|update_process_title|backtrace_functions|plpgsql\\..*",
    "without a superuser nobody sets it, and with one nothing is safe":
        "dynamic_library_path|(session|local)_preload_libraries|temp_file_limit|zero_damaged_pages|ignore_checksum_failure",
}

pytestmark = pytest.mark.process_runtime("what PostgreSQL does with settings is the same in a container")


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=2, tables=[TABLE1, MARKS]).up()


@contextlib.contextmanager
def administrator(cluster, node: str, database: str = "postgres") -> Iterator[psycopg2.extensions.cursor]:
    """A superuser's cursor to whom none of the settings applies; each statement is a transaction."""
    configuration = cluster.site.configuration
    # what the session says for itself wins over all
    own = options({"search_path": "public", "session_replication_role": "origin", "transaction_timeout": "0"})
    connection = psycopg2.connect(host=str(cluster.folder(node) / "socket"), port=configuration.postgresql_port, user="postgres", dbname=database,
                                  options=own)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def owner(cluster) -> str:
    return cluster.site.configuration.role("owner").name


def replicator(cluster) -> str:
    return cluster.site.configuration.role("replicator").name


def renew_sessions(cluster) -> None:
    """End every session that replicates: the next ones take the settings that there are now."""
    for node in names(cluster):
        with administrator(cluster, node) as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN ('logical replication apply worker', 'walsender')")


def write(cluster, word: str) -> None:
    """A large transaction, and each kind of single write, on both nodes, by sessions that set themselves right."""
    for node in names(cluster):
        with administrator(cluster, node, cluster.site.configuration.database) as cursor:
            cursor.execute("INSERT INTO table1 (col1, list, price, at, bytes, span, number) SELECT %s || n, ARRAY[NULL, 'null', 'a'], 12.5::numeric::money,"
                           " timestamptz '2020-01-01' + n * interval '1 h', '\\x00ff27'::bytea, '-1 day +02:03:04', 0.1::float8 + n"
                           " FROM generate_series(1, 300) AS n",
                           [f"{word} of {node} "])
            cursor.execute("UPDATE table1 SET list = list || NULL::text WHERE col1 LIKE %s", [f"{word} of {node} 1%"])
            cursor.execute("DELETE FROM table1 WHERE col1 LIKE %s", [f"{word} of {node} 2%"])


def counts(cluster, word: str) -> list[tuple]:
    """Ask each node for what arrived, in a session to which no setting applies."""
    found = []
    for node in names(cluster):
        with administrator(cluster, node, cluster.site.configuration.database) as cursor:
            cursor.execute("SELECT count(*), md5(string_agg(t::text, ' ' ORDER BY id)) FROM table1 AS t WHERE col1 LIKE %s", [f"{word} %"])
            found.append(cursor.fetchone())
    return found


def assert_arrives(cluster, word: str) -> None:
    write(cluster, word)

    def missing() -> str | None:
        found = counts(cluster, word)
        # of 300 a node, those with a number that begins with 2 are deleted
        return None if len(set(found)) == 1 and found[0][0] == 2 * (300 - 111) else str(found)

    wait_until(missing, "both nodes hold the same rows", 60.0)


def alter(cluster, whose: sql.Composable, settings: dict[str, str]) -> None:
    """Say ``ALTER ... SET`` on each node."""
    for node in names(cluster):
        with administrator(cluster, node) as cursor:
            for name, value in settings.items():
                cursor.execute(sql.SQL("ALTER {} SET {} = {}").format(whose, sql.Identifier(*name.split(".")), sql.Literal(value)))


def reset(cluster, whose: sql.Composable) -> None:
    for node in names(cluster):
        with administrator(cluster, node) as cursor:
            cursor.execute(sql.SQL("ALTER {} RESET ALL").format(whose))


def database(cluster) -> sql.Composable:
    return sql.Identifier(cluster.site.configuration.database)


WAYS = ["database", "owner", "replicator", "everybody"]


@pytest.mark.parametrize("way", WAYS)
def test_settings_for_clients_reach_no_session_that_replicates(cluster, way):
    whose = {"database": sql.SQL("DATABASE {}").format(database(cluster)), "owner": sql.SQL("ROLE {}").format(sql.Identifier(owner(cluster))),
             "replicator": sql.SQL("ROLE {}").format(sql.Identifier(replicator(cluster))), "everybody": sql.SQL("ROLE ALL")}[way]
    try:
        alter(cluster, whose, HOSTILE | HOSTILE_SUPERUSER | ({"role": owner(cluster)} if way == "database" else {}))
        renew_sessions(cluster)
        assert_arrives(cluster, way)
        found = cluster.site.observe()
        assert [(node.name, node.state, node.problem) for node in found.nodes] == [(name, "ready", None) for name in names(cluster)]
        # a call that changes the node, and one that compares
        for node in names(cluster):
            cluster.site.call(node, "node.prepare", Role=cluster.site.roles())
    finally:
        reset(cluster, whose)
    renew_sessions(cluster)
    assert_same(cluster, "table1")


def test_a_large_transaction_takes_longer_than_a_limit_for_clients(cluster):
    whose = sql.SQL("DATABASE {}").format(database(cluster))
    try:
        alter(cluster, whose, {"transaction_timeout": "20ms"})
        renew_sessions(cluster)
        with administrator(cluster, "node1", cluster.site.configuration.database) as cursor:
            cursor.execute("INSERT INTO table1 (col1) SELECT 'large ' || n FROM generate_series(1, 50000) AS n")

        def missing() -> str | None:
            with administrator(cluster, "node2", cluster.site.configuration.database) as cursor:
                cursor.execute("SELECT count(*) FROM table1 WHERE col1 LIKE 'large %'")
                found = cursor.fetchone()[0]
            return None if found >= 50000 else f"{found} rows"

        wait_until(missing, "the large transaction has arrived", 60.0)
    finally:
        reset(cluster, whose)
    renew_sessions(cluster)
    assert_same(cluster, "table1")


def test_what_is_set_for_the_role_in_the_database_is_set_back(cluster):
    """Nothing wins over that but the connection, so it is ours; the owner may change it all the same."""
    roles = [sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), database(cluster)) for role in (owner(cluster), replicator(cluster))]
    try:
        for whose in roles:
            alter(cluster, whose, HOSTILE)
        renew_sessions(cluster)
        assert_arrives(cluster, "in database")
        said = (cluster.folder("node1") / "agent.log").read_text()
        assert f"ALTER ROLE {owner(cluster)} IN DATABASE has changed" in said and "transaction_timeout" in said
    finally:
        # what is ours comes back
        for whose in roles:
            reset(cluster, whose)
    assert_arrives(cluster, "then")
    assert_same(cluster, "table1")


def test_what_alter_system_sets_for_everybody_reaches_no_session_that_replicates(cluster):
    settings = {name: value for name, value in HOSTILE.items() if not name.startswith("unison.") and name not in ("default_tablespace", "temp_tablespaces")}
    try:
        for node in names(cluster):
            with administrator(cluster, node) as cursor:
                for name, value in settings.items():
                    cursor.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
                cursor.execute("SELECT pg_reload_conf()")
        renew_sessions(cluster)
        assert_arrives(cluster, "system")
    finally:
        for node in names(cluster):
            with administrator(cluster, node) as cursor:
                cursor.execute("SET default_transaction_read_only = off")
                cursor.execute("ALTER SYSTEM RESET ALL")
                cursor.execute("SELECT pg_reload_conf()")
    renew_sessions(cluster)
    assert_same(cluster, "table1")


def test_what_alter_system_sets_in_place_of_the_agents_is_said(cluster):
    with administrator(cluster, "node1") as cursor:
        cursor.execute("ALTER SYSTEM SET wal_level = 'replica'")
    try:
        wait_until(lambda: None if "ALTER SYSTEM has set wal_level to 'replica' in place of 'logical': ALTER SYSTEM RESET wal_level" in
                   (cluster.folder("node1") / "agent.log").read_text() else "it is not said", "the agent says so", 20.0)
    finally:
        with administrator(cluster, "node1") as cursor:
            cursor.execute("ALTER SYSTEM RESET wal_level")


def test_what_sysconfig_sets_for_clients_reaches_no_session_that_replicates(make_cluster):
    settings = {name: value for name, value in HOSTILE.items() if not name.startswith("unison.") and name not in ("default_tablespace", "temp_tablespaces")}
    cluster = make_cluster(nodes=2, tables=[TABLE1, MARKS], postgresql=settings).up()
    try:
        assert_arrives(cluster, "from the configuration")
        assert {node.state for node in cluster.site.observe().nodes} == {"ready"}
        # a node that joins, and one that is made ready again
        cluster.up()
    finally:
        cluster.remove()


def test_every_setting_of_clients_is_pinned_or_harmless(cluster):
    with administrator(cluster, "node1") as cursor:
        # plpgsql has some, too
        cursor.execute("DO 'BEGIN END'; SELECT lower(name) FROM pg_settings WHERE context IN ('user', 'backend', 'superuser', 'superuser-backend')")
        found = {row[0] for row in cursor}
    kept = set(pinned.ALWAYS | pinned.WRITING | pinned.SERVERS | pinned.SENDING)
    assert len(found) > 150 and "wal_sender_timeout" in found
    assert {name for name in found - kept if not any(re.fullmatch(names, name) for names in HARMLESS.values())} == set()


PASSING = [("ALTER DATABASE {database}", "session_replication_role", "replica"), ("ALTER ROLE writer1", "session_replication_role", "replica"),
           ("ALTER ROLE writer1 IN DATABASE {database}", "session_replication_role", "local"), ("ALTER ROLE ALL", "event_triggers", "off"),
           ("ALTER SYSTEM", "session_replication_role", "replica")]


def test_settings_that_pass_the_merge_by_are_named(cluster):
    database = f'"{cluster.site.configuration.database}"'
    undo = [f"{where.format(database=database)} RESET {name}" for where, name, _ in PASSING]
    with administrator(cluster, "node1") as cursor:
        for where, name, value in PASSING:
            cursor.execute(f"{where.format(database=database)} SET {name} = {value}")
    try:
        wait_until(lambda: next((command for command in undo if not any(command in said for said in warnings(cluster, "node1"))), None),
                   "the agent names each with its way back", 40.0)
    finally:
        with administrator(cluster, "node1") as cursor:
            for command in undo:
                cursor.execute(command)
    wait_until(lambda: next(iter(warnings(cluster, "node1")), None), "nothing is said any more", 40.0)


def warnings(cluster, node: str) -> list[str]:
    return cluster.site.agents.health(cluster.site.spec(node))["warnings"]


def test_links_stream_still(cluster):
    found = cluster.site.observe()
    assert {(link.source, link.target): link.state for link in found.links} == dict.fromkeys(all_links(cluster), "streaming")
