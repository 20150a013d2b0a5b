"""Pinned settings: what an administrator sets for clients must not reach the sessions that replicate.

A session takes its settings, each from the last of these that has it: the configuration files (sysconfig.json, ALTER SYSTEM), the database, the
role, the role in the database, the connection. Apply workers run as the owner, walsenders as the replicator: for these two roles the third kind is
ours, checked by each round of maintenance and set again. The agent's own sessions, and those of seeds, take the fourth (services/server.py).
"""

import time

from psycopg2 import sql

from services import statements
from services.driver import Cursor
from services.server import administer

# No limit that is meant for a client, no default that turns a transaction into another one, no reading of values in another way,
# nothing in another language in the log, which server_log.py reads.
ALWAYS = {
    "statement_timeout": "0", "lock_timeout": "0", "transaction_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0",
    "default_transaction_read_only": "off", "default_transaction_isolation": "read committed", "default_transaction_deferrable": "off",
    "role": "none", "session_replication_role": "origin", "row_security": "on", "exit_on_error": "off",
    "array_nulls": "on", "xmloption": "content", "transform_null_equals": "off", "standard_conforming_strings": "on", "quote_all_identifiers": "off",
    "lc_monetary": "C", "gin_fuzzy_search_limit": "0", "plan_cache_mode": "auto", "enable_indexscan": "on", "enable_bitmapscan": "on",
    "wal_sender_timeout": "30s", "tcp_user_timeout": "0", "lc_messages": "C", "unison.careful": "", "unison.seeding": "off",
}
# How values are written. The owner is a person, too: for it only where somebody has set them for everybody.
WRITING = {"datestyle": "ISO, MDY", "intervalstyle": "postgres", "extra_float_digits": "1", "bytea_output": "hex", "timezone": "UTC", "xmlbinary": "base64",
           "lc_numeric": "C", "lc_time": "C"}
# What the configuration may choose, but nobody for these roles or the database: which of their errors the log shows, and how, and how long a deadlock lasts.
SERVERS = {"log_min_messages": "warning", "log_error_verbosity": "default", "deadlock_timeout": "1s"}
# who sends decides with what: minor releases of PostgreSQL 18 and their like have such a list
SENDING = {"output_plugin_libraries": "pgoutput"}
LOOK_EVERY_S = 15.0

_looked: tuple[float, list[str]] | None = None


def keep(cursor: Cursor, database: str, owner: str) -> list[str]:
    """Pin the settings of the owner and of the replicators in this database where they are not; returns what was changed since, a sentence each.

    Workers that run with others are ended: PostgreSQL starts them again, with these.
    """
    cursor.execute(statements.text("pinned"), {"owner": owner, "names": [*ALWAYS, *WRITING, *SERVERS, *SENDING]})
    said = []
    for role, is_owner, known, common, found in cursor.fetchall():
        wanted = {name: value for name, value in _wanted(is_owner, common).items() if name in known or "." in name}
        wrong = {name: value for name, value in wanted.items() if found.get(name) != value}
        if wrong:
            _pin(database, role, wrong)
        # where nothing was pinned yet, nobody has changed it
        tampered = sorted(set(wrong) & set(ALWAYS)) if set(found) & set(ALWAYS) else []
        if tampered:
            said.append(f"ALTER ROLE {role} IN DATABASE has changed {', '.join(tampered)}, with which changes of peers are sent and applied: set back")
    return said


def _pin(database: str, role: str, settings: dict[str, str]) -> None:
    with administer(database) as connection, connection.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute(sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(
                sql.Identifier(role), sql.Identifier(database), sql.Identifier(*name.split(".")), sql.Literal(value)))
        connection.commit()
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
                       " AND backend_type IN ('logical replication apply worker', 'logical replication parallel worker', 'walsender')", [role])


def overridden(database: str) -> list[str]:
    """Name the settings that somebody has put in place of the agent's, and those with which writers pass the merge by; looked up now and then."""
    global _looked
    if _looked is None or time.monotonic() > _looked[0] + LOOK_EVERY_S:
        with administer(database) as connection, connection.cursor() as cursor:
            cursor.execute(statements.text("overridden"))
            _looked = (time.monotonic(), [f"ALTER SYSTEM has set {name} to {other!r} in place of {ours!r}: ALTER SYSTEM RESET {name}"
                                          for name, ours, other in cursor])
            cursor.execute(statements.text("bypassed"), {})
            _looked[1].extend(f"{name} is {value!r} for sessions that write here, and what they do may reach no peer: {undo}; then compare: verify"
                              for name, value, undo in cursor)
    return _looked[1]


def _wanted(is_owner: bool, common: list[str]) -> dict[str, str]:
    chosen = {name: value for name, value in (WRITING | SERVERS if is_owner else SERVERS).items() if name in common}
    return ALWAYS | chosen if is_owner else ALWAYS | WRITING | SENDING | chosen
