"""Planted faults: each turns off one part of the merge on a node, so that it can be seen that chaos finds what the part is for.

Some make what the part is for more frequent, too; that alone is no fault. They add triggers of their own and leave the functions of pgunison as
they are, so they do not depend on how these are written.
"""

from collections.abc import Callable
from datetime import timedelta

from psycopg2 import sql

from chaos import clock
from chaos.target import Target

# Names that sort before and behind those of pgunison's triggers: triggers of one event fire in the order of their names.
FIRST, LAST = "aaa_chaos", "zzzz_chaos"


def stamp(target: Target, node: str) -> None:
    """Stamp a change with the clock alone, also when the version that it replaces is later."""
    for table in _tables(target, node):
        _trigger(target, node, LAST, f"BEFORE UPDATE ON {table['row']}", "NEW.modified_ts := clock_timestamp(); RETURN NEW;")


def tombstone(target: Target, node: str) -> None:
    """Send deletions and do them, and remember none."""
    for table in _tables(target, node):
        _trigger(target, node, LAST, f"AFTER INSERT ON {table['tombstone']}",
                 f"DELETE FROM {table['tombstone']} WHERE (modified_ts, modified_node) = (NEW.modified_ts, NEW.modified_node); RETURN NULL;", "ALWAYS")


def tie(target: Target, node: str) -> None:
    """Let the state that is here stay when another of the same moment arrives, whatever the nodes."""
    same_moments(target, node)
    for table in _tables(target, node):
        body = (f"IF EXISTS (SELECT FROM {table['row']} AS t WHERE ({table['t_key']}) = ({table['new_key']})"
                " AND t.modified_ts = NEW.modified_ts AND t.modified_node < NEW.modified_node) THEN RETURN NULL; END IF; RETURN NEW;")
        for place in ("row", "image"):
            _trigger(target, node, FIRST, f"BEFORE INSERT ON {table[place]}", body, "REPLICA")


def same_moments(target: Target, node: str) -> None:
    """Let the clock tick so seldom that nodes often give versions of the same moment."""
    clock.turn(target, node, timedelta(0), grain_s=5.0)


def image(target: Target, node: str) -> None:
    """Send an UPDATE as PostgreSQL does, too, and let the newer version win, as is often advised; take no notice of its image."""
    for table in _tables(target, node):
        _trigger(target, node, FIRST, f"BEFORE INSERT ON {table['image']}", "RETURN NULL;", "REPLICA")
        _trigger(target, node, FIRST, f"BEFORE UPDATE ON {table['row']}",
                 "IF (NEW.modified_ts, NEW.modified_node) > (OLD.modified_ts, OLD.modified_node) THEN RETURN NEW; END IF; RETURN NULL;", "REPLICA")
    _execute(target, node, ["DO $$ DECLARE p name; BEGIN FOR p IN SELECT pubname FROM pg_publication LOOP"
                            " EXECUTE format('ALTER PUBLICATION %I SET (publish = ''insert, update'')', p); END LOOP; END $$"])


def sweep(target: Target, node: str) -> None:
    """Let no sweep find anything."""
    races(target, node)
    for table in _tables(target, node):
        _trigger(target, node, FIRST, f"BEFORE DELETE ON {table['row']}",
                 "IF current_setting('application_name') = 'pgunison agent' THEN RETURN NULL; END IF; RETURN OLD;", "REPLICA")


def races(target: Target, node: str) -> None:
    """Let an INSERT wait before it commits, on nodes with clocks ever slower: so a deletion often arrives that does not see the row, and is later."""
    clock.turn(target, node, timedelta(seconds=30 * target.names().index(node)))
    for table in _tables(target, node):
        _trigger(target, node, LAST, f"AFTER INSERT ON {table['row']}", "PERFORM pg_sleep(0.1); RETURN NULL;")


def cascade(target: Target, node: str) -> None:
    """Bury no key that a row leaves which refers to itself: its cascade changes it a second time, under the new key."""
    for table in _tables(target, node, ("tree",)):
        _trigger(target, node, FIRST, f"BEFORE UPDATE ON {table['row']}",
                 "IF OLD.parent = OLD.id AND NEW.id <> OLD.id THEN PERFORM set_config('chaos.left', OLD.id::text, true); END IF; RETURN NEW;")
        _trigger(target, node, FIRST, f"BEFORE INSERT ON {table['tombstone']}",
                 "IF NEW.id::text = current_setting('chaos.left', true) THEN RETURN NULL; END IF; RETURN NEW;")


def guard(target: Target, node: str) -> None:
    """Let every DDL pass."""
    _execute(target, node, ["DO $$ DECLARE e name; BEGIN FOR e IN SELECT evtname FROM pg_event_trigger WHERE evtname LIKE 'unison%' LOOP"
                            " EXECUTE format('ALTER EVENT TRIGGER %I DISABLE', e); END LOOP; END $$"])


PLANTS: dict[str, Callable[[Target, str], None]] = {"stamp": stamp, "tombstone": tombstone, "tie": tie, "image": image, "sweep": sweep,
                                                    "cascade": cascade, "guard": guard}


def _tables(target: Target, node: str, names: tuple[str, ...] = ("hot", "moving", "large")) -> list[dict[str, str]]:
    """List tables, mostly those with contested keys, as SQL: the names of ``row``, ``image`` and ``tombstone``; the key of a row t and of NEW."""
    rows = target.query(node, "SELECT format('%%I.%%I', schema_name, table_name), format('unison.%%I', image_name), format('unison.%%I', tombstone_name),"
                              " (SELECT string_agg(format('t.%%I', k), ', ') FROM unnest(key_columns) AS k),"
                              " (SELECT string_agg(format('NEW.%%I', k), ', ') FROM unnest(key_columns) AS k)"
                              " FROM unison.replicated_table WHERE table_name = ANY(%s) ORDER BY 1", [list(names)])
    return [dict(zip(("row", "image", "tombstone", "t_key", "new_key"), row, strict=True)) for row in rows]


def _trigger(target: Target, node: str, name: str, event: str, body: str, fires: str = "") -> None:
    """Make a row trigger; ``fires`` is REPLICA for apply workers, ALWAYS for all, and nothing for writers."""
    table = event.split(" ON ")[1]
    function = sql.SQL("public.{}").format(sql.Identifier(f"{name} {event}"[:63]))
    statements = [
        sql.SQL("CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS {}").format(
            function, sql.Literal(f"#variable_conflict use_column\nBEGIN {body} END")),
        sql.SQL("CREATE TRIGGER {} {} FOR EACH ROW EXECUTE FUNCTION {}()").format(sql.Identifier(name), sql.SQL(event), function)]
    if fires:
        statements.append(sql.SQL("ALTER TABLE {} ENABLE {} TRIGGER {}").format(sql.SQL(table), sql.SQL(fires), sql.Identifier(name)))
    _execute(target, node, statements)


def _execute(target: Target, node: str, statements: list) -> None:
    connection = target.superuser(node)
    try:
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()
