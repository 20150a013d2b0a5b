"""The shape of a table as the server's catalog has it, and whether the merge can carry it."""

import hashlib
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from services.driver import Cursor, one_row
from services.errors import ServiceError
from services.sequence import RANGE
from services.statements import joined
from services.trigger import CALLED, INSTALLED

VERSION_COLUMNS = ("modified_ts", "modified_node")
# what images and tombstones have besides (companions.sql)
TOMBSTONE_COLUMNS = (*VERSION_COLUMNS, "unison_replaced_ts", "unison_replaced_node")
COMPANION_COLUMNS = ("unison_replaced_ts", "unison_replaced_node", "unison_arrived")
PERSISTENCE = {"u": "unlogged", "t": "temporary"}
KINDS = {"p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}


@dataclass(frozen=True)
class Shape:
    """A table's names, columns and key. Columns are in the catalog's order, without dropped ones."""

    schema: str
    table: str
    columns: tuple[str, ...]
    generated: frozenset[str]
    always_identity: frozenset[str]
    key: tuple[str, ...]
    own_sequence_key: bool
    long_key: tuple[str, ...]

    @property
    def stored(self) -> list[str]:
        """The columns that a row image carries; generated ones are computed again where it arrives."""
        return [column for column in self.columns if column not in self.generated]

    def companion(self, kind: str) -> str:
        """Name something that stands beside the table; the same on every node, 63 bytes at most, and unlike any other table's."""
        mark = hashlib.sha256(f"{self.schema}\0{self.table}".encode()).hexdigest()[:8]
        return f"{self.table.encode()[:30].decode(errors='ignore')}_{mark}_{kind}"

    def parts(self, node_index: int) -> dict[str, Any]:
        """Give the names that the files in sql/ ask for: ``{"names": {...}, "functions": {part: name}}``."""
        def beside(kind: str) -> sql.Identifier:
            return sql.Identifier("unison", self.companion(kind))

        key, stored = list(self.key), self.stored
        updatable = [column for column in stored if column not in self.always_identity]
        names = {
            "table": sql.Identifier(self.schema, self.table), "image": beside("image"), "tombstone": beside("tombstone"),
            **{part: beside(part) for part in CALLED},
            "schema_text": sql.Literal(self.schema), "table_text": sql.Literal(self.table), "tombstone_index": sql.Identifier(self.companion("tombstone_key")),
            "tombstone_arrival": sql.Identifier(self.companion("tombstone_arrival")), "node": sql.Literal(node_index),
            "key": joined(key), "key_size": self._key_size(), "columns": joined(stored), "updatable": joined(updatable),
        } | {f"{alias}_key": joined(key, alias)
              for alias in ("t", "d", "n", "o", "r", "new", "gone", "arriving", "incoming", "inserted")}
        names["same_key"] = sql.SQL("({})").format(sql.SQL(" AND ").join(
            [sql.SQL("{} OPERATOR(pg_catalog.=) {}").format(sql.Identifier("old", column), sql.Identifier("new", column)) for column in key]))
        # a whole row, but for what is generated: transition tables hold no virtual columns, images hold none at all
        names |= {f"{alias}_all": sql.SQL(", ").join(sql.NULL if column in self.generated else sql.Identifier(alias, column) for column in self.columns)
                  for alias in ("t", "n", "o", "new")}
        names |= {f"{alias}_columns": joined(stored, alias) for alias in ("n", "new", "incoming")}
        names |= {f"{alias}_updatable": joined(updatable, alias) for alias in ("new", "incoming")}
        # a function's SET costs more; see merge_row.sql
        names["indexed"] = sql.SQL("(current_setting('enable_seqscan') = 'off' OR set_config('enable_seqscan', 'off', false) IS NOT NULL)")
        names |= self._key_parts(node_index)
        # a table whose key is drawn from a sequence has a part of its own for it
        files = {"outlive": "outlive_drawn"} if self.own_sequence_key else {}
        return {"names": names, "functions": {part: beside(part) for part in (*CALLED, *INSTALLED)}, "files": files}

    def _key_parts(self, node_index: int) -> dict[str, sql.Composable]:
        """Give the conditions of know.sql: is the key fresh, drawn here or sent by the node that drew it; let it be known. Where no sequence draws keys, none
        is ever fresh."""
        aliases = ("new", "o", "n", "t", "d", "gone", "arriving", "incoming")
        if not self.own_sequence_key:
            always: dict[str, sql.Composable] = {f"{alias}_known": sql.SQL("true") for alias in aliases}
            return {"sent_fresh": sql.SQL("false")} | always
        known = self.companion("known")
        # read when the part is made, as a text would be at each use
        name = sql.SQL("{}::pg_catalog.regclass").format(sql.Literal('unison."{}"'.format(known.replace('"', '""'))))
        key, bits, mask = sql.Identifier(self.key[0]), sql.Literal(RANGE.bit_length() - 1), sql.Literal(RANGE - 1)
        # the last key of a range has place 0, like that before its first, and is never fresh: so these can be short
        parts = {"known": sql.Identifier("unison", known), "known_text": name,
                 "drawn_last": sql.SQL("pg_catalog.pg_sequence_last_value({name}) OPERATOR(pg_catalog.+) {start}").format(
                     name=name, start=sql.Literal(RANGE * node_index)),
                 "n_drawn_fresh": sql.SQL("n.{key} OPERATOR(pg_catalog.>) part.last_known AND n.{key} OPERATOR(pg_catalog.<) {end}").format(
                     key=key, end=sql.Literal(RANGE * (node_index + 1))),
                 "sent_fresh": sql.SQL("(NEW.{key} >> {bits}) = NEW.modified_node AND (NEW.{key} & {mask}) > pg_catalog.pg_sequence_last_value({name})").format(
                     key=key, bits=bits, mask=mask, name=name)}
        for alias in aliases:
            its = sql.Identifier(alias, self.key[0])
            # with qualified operators: bury.sql has no search_path of its own
            place, node = sql.SQL("({} OPERATOR(pg_catalog.&) {})").format(its, mask), sql.SQL("({} >> {})").format(its, bits)
            parts |= {f"{alias}_place": place, f"{alias}_node": node, f"{alias}_known": sql.SQL(
                "({place} OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value({name}) OR unison.know_key({name}, {its}))").format(
                    place=place, name=name, its=its)}
        return parts

    def _key_size(self) -> sql.Composable:
        return sql.SQL(" + ").join([sql.SQL("pg_catalog.pg_column_size({})").format(sql.Identifier(column)) for column in self.long_key] or [sql.SQL("0")])


def read(cursor: Cursor, schema: str, table: str) -> Shape:
    """Read the shape of a table. Raises ServiceError when there is none of this name, or the merge cannot carry it."""
    cursor.execute("SELECT c.oid, c.relkind, c.relpersistence, c.relispartition,"
                   " EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid))"
                   " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s", [schema, table])
    found = cursor.fetchone()
    if found is None:
        raise ServiceError(f"there is no table {schema}.{table}", "this node's catalogue has none of this name",
                           "see python3 orchestrator.py status")
    oid, kind, persistence, partition, inherits = found
    name = f"{schema}.{table}"
    if kind != "r" or partition or inherits:
        raise ServiceError(f"{name} cannot be replicated", f"it is {KINDS.get(kind, 'part of a hierarchy of tables')}",
                           "replicate an ordinary table")
    if persistence != "p":
        raise ServiceError(f"{name} cannot be replicated", f"it is {PERSISTENCE[persistence]}: its rows are not in the WAL",
                           f"ALTER TABLE {name} SET LOGGED")
    cursor.execute("SELECT attname, attgenerated <> '', attidentity, atttypid::regtype::text FROM pg_attribute"
                   " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum", [oid])
    columns = cursor.fetchall()
    key, long_key = _primary_key(cursor, oid, name)
    _refuse_constraints(cursor, oid, name)
    taken = {column[0] for column in columns} & set(COMPANION_COLUMNS)
    if taken:
        raise ServiceError(f"{name} cannot be replicated", f"column {min(taken)} has a name that pgunison needs beside the table", "name it otherwise")
    generated = {column for column, stored, _, _ in columns if stored}
    if generated & set(key):
        raise ServiceError(f"{name} cannot be replicated", f"key column {min(generated & set(key))} is generated: it is computed only after the merge"
                           " has looked for it", "make it an ordinary column, or choose another key")
    always = {column for column, _, identity, _ in columns if identity == "a"}
    if always - set(key):
        raise ServiceError(f"{name} cannot be replicated", f"column {min(always - set(key))} is GENERATED ALWAYS AS IDENTITY and no key:"
                           " its value cannot be set on the other nodes", "make it GENERATED BY DEFAULT AS IDENTITY")
    cursor.execute("SELECT pg_get_serial_sequence(format('%%I.%%I', %s::text, %s::text), %s) IS NOT NULL", [schema, table, key[0]])
    own_sequence = one_row(cursor)[0] and len(key) == 1 and dict((c[0], c[3]) for c in columns)[key[0]] == "bigint"
    return Shape(schema, table, tuple(c[0] for c in columns), frozenset(generated), frozenset(always), key, own_sequence, long_key)


def _primary_key(cursor: Cursor, oid: int, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the key's columns, and those of them that may be long."""
    # a type of pg_catalog, an enum, or a domain over one compares with operators of pg_catalog; the merge knows no others
    cursor.execute(
        "WITH RECURSIVE base AS (SELECT oid AS domain, oid, typtype, typnamespace, typbasetype FROM pg_type"
        "   UNION ALL SELECT b.domain, t.oid, t.typtype, t.typnamespace, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.typbasetype)"
        " SELECT a.attname, k.condeferrable, b.typnamespace = 'pg_catalog'::regnamespace OR b.typtype = 'e', a.atttypid::regtype::text, a.attlen = -1"
        " FROM pg_constraint k, unnest(k.conkey) WITH ORDINALITY AS u (attnum, position), pg_attribute a, base b"
        " WHERE k.conrelid = %s AND k.contype = 'p' AND a.attrelid = k.conrelid AND a.attnum = u.attnum"
        " AND b.domain = a.atttypid AND b.typbasetype = 0 ORDER BY u.position", [oid])
    key = cursor.fetchall()
    if not key:
        raise ServiceError(f"{name} cannot be replicated", "it has no primary key: its rows cannot be told apart",
                           f"ALTER TABLE {name} ADD PRIMARY KEY (...)")
    for column, deferrable, comparable, kind, _ in key:
        if deferrable:
            raise ServiceError(f"{name} cannot be replicated", "its primary key is deferrable: ON CONFLICT cannot use it",
                               "make the primary key NOT DEFERRABLE")
        if not comparable:
            raise ServiceError(f"{name} cannot be replicated", f"key column {column} is of type {kind}, whose equality"
                               " is not PostgreSQL's own", "use a key of a type that PostgreSQL ships, an enum, or a domain over one")
    return tuple(row[0] for row in key), tuple(row[0] for row in key if row[4])


def _refuse_constraints(cursor: Cursor, oid: int, name: str) -> None:
    cursor.execute("SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
                   " WHERE x.indrelid = %s AND (x.indisunique OR x.indisexclusion) AND NOT x.indisprimary ORDER BY 1", [oid])
    found = [row[0] for row in cursor]
    if found:
        raise ServiceError(f"{name} cannot be replicated", f"{', '.join(found)}: two nodes can each take a value that is free for them, and a"
                           " second unique key has no resolution", "drop it, or make it the primary key")
