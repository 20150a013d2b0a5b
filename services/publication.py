"""Publication: what this node sends to its peers."""

from typing import TYPE_CHECKING, Any

from microesb import microesb
from psycopg2 import sql

from pgunison.contract.names import PUBLICATION
from services import shape, statements
from services.driver import Cursor, one_row
from services.result import Result
from services.retry import retried
from services.server import change
from services.shape import TOMBSTONE_COLUMNS
from services.statements import joined
from services.table import replicated_tables

if TYPE_CHECKING:
    # for annotations only: importing these when the program runs would be a circle
    from services.node import Node


class Publication(microesb.ClassHandler):
    """The node's one publication: each replicated table, its images and its tombstones, and the node's beats; INSERTs only."""

    parent_object: "Node"

    @retried
    def set_up(self) -> Result:
        """Publish every table that is set up; a second call finds it done."""
        result = Result()
        with change(self.parent_object.database) as connection, connection.cursor() as cursor:
            owner = self.parent_object.require_prepared(cursor)
            ensure_publication(cursor, owner, result)
            published = published_tables(cursor)
            for table in replicated_tables(cursor):
                if (table["schema"], table["name"]) not in published:
                    self._add(cursor, table)
                    result.done.append(f"published {table['schema']}.{table['name']}")
        return result

    def _add(self, cursor: Cursor, table: dict[str, Any]) -> None:
        # an older version may have published some of it, or other columns
        cursor.execute("SELECT format('%%I.%%I', schemaname, tablename) FROM pg_publication_tables WHERE pubname = %s AND (schemaname, tablename)"
                       " IN ((%s, %s), ('unison', %s), ('unison', %s))", [PUBLICATION, table["schema"], table["name"], table["image"], table["tombstone"]])
        for (published,) in cursor.fetchall():
            cursor.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(sql.Identifier(PUBLICATION), sql.SQL(published)))
        found = shape.read(cursor, table["schema"], table["name"])
        # unison_arrived stays behind: a tombstone's arrival is each node's own
        cursor.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE {}, {}, {} ({})").format(
            sql.Identifier(PUBLICATION), sql.Identifier(table["schema"], table["name"]), sql.Identifier("unison", table["image"]),
            sql.Identifier("unison", table["tombstone"]), joined([*found.key, *TOMBSTONE_COLUMNS])))


def ensure_publication(cursor: Cursor, owner: str, result: Result) -> None:
    """Make the publication where it is missing; with the beats only at first, so that peers can subscribe before there are tables."""
    cursor.execute("SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = %s)", [PUBLICATION])
    if not one_row(cursor)[0]:
        cursor.execute(sql.SQL("CREATE PUBLICATION {} FOR TABLE unison.beat WITH (publish = 'insert')").format(sql.Identifier(PUBLICATION)))
        cursor.execute(sql.SQL("ALTER PUBLICATION {} OWNER TO {}").format(sql.Identifier(PUBLICATION), sql.Identifier(owner)))
        result.done.append(f"created publication {PUBLICATION}")
        return
    cursor.execute("SELECT EXISTS (SELECT FROM pg_publication_tables WHERE (pubname, schemaname, tablename) = (%s, 'unison', 'beat'))", [PUBLICATION])
    if not one_row(cursor)[0]:
        cursor.execute(sql.SQL("ALTER PUBLICATION {} ADD TABLE unison.beat").format(sql.Identifier(PUBLICATION)))
        result.done.append("published the beats")


def published_tables(cursor: Cursor) -> set[tuple[str, str]]:
    """List the users' tables that the node publishes together with their images and tombstones, those with the columns that peers take."""
    cursor.execute(statements.text("published"), {"publication": PUBLICATION, "columns": list(TOMBSTONE_COLUMNS)})
    return set(cursor.fetchall())
