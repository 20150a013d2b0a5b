"""SQL from the files in ``sql/``, with quoted identifiers put in."""

import re
from functools import cache
from importlib import resources

from psycopg2 import sql

from services.driver import Connection, Cursor

_BODY = re.compile(r"\$body\$(.*?)\$body\$", re.DOTALL)


@cache
def text(name: str) -> str:
    """Read ``sql/<name>.sql``."""
    return resources.files("services").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def render(name: str, connection: Connection | Cursor, **parts: sql.Composable) -> str:
    """Put ``parts`` into the ``{placeholders}`` of ``sql/<name>.sql``.

    A function's body between ``$body$`` marks becomes a quoted string, because an identifier may contain any mark.
    """
    def quoted(match: re.Match[str]) -> str:
        body = sql.SQL(match.group(1)).format(**parts).as_string(connection)
        bodies.append(sql.Literal(body))
        return f"{{body{len(bodies) - 1}}}"

    bodies: list[sql.Composable] = []
    template = _BODY.sub(quoted, text(name))
    return sql.SQL(template).format(**parts, **{f"body{n}": body for n, body in enumerate(bodies)}).as_string(connection)


def joined(columns: list[str], alias: str = "") -> sql.Composable:
    """List columns with commas, each behind ``alias`` and a dot where one is given."""
    return sql.SQL(", ").join(sql.Identifier(*([alias] if alias else []), column) for column in columns)
