"""Column: one column of a table that is to be made."""

import re
from typing import Any

from microesb import microesb
from psycopg2 import sql

from services import statements
from services.driver import Cursor, one_row
from services.errors import ServiceError

# What PostgreSQL would turn into an integer column with a sequence of its own.
SERIAL = {"bigserial": "bigint", "serial8": "bigint"}
NARROW_SERIAL = {"serial", "serial4", "smallserial", "serial2"}
# to_regtype() decides what is a type; this keeps out what its parser would read and a column list would not, such as a comment.
TYPE_TEXT = re.compile(r'[\w ".,()\[\]]+')
# what date and time input reads as the moment
MOMENTS = {"now", "today", "tomorrow", "yesterday"}
FUNCTIONS = {"now", "clock_timestamp", "statement_timestamp", "gen_random_uuid", "uuidv7"}


class Column(microesb.MultiClassHandler):
    """Name, type, and what may be in it."""

    name: str
    type: str
    primary_key: bool
    nullable: bool
    default: str | float | bool | dict[str, str] | None

    def definition(self, cursor: Cursor) -> sql.Composable:
        """Write the column as CREATE TABLE wants it.

        Raises ServiceError for a type that the server does not know or that cannot hold a range for each node.
        """
        parts = [sql.Identifier(self.name), sql.SQL(self._checked_type(cursor))]
        self._refuse_moment(cursor)
        if self.default is not None:
            parts += [sql.SQL("DEFAULT"), self._default()]
        if not self.nullable:
            parts += [sql.SQL("NOT NULL")]
        return sql.SQL(" ").join(parts)

    def description(self) -> dict[str, Any]:
        """Say what was asked for, as it is kept on the node."""
        return {"name": self.name, "type": self.type, "primary_key": self.primary_key,
                "nullable": self.nullable, "default": self.default}

    def _checked_type(self, cursor: Cursor) -> str:
        name = self.type.strip().lower()
        if name in SERIAL:
            return name
        if name in NARROW_SERIAL:
            raise ServiceError(f"column {self.name}: {self.type} has no room for a range of its own on each node",
                               "a node's range is 2^31 keys", "use bigserial")
        known = None
        if TYPE_TEXT.fullmatch(self.type):
            cursor.execute("SELECT to_regtype(%s)", [self.type])
            known = one_row(cursor)[0]
        if known is None:
            raise ServiceError(f"column {self.name}: there is no type {self.type!r}", "to_regtype() does not know it",
                               "name a type of PostgreSQL, or make the type on every node first and name it with its schema, such as public.mood")
        return self.type

    def _refuse_moment(self, cursor: Cursor) -> None:
        """Raise ServiceError for a text that PostgreSQL would read as the moment of set-up: another one on each node."""
        if not isinstance(self.default, str) or not MOMENTS & set(re.findall("[a-z]+", self.default.lower())):
            return
        cursor.execute(statements.text("type_parts"), {"type": self.type if self.type.strip().lower() not in SERIAL else "bigint"})
        if one_row(cursor)[0]:
            raise ServiceError(f"column {self.name}: the default {self.default!r} is no constant", "PostgreSQL reads it as the moment of set-up,"
                               " another one on each node", 'write {"function": "now"}, or a date and time')

    def _default(self) -> sql.Composable:
        if isinstance(self.default, dict):
            return sql.SQL("pg_catalog.") + sql.Identifier(self.default["function"]) + sql.SQL("()")
        return sql.Literal(self.default)
