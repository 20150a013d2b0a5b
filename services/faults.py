"""Faults: what was changed of a replicated table, or of the guard that should have refused it, in words; and what follows from it."""

import re
import time
from typing import Any

from psycopg2 import sql

from services import statements
from services.agent_role import owner_of
from services.driver import Cursor, one_row
from services.server import agent

EVENT_TRIGGERS = ("unison_guard", "unison_guard_drop", "unison_guard_start")
# what is installed once a database and judges or helps the merge of every table
SHARED = ("facts", "guard", "know", "conflict", "beat")
MOST_WORDS = 5
# a look costs half a second with a hundred tables
LOOK_AGAIN_S = 300.0
_FUNCTION = re.compile(r"CREATE OR REPLACE FUNCTION (unison\.\w+)\(.*?\$body\$(.*?)\$body\$", re.DOTALL)

# what was seen of altered.sql, when, and what of each table is changed
_looked: tuple[tuple[Any, ...], float, dict[tuple[str, str], list[str]]] | None = None


def changes(cursor: Cursor, schema: str, table: str) -> list[str]:
    """List in words what of the table is not as it was when it was set up; empty for one that never was."""
    cursor.execute("SELECT changes FROM unison.changes(%s, %s)", [schema, table])
    found = cursor.fetchone()
    return found[0] if found else []


def all_changes(cursor: Cursor) -> dict[tuple[str, str], list[str]]:
    """List :func:`changes` of each table that has any, by schema and name.

    Asked for again and again, it looks at the catalogue only when something was altered since, or after :data:`LOOK_AGAIN_S`: a superuser can
    pass the guard without a note (event_triggers = off).
    """
    global _looked
    cursor.execute(statements.text("altered"))
    seen = one_row(cursor)
    if _looked is None or _looked[0] != seen or time.monotonic() > _looked[1] + LOOK_AGAIN_S:
        began = time.monotonic()
        cursor.execute("SELECT schema_name, table_name, changes FROM unison.changes(NULL, NULL)")
        _looked = (seen, began, {(schema, table): words for schema, table, words in cursor})
    return _looked[2]


def in_words(changed: list[str]) -> str:
    """Make a short sentence of changes."""
    more = len(changed) - MOST_WORDS
    return ", ".join(changed[:MOST_WORDS]) + (f" and {more} more" if more > 0 else "")


def guard_fault(cursor: Cursor) -> str | None:
    """Say what is wrong with the guard against DDL and the functions that all tables share, None when nothing is."""
    cursor.execute("SELECT ARRAY(SELECT evtname::text FROM pg_event_trigger WHERE evtname = ANY(%s) AND evtenabled = 'A'),"
                   " coalesce(current_setting('event_triggers', true), 'on')", [list(EVENT_TRIGGERS)])
    enabled, event_triggers = one_row(cursor)
    off = sorted(set(EVENT_TRIGGERS) - set(enabled))
    if off or event_triggers == "off":
        return f"the guard against DDL is off: {', '.join(f'event trigger {name}' for name in off) or 'event_triggers = off'}"
    expected = shared_functions(cursor)
    cursor.execute("SELECT n.nspname || '.' || p.proname, p.prosrc FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace"
                   " WHERE n.nspname || '.' || p.proname = ANY(%s)", [list(expected)])
    found = dict(cursor.fetchall())
    other = sorted(name for name, body in expected.items() if found.get(name) != body)
    return f"replaced: {', '.join(f'function {name}' for name in other)}" if other else None


def doubt(cursor: Cursor, schema: str | None = None, table: str | None = None) -> None:
    """Let every link of this node compare the table with its peer, and merge all of it once more (restate.py); all tables when none is named."""
    cursor.execute(statements.text("doubt"), {"schema": schema, "table": table})


def shared_functions(cursor: Cursor) -> dict[str, str]:
    """Return the functions of :data:`SHARED` by schema and name, as the catalogue holds their bodies."""
    names: dict[str, sql.Composable] = {"agent_text": sql.Literal(agent()),
                                        "owner_text": sql.Literal(owner_of(cursor, agent()))}
    return {name: sql.SQL(body).format(**names).as_string(cursor) for file in SHARED for name, body in _FUNCTION.findall(statements.text(file))}
