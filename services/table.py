"""Table: a user's table, and what makes it the same on every node."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from microesb import microesb
from psycopg2 import sql

from services import installation, shape, statements
from services.closing import let_write
from services.column import Column as OneColumn
from services.driver import Cursor, column_names, one_row
from services.errors import ServiceError
from services.faults import changes, doubt, guard_fault, in_words
from services.fitness import require_fit
from services.foreign_key import orphans
from services.rehearsal import require_rehearsed
from services.result import Result
from services.retry import retried
from services.sequence import Sequence as OneSequence
from services.sequence import node_range, set_range
from services.server import administer, change, connect
from services.shape import VERSION_COLUMNS, Shape
from services.texts import code_digest
from services.trigger import CALLED
from services.trigger import Trigger as OneTrigger

if TYPE_CHECKING:
    # for annotations only: importing these when the program runs would be a circle
    from services.node import Node


class Table(microesb.ClassHandler):
    """One table of the node's database, by schema and name."""

    schema: str
    name: str
    buckets: int
    wanted: list[int]
    limit: int
    parent_object: "Node"
    Column: Iterable[OneColumn]
    Sequence: Iterable[OneSequence]
    Trigger: Iterable[OneTrigger]

    @retried
    def set_up(self) -> Result:
        """Make the table where it is missing, and install all parts of the merge.

        Everything or nothing: one transaction. Repeatable: what is there is left as it is, other columns than asked for are refused.
        """
        result = Result()
        node = self.parent_object
        with change(node.database) as connection, connection.cursor() as cursor:
            owner = node.require_prepared(cursor)
            before = self._recorded(cursor)
            if guard_fault(cursor):
                # nothing of ours may stay locked meanwhile
                connection.commit()
                node.restore_guard(result)
            changed = changes(cursor, self.schema, self.name) if before else []
            # what is made belongs to the owner: the apply workers then run with its rights and no more
            cursor.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
            self._create(cursor, result)
            recorded, found = self._recorded(cursor), None
            if changed or recorded is None or recorded["digest"] != code_digest():
                shape.read(cursor, self.schema, self.name)
                require_fit(cursor, self.schema, self.name)
                require_rehearsed(cursor, self.schema, self.name)
                self._refuse_lonely_rows(cursor)
                self._add_version_columns(cursor, result)
                found = shape.read(cursor, self.schema, self.name)
                self._install(cursor, found, result)
            self._set_ranges(cursor, result)
            cursor.execute("RESET ROLE")
            if found is not None:
                self._record(cursor, found, recorded)
            if changed:
                doubt(cursor, self.schema, self.name)
                result.done.append(f"mended the merge on {self.schema}.{self.name}: {in_words(changed)}")
        if before:
            # a table that is new here leaves nothing of an older version
            with administer(node.database) as connection, connection.cursor() as cursor:
                installation.remove_leftovers(cursor)
        return result

    @retried
    def open(self) -> Result:
        """Let writers write and readers read: the table is replicated to and from every member."""
        result = Result()
        with change(self.parent_object.database) as connection, connection.cursor() as cursor:
            found = self._require_set_up(cursor)
            self.parent_object.require_current(cursor)
            cursor.execute("UPDATE unison.replicated_table SET is_open = true"
                           " WHERE (schema_name, table_name) = (%s, %s) AND NOT is_open", [self.schema, self.name])
            if cursor.rowcount:
                table = sql.Identifier(self.schema, self.name)
                let_write(cursor, table)
                cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO unison_writers, unison_readers").format(sql.Identifier(self.schema)))
                cursor.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO unison_writers").format(table))
                cursor.execute(sql.SQL("GRANT SELECT ON {} TO unison_readers").format(table))
                self._skip_drawn_keys(cursor, found)
                for schema, sequence in self._owned_sequences(cursor):
                    cursor.execute(sql.SQL("GRANT USAGE ON SEQUENCE {} TO unison_writers").format(sql.Identifier(schema, sequence)))
                result.done.append(f"opened {self.schema}.{self.name}")
        return result

    def digest(self) -> Result:
        """Answer count and hashes of the rows, in ``buckets`` parts of the key space: ``[[bucket, count, xor, sum], ...]``."""
        with connect(self.parent_object.database, settings={"statement_timeout": "10min"}) as connection, connection.cursor() as cursor:
            found = self._require_set_up(cursor)
            cursor.execute(sql.SQL(
                "SELECT abs(hashtextextended(ROW({key})::text, 0) % {buckets}) AS bucket, count(*),"
                " bit_xor(hashtextextended(ROW({columns})::text, 0))::text, sum(hashtextextended(ROW({columns})::text, 1))::text"
                " FROM {table} GROUP BY bucket ORDER BY bucket").format(
                    key=statements.joined(list(found.key)), columns=statements.joined(list(found.columns)),
                    table=sql.Identifier(self.schema, self.name), buckets=sql.Literal(self.buckets)))
            return Result(data={"buckets": [list(row) for row in cursor]})

    def versions(self) -> Result:
        """Answer key, version and hash of each row in the buckets asked for: ``{"[\\"key\\"]": [version, hash]}``, ``limit`` at most."""
        with connect(self.parent_object.database, settings={"statement_timeout": "10min"}) as connection, connection.cursor() as cursor:
            found = self._require_set_up(cursor)
            cursor.execute(sql.SQL(
                "SELECT json_build_array({key})::text, modified_ts::text || ' node ' || modified_node,"
                " hashtextextended(ROW({columns})::text, 0)::text FROM {table}"
                " WHERE abs(hashtextextended(ROW({key})::text, 0) % {buckets}) = ANY({wanted}) ORDER BY {key} LIMIT {limit}").format(
                    key=statements.joined(list(found.key)), columns=statements.joined(list(found.columns)),
                    table=sql.Identifier(self.schema, self.name), buckets=sql.Literal(self.buckets),
                    wanted=sql.Literal(self.wanted), limit=sql.Literal(self.limit)))
            return Result(data={"rows": {key: [version, mark] for key, version, mark in cursor}})

    def conflicts(self) -> Result:
        """Answer the newest entries of the table's conflict history on this node, ``limit`` at most."""
        with connect(self.parent_object.database) as connection, connection.cursor() as cursor:
            self._require_set_up(cursor)
            cursor.execute("SELECT schema_name AS schema, table_name AS table, key::text, noticed_at::text, lost_ts::text, lost_node, lost_row::text,"
                           " won_ts::text, won_node FROM unison.conflict WHERE (schema_name, table_name) = (%s, %s)"
                           " ORDER BY lost_ts DESC, lost_node, id LIMIT %s", [self.schema, self.name, self.limit])
            names = column_names(cursor)
            return Result(data={"conflicts": [dict(zip(names, row, strict=True)) for row in cursor]})

    def orphans(self) -> Result:
        """Answer for each foreign key of the table how many rows refer to no row on this node."""
        with connect(self.parent_object.database, settings={"statement_timeout": "10min"}) as connection, connection.cursor() as cursor:
            self._require_set_up(cursor)
            return Result(data={"foreign_keys": orphans(cursor, self.schema, self.name)})

    def _create(self, cursor: Cursor, result: Result) -> None:
        columns = list(self.Column)
        cursor.execute("SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL", [self.schema, self.name])
        if one_row(cursor)[0]:
            self._refuse_other_columns(cursor, columns)
            return
        if not columns:
            raise ServiceError(f"there is no table {self.schema}.{self.name}", "the call describes no columns", "describe them, or make it first")
        names = [column.name for column in columns]
        if set(VERSION_COLUMNS) & set(names):
            raise ServiceError(f"{self.schema}.{self.name} cannot be replicated", "modified_ts and modified_node hold the version of a row",
                               "name the column otherwise")
        definitions = self._definitions(cursor, columns)
        if self.schema != "public":
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema)))
        cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(self.schema, self.name), definitions))
        result.done.append(f"created table {self.schema}.{self.name}")

    def _definitions(self, cursor: Cursor, columns: list[OneColumn]) -> sql.Composable:
        key = [column.name for column in columns if column.primary_key]
        if not key:
            raise ServiceError(f"{self.schema}.{self.name} cannot be replicated", "no column is of the primary key", "say which one is")
        return sql.SQL(", ").join([*(column.definition(cursor) for column in columns), sql.SQL("PRIMARY KEY ({})").format(statements.joined(key))])

    def _refuse_other_columns(self, cursor: Cursor, columns: list[OneColumn]) -> None:
        if not columns:
            return
        # only the server knows what a type's text means: what is asked for is made, looked at and thrown away
        cursor.execute(sql.SQL("CREATE TEMPORARY TABLE unison_asked ({}) ON COMMIT DROP").format(self._definitions(cursor, columns)))
        asked, found = catalog_columns(cursor, "pg_temp", "unison_asked"), catalog_columns(cursor, self.schema, self.name)
        cursor.execute("DROP TABLE pg_temp.unison_asked")
        if asked != found:
            raise ServiceError(f"table {self.schema}.{self.name} has other columns than asked for",
                               f"it has {', '.join(found)}; asked for {', '.join(asked)}", "columns of a replicated table cannot be changed")

    def _refuse_lonely_rows(self, cursor: Cursor) -> None:
        """Rows that were here before the table was replicated reach a peer only while it joins."""
        cursor.execute("SELECT EXISTS (SELECT FROM pg_subscription), EXISTS (SELECT FROM unison.replicated_table"
                       " WHERE (schema_name, table_name) = (%s, %s))", [self.schema, self.name])
        joined, known = one_row(cursor)
        if joined and not known:
            cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(self.schema, self.name)))
            if one_row(cursor)[0]:
                raise ServiceError(f"{self.schema}.{self.name} has rows already", "the node has peers, which would never get these rows",
                                   "set the empty table up, then load the rows")

    def _add_version_columns(self, cursor: Cursor, result: Result) -> None:
        node = self.parent_object
        cursor.execute(
            "SELECT array_agg(attname || ' ' || atttypid::regtype::text ORDER BY attname) FROM pg_attribute WHERE NOT attisdropped AND attnum > 0"
            " AND attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND attname = ANY(%s)",
            [self.schema, self.name, list(VERSION_COLUMNS)])
        found = one_row(cursor)[0]
        if found == ["modified_node smallint", "modified_ts timestamp with time zone"] and self._recorded(cursor):
            return
        if found:
            raise ServiceError(f"{self.schema}.{self.name} cannot be replicated", f"it has its own {', '.join(found)}",
                               "rename it: modified_ts and modified_node hold the version of a row")
        cursor.execute(sql.SQL(
            "ALTER TABLE {} ADD COLUMN modified_ts timestamptz NOT NULL DEFAULT clock_timestamp(),"
            " ADD COLUMN modified_node smallint NOT NULL DEFAULT {}").format(sql.Identifier(self.schema, self.name), sql.Literal(node.index)))
        result.done.append(f"added the version columns to {self.schema}.{self.name}")

    def _install(self, cursor: Cursor, found: Shape, result: Result) -> None:
        parts = found.parts(self.parent_object.index)
        cursor.execute(statements.render("companions", cursor, **parts["names"]))
        self._limit_key(cursor, found, parts)
        if found.own_sequence_key:
            cursor.execute(statements.render("known", cursor, **parts["names"]))
        for name in CALLED:
            cursor.execute(statements.render(name, cursor, function=parts["functions"][name], **parts["names"]))
        for trigger in self.Trigger:
            trigger.install(cursor, parts)
        installation.remove_leftovers_of(cursor, found.companion(""))
        cursor.execute(statements.render("close", cursor))
        # the copy of a joining node reads rows and tombstones as the replicator
        cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO unison_replicators").format(sql.Identifier(self.schema)))
        cursor.execute(sql.SQL("GRANT SELECT ON {table}, {tombstone} TO unison_replicators").format(**parts["names"]))
        result.done.append(f"installed the merge on {self.schema}.{self.name}")

    def _limit_key(self, cursor: Cursor, found: Shape, parts: dict[str, Any]) -> None:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = 'unison_key_fits'"
                       " AND conrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)))", [self.schema, self.name])
        if found.long_key and not one_row(cursor)[0]:
            cursor.execute(statements.render("key_fits", cursor, **parts["names"]))

    def _record(self, cursor: Cursor, found: Shape, recorded: dict[str, Any] | None) -> None:
        """Remember what the table consists of. What only its user can have changed must be as it was recorded; ServiceError when it is not."""
        described = {"columns": [column.description() for column in self.Column]}
        cursor.execute(
            "INSERT INTO unison.replicated_table (schema_name, table_name, image_name, tombstone_name, key_columns, signature, description, digest)"
            " VALUES (%s, %s, %s, %s, %s, '', %s, %s) ON CONFLICT (schema_name, table_name) DO UPDATE"
            " SET key_columns = excluded.key_columns, digest = excluded.digest",
            [self.schema, self.name, found.companion("image"), found.companion("tombstone"), list(found.key), json.dumps(described), code_digest()])
        # another version may have other companions, too
        renewed = "merge %" if recorded is None or recorded["digest"] != code_digest() else "merge (trigger|function)"
        cursor.execute(statements.text("record"), {"schema": self.schema, "table": self.name, "renewed": renewed})
        # of a table that is new all was recorded just now
        changed = changes(cursor, self.schema, self.name) if recorded else []
        if changed:
            raise ServiceError(f"{self.schema}.{self.name} was changed", in_words(changed),
                               "undo it as a superuser, then run: python3 orchestrator.py up")

    def _set_ranges(self, cursor: Cursor, result: Result) -> None:
        asked = {sequence.column for sequence in self.Sequence}
        cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))"
                       " AND attnum > 0 AND NOT attisdropped AND pg_get_serial_sequence(format('%%I.%%I', %s::text, %s::text), attname)"
                       " IS NOT NULL", [self.schema, self.name] * 2)
        for column in sorted({row[0] for row in cursor} | asked):
            set_range(cursor, (self.schema, self.name), column, self.parent_object.index, result)

    def _skip_drawn_keys(self, cursor: Cursor, found: Shape) -> None:
        """Let the sequence go on behind the keys that are there: a node that was made anew drew them in its former life."""
        if found.own_sequence_key:
            first, last = node_range(self.parent_object.index)
            cursor.execute(sql.SQL(
                "SELECT setval(s.name, drawn.highest) FROM (SELECT max({key}) AS highest FROM {table} WHERE {key} BETWEEN {first} AND {last}) AS drawn,"
                " LATERAL (SELECT pg_get_serial_sequence({quoted}, {column})::regclass AS name) AS s"
                " WHERE drawn.highest > coalesce(pg_sequence_last_value(s.name), 0)").format(
                    key=sql.Identifier(found.key[0]), table=sql.Identifier(self.schema, self.name), first=sql.Literal(first), last=sql.Literal(last),
                    quoted=sql.Literal(sql.Identifier(self.schema, self.name).as_string(cursor)), column=sql.Literal(found.key[0])))

    def _owned_sequences(self, cursor: Cursor) -> list[tuple[str, str]]:
        cursor.execute("SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                       " JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')"
                       " WHERE c.relkind = 'S' AND d.refobjid = to_regclass(format('%%I.%%I', %s::text, %s::text))", [self.schema, self.name])
        return cursor.fetchall()

    def _recorded(self, cursor: Cursor) -> dict[str, Any] | None:
        return next(iter(replicated_tables(cursor, (self.schema, self.name))), None)

    def _require_set_up(self, cursor: Cursor) -> Shape:
        self.parent_object.require_prepared(cursor)
        if self._recorded(cursor) is None:
            raise ServiceError(f"{self.schema}.{self.name} is not replicated on this node", "it was never set up", "call table.setup first")
        return shape.read(cursor, self.schema, self.name)


def catalog_columns(cursor: Cursor, schema: str, table: str) -> list[str]:
    """List a table's columns, but for the version, as ``name type [not null] [key n]``."""
    cursor.execute(
        "SELECT concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,"
        " 'key ' || array_position(k.conkey, a.attnum)) FROM pg_attribute a"
        " LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'p'"
        " WHERE a.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) AND a.attnum > 0 AND NOT a.attisdropped"
        " AND a.attname <> ALL (%s) ORDER BY a.attnum", [schema, table, list(VERSION_COLUMNS)])
    return [row[0] for row in cursor]


def replicated_tables(cursor: Cursor, only: tuple[str, str] | None = None) -> list[dict[str, Any]]:
    """List what ``table.setup`` recorded on this node, in the order of the names; ``only`` of one table, by schema and name."""
    cursor.execute("SELECT schema_name, table_name, image_name, tombstone_name, description, digest, is_open"
                   " FROM unison.replicated_table WHERE %s IS NULL OR (schema_name, table_name) = (%s, %s)"
                   " ORDER BY schema_name, table_name", [only and only[1], *(only or (None, None))])
    names = ("schema", "name", "image", "tombstone", "description", "digest", "open")
    return [dict(zip(names, row, strict=True)) for row in cursor]
