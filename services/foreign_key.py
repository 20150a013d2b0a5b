"""Foreign keys: apply workers do not check them, so a row can outlive the one that it refers to."""

from typing import Any

from psycopg2 import sql

from services import statements
from services.driver import Cursor, one_row


def orphans(cursor: Cursor, schema: str, table: str) -> list[dict[str, Any]]:
    """Count for each foreign key of the table the rows that refer to no row: ``[{"name": ..., "references": "schema.table", "rows": n}, ...]``."""
    cursor.execute(statements.text("foreign_keys"), {"schema": schema, "table": table})
    found = []
    for name, *referred, columns, keys, operators in cursor.fetchall():
        # a key that is NULL in part refers to nothing (MATCH SIMPLE)
        given = [sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(column)) for column in columns]
        # the foreign key's own operators: those of an extension's type are not in pg_catalog
        equal = [sql.SQL("p.{} OPERATOR({}) c.{}").format(sql.Identifier(key), sql.SQL(operator), sql.Identifier(column))
                 for column, key, operator in zip(columns, keys, operators, strict=True)]
        cursor.execute(sql.SQL("SELECT count(*) FROM {} AS c WHERE {} AND NOT EXISTS (SELECT FROM {} AS p WHERE {})").format(
            sql.Identifier(schema, table), sql.SQL(" AND ").join(given), sql.Identifier(*referred), sql.SQL(" AND ").join(equal)))
        found.append({"name": name, "references": ".".join(referred), "rows": one_row(cursor)[0]})
    return found
