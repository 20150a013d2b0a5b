"""Whether a table may be set up: what would stop a link, or lose rows, later on. What the merge itself cannot work with is in shape.py."""

from services import statements
from services.driver import Cursor, one_row
from services.errors import ServiceError
from services.shape import VERSION_COLUMNS

# PostgreSQL's limit is 1600; the image of a row has the version twice
MOST_COLUMNS = 1596
FAULTS = {
    "generated domain": ("it is generated, and of the domain {type}: an image carries no value for it, and the domain may refuse none",
                         "give it the type that the domain is made of"),
    "local name": ("it is of type {type}, whose values stand for something on one node only: another node may not have it, or by another number",
                   "keep the name as text, and cast it where it is used"),
    "no input": ("it is of type {type}, whose values PostgreSQL writes and never reads", "keep it as text"),
}


def require_fit(cursor: Cursor, schema: str, table: str) -> None:
    """Raise ServiceError when a table of this name has something that cannot be carried."""
    name = f"{schema}.{table}"
    cursor.execute("SELECT c.oid, (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
                   "  AND a.attname <> ALL (%s)), EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid),"
                   " EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisprimary AND x.indisexclusion)"
                   " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
                   [list(VERSION_COLUMNS), schema, table])
    oid, columns, rules, overlaps = one_row(cursor)
    if columns > MOST_COLUMNS:
        raise ServiceError(f"{name} cannot be replicated", f"it has {columns} columns, and {MOST_COLUMNS} leave room for its versions", "split it in two")
    if rules:
        raise ServiceError(f"{name} cannot be replicated", "it has rules, with which the merge cannot write to it", "drop them, or write triggers instead")
    if overlaps:
        raise ServiceError(f"{name} cannot be replicated", "its primary key is WITHOUT OVERLAPS: two nodes can each take a time that is free for them",
                           "choose a key that is compared for equality")
    _refuse_settings(cursor, oid, name)
    cursor.execute(statements.text("unfit_columns"), {"table": oid})
    for column, kind, fault in cursor.fetchall():
        detail, hint = FAULTS[fault]
        raise ServiceError(f"{name} cannot be replicated", f"column {column}: {detail.format(type=kind)}", hint)
    cursor.execute(statements.text("unowned_sequences"), {"table": oid})
    for column, sequence in cursor.fetchall():
        raise ServiceError(f"{name} cannot be replicated", f"column {column} draws from {sequence}, which it does not own: every node would draw the same",
                           f"ALTER SEQUENCE {sequence} OWNED BY {name}.{column}, or use bigserial")


def _refuse_settings(cursor: Cursor, oid: int, name: str) -> None:
    """Refuse what changes rows where they arrive, or keeps them out."""
    cursor.execute(statements.text("unfit_triggers"), {"table": oid})
    forced, trigger, last = one_row(cursor)
    if forced:
        raise ServiceError(f"{name} cannot be replicated", "its row level security is forced: its policies would keep out what arrives",
                           f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY")
    if trigger:
        raise ServiceError(f"{name} cannot be replicated", f"trigger {trigger} fires for what arrives, too: each node would change the row its own way",
                           f"ALTER TABLE {name} ENABLE TRIGGER {trigger}")
    if last:
        raise ServiceError(f"{name} cannot be replicated",
                           f"trigger {last} fires behind those of the merge, and may change a row that is sent already",
                           f"give it a name that sorts before zzz_unison_: ALTER TRIGGER {last} ON {name} RENAME TO z_{last}")
