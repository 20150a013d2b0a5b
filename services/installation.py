"""Installation: what stands once in a node's database, and how an older version of it becomes this one.

``unison.node`` records which version was installed: ``digest`` (services/texts.py), ``migration``, the number of the last one, and
``functions``, what it made. Everything happens in the caller's transaction: a database is of one version or of the other.
"""

from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2 import sql

from services import statements
from services.driver import Cursor, one_row
from services.errors import ServiceError
from services.retry import reason
from services.server import agent as agent_name
from services.texts import DATABASE, MIGRATIONS, code_digest, database_digest, function_names, relation_names

OTHER_VERSION = "its database was prepared by another version"


def recorded(cursor: Cursor) -> dict[str, Any] | None:
    """Return the row of ``unison.node``, whatever columns it has; None when this is no node."""
    cursor.execute("SELECT to_regclass('unison.node') IS NOT NULL")
    if not one_row(cursor)[0]:
        return None
    # an older version has other columns
    cursor.execute("SELECT to_jsonb(n) FROM unison.node AS n")
    found = cursor.fetchone()
    return found[0] if found else None


def fault(node: dict[str, Any]) -> str | None:
    """Say why this program cannot use the database whose :func:`recorded` row that is, None when it can."""
    return None if node.get("digest") == database_digest() else OTHER_VERSION


def install(cursor: Cursor, owner: str, database: str, identity: tuple[str, str, int]) -> dict[str, Any] | None:
    """Make what stands once in the database, or bring an older version of it to this one. Repeatable. Returns what :func:`recorded` was before.

    ``identity`` is cluster, name and index of the node. ``cursor`` is a superuser's, so the first statement sees to it that nothing of the owner's is touched.
    """
    first, *rest = DATABASE
    names = {"owner": sql.Identifier(owner), "owner_text": sql.Literal(owner), "agent": sql.Identifier(agent_name()), "agent_text": sql.Literal(agent_name()),
             "database": sql.Identifier(database), "relations": sql.Literal(relation_names()), "functions": sql.Literal(function_names())}
    cursor.execute("SET LOCAL client_min_messages = warning")
    cursor.execute(statements.render(first, cursor, **names))
    before = recorded(cursor)
    unchanged = _unchanged_tables(cursor) if before else []
    if before:
        for number, name in enumerate(MIGRATIONS, 1):
            if number > (before.get("migration") or 0):
                _migrate(cursor, name, database)
    for name in rest:
        cursor.execute(statements.render(name, cursor, **names))
    if not before:
        cursor.execute("INSERT INTO unison.node (cluster, name, index) VALUES (%s, %s, %s)", identity)
    # a table that was as it was set up, by the old judgement, is so by the new one; one that was not, is not
    for schema, table in unchanged:
        cursor.execute("UPDATE unison.replicated_table SET signature = unison.signature(schema_name, table_name)"
                       " WHERE (schema_name, table_name) = (%s, %s)", [schema, table])
    cursor.execute("UPDATE unison.node SET digest = %s, migration = %s, functions = ARRAY(SELECT oid::regprocedure::text FROM pg_proc"
                   " WHERE pronamespace = 'unison'::regnamespace AND xmin = pg_current_xact_id()::xid ORDER BY 1)", [database_digest(), len(MIGRATIONS)])
    remove_leftovers(cursor)
    return before


def _migrate(cursor: Cursor, name: str, database: str) -> None:
    """Execute a migration. Raises ServiceError where something that is not ours depends on what it takes away; then the caller's transaction is lost."""
    try:
        cursor.execute(statements.render(name, cursor))
    except psycopg2.errors.DependentObjectsStillExist as error:
        raise ServiceError(f"database {database} cannot become one of this version", reason(error),
                           "drop what depends on it (nothing but pgunison may rely on schema unison), then: python3 orchestrator.py up") from error


def remove_leftovers(cursor: Cursor) -> None:
    """Drop what older versions made once in the database, unless the merge of a table is of an older version, too: that may call it yet.

    It belongs to the superuser, as ``cursor`` must.
    """
    cursor.execute("SELECT EXISTS (SELECT FROM unison.replicated_table WHERE digest <> %s)", [code_digest()])
    if not one_row(cursor)[0]:
        _drop(cursor, sql.SQL("p.oid::regprocedure::text <> ALL (ARRAY(SELECT unnest(functions) FROM unison.node)) AND NOT EXISTS ("
                              "SELECT FROM unison.replicated_table AS r"
                              " WHERE starts_with(p.proname, left(r.image_name, -length('image'))))"))


def remove_leftovers_of(cursor: Cursor, prefix: str) -> None:
    """Drop what older versions made for a table whose merge this transaction has installed; its functions' names begin with ``prefix``."""
    _drop(cursor, sql.SQL("starts_with(p.proname, {}) AND p.xmin <> pg_current_xact_id()::xid").format(sql.Literal(prefix)))


def _drop(cursor: Cursor, whose: sql.Composable) -> None:
    cursor.execute(statements.render("leftovers", cursor, whose=whose))
    for function, triggers in cursor.fetchall():
        for statement in triggers:
            cursor.execute(statement)
        # both texts are the catalogue's own, with quoted names
        cursor.execute(f"DROP ROUTINE {function}")


def _unchanged_tables(cursor: Cursor) -> list[tuple[str, str]]:
    """List the tables that are what they were when they were set up, as the version judges it that is installed."""
    cursor.execute("SELECT to_jsonb(r) FROM unison.replicated_table AS r")
    tables = [row[0] for row in cursor]
    # takeover.sql leaves no function there that is not the superuser's
    cursor.execute("SELECT to_regprocedure('unison.signature(text,text)') IS NULL")
    if one_row(cursor)[0] or any("signature" not in table for table in tables):
        return [(table["schema_name"], table["table_name"]) for table in tables]
    cursor.execute("SELECT to_regprocedure('unison.changes(text,text)') IS NOT NULL")
    # before there were facts.sql and its changes, the signature was compared as it is
    same = ("NOT EXISTS (SELECT FROM unison.changes(r.schema_name, r.table_name))" if one_row(cursor)[0]
            else "signature = unison.signature(schema_name, table_name)")
    cursor.execute(f"SELECT schema_name, table_name FROM unison.replicated_table AS r WHERE {same}")
    return cursor.fetchall()
