"""Database: one node of a server that holds several, and the ways to write to it and to deliver messages to it.

The node is made by the product's own services, so what is installed in it is what a real one has. There is no apply worker: a message is delivered as
one would do it, by an INSERT of exactly the published columns, with ``session_replication_role = replica`` and a replication origin.
"""

import io
import itertools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2 import sql

from esb_config.call import execute
from esb_config.document import document
from services.seed import begin_merging, copy
from services.server import Server, options
from services.statements import joined
from tests.convergence.messages import KINDS, Message, Sender, version

CLUSTER, TABLE, KEY = "orders", "entry", "id"
COLUMNS = [{"name": KEY, "type": "bigserial", "primary_key": True}, {"name": "value", "type": "text"}, {"name": "parent", "type": "bigint"},
           {"name": "patron", "type": "bigint"}, {"name": "home", "type": "bigint"}]
# The key of the row that SET DEFAULT refers to: of no program, and of no part of the sequence.
HOME = 1
ROLES = [{"name": "app_owner", "kind": "owner", "password": "owner of orders"}]
STATEMENTS = 1000
# An ordinary writer's clock, as the test sets it. It stands still within an operation: the coarsest clock there is.
CLOCK = """
CREATE FUNCTION test.clock() RETURNS timestamptz LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$ SELECT current_setting('test.clock')::timestamptz $$;
GRANT USAGE ON SCHEMA test TO PUBLIC
"""

# What an application may add to a table: foreign keys that cascade, and triggers that write to the row once more, as the end of its value says.
# The keys act in this order: what SET DEFAULT changes was changed by a CASCADE of UPDATE, and is deleted by one of DELETE.
MEDDLING = """
ALTER TABLE public.entry
    ADD FOREIGN KEY (parent) REFERENCES public.entry ON UPDATE CASCADE ON DELETE SET NULL,
    ADD FOREIGN KEY (home) REFERENCES public.entry ON UPDATE SET DEFAULT ON DELETE SET DEFAULT,
    ADD FOREIGN KEY (patron) REFERENCES public.entry ON UPDATE SET NULL ON DELETE CASCADE;
CREATE FUNCTION test.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.value LIKE '% flash' THEN
        DELETE FROM public.entry WHERE id = NEW.id;
        INSERT INTO public.entry (id, value) VALUES (NEW.id, NEW.value || 'ed');
    ELSIF TG_OP = 'UPDATE' AND NEW.value LIKE '% again' THEN
        UPDATE public.entry SET value = NEW.value || ' and more' WHERE id = NEW.id;
    ELSIF TG_OP = 'UPDATE' AND NEW.value LIKE '% jump' THEN
        UPDATE public.entry SET id = NEW.id # 1, value = NEW.value || 'ed'
        WHERE id = NEW.id AND NOT EXISTS (SELECT FROM public.entry WHERE id = NEW.id # 1);
    ELSIF TG_OP = 'UPDATE' AND NEW.value LIKE '% vanish' THEN
        DELETE FROM public.entry WHERE id = NEW.id;
    ELSIF TG_OP = 'DELETE' AND OLD.value LIKE '% stay' THEN
        INSERT INTO public.entry (id, value) VALUES (OLD.id, OLD.value || 'ed') ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION test.meddle_before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- a cascade of the new key would call it again, for ever
    IF pg_trigger_depth() = 1 AND NEW.value LIKE '% jump before' AND NOT EXISTS (SELECT FROM public.entry WHERE id = NEW.id # 1) THEN
        NEW.id := NEW.id # 1;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER meddle AFTER INSERT OR UPDATE OR DELETE ON public.entry FOR EACH ROW EXECUTE FUNCTION test.meddle();
CREATE TRIGGER meddle_before BEFORE UPDATE ON public.entry FOR EACH ROW EXECUTE FUNCTION test.meddle_before();
CREATE TRIGGER z_min_update BEFORE UPDATE ON public.entry FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()
"""

DEFAULT = "ALTER TABLE public.entry ALTER home SET DEFAULT %(home)s"

# A row that fails is inserted once more as an apply worker does it that was started again: carefully.
AGAIN = """
BEGIN
    {insert}
EXCEPTION WHEN unique_violation THEN
    PERFORM set_config('unison.careful', pg_current_xact_id()::text, false);
    {insert}
    PERFORM set_config('unison.careful', 'never', false);
END;
"""


@contextmanager
def housed(connection, home: int | None) -> Iterator[None]:
    """Let the column refer to that row by default, for a while."""
    with connection.cursor() as cursor:
        cursor.execute(DEFAULT, {"home": home})
        try:
            yield
        finally:
            cursor.execute(DEFAULT, {"home": None})


class Database:
    """A node with the replicated table ``entry``; ``index`` is the node's."""

    def __init__(self, server: Server, name: str, index: int):
        self.server, self.name, self.index = server, name, index
        where = {"name": name, "index": index, "database": name}
        for call in (document("node.prepare", Cluster={"id": CLUSTER, "Node": where | {"Role": ROLES}}),
                     document("table.setup", Cluster={"id": CLUSTER, "Node": where | {"Table": {"name": TABLE, "Column": COLUMNS}}}),
                     document("publication.setup", Cluster={"id": CLUSTER, "Node": where | {"Publication": {}}})):
            execute(call)
        # a slot does not outlive an error of its connection, a writer may
        self._writer, self._applier, self._sender = self._connect(), self._connect(), self._connect()
        self._tables = self._find_tables()
        self.columns = {kind: self._published(*table) for table, kind in self._tables.items()}
        self._make_delivery()
        self._loaded = 0
        self._home: int | None = None
        with self._applier.cursor() as cursor:
            cursor.execute("SELECT pg_replication_origin_create(%(name)s), pg_replication_origin_session_setup(%(name)s)", {"name": f"to_{name}"})
            # without statistics a plan may be made for a table that is empty then
            cursor.execute("SET session_replication_role = replica; SET enable_seqscan = off")
            self._take_short_cuts(cursor)
            cursor.execute("SELECT to_regclass('unison.conflict') IS NOT NULL")
            self.records_conflicts = cursor.fetchone()[0]

    def meddle(self) -> None:
        """Give the table what an application may add to it."""
        with self._writer.cursor() as cursor:
            cursor.execute(MEDDLING)

    @contextmanager
    def housed(self, home: int | None) -> Iterator[None]:
        """Let SET DEFAULT, and new rows, refer to that row, for a while; it is there after each :meth:`empty`."""
        with housed(self._writer, home):
            self._home = home
            try:
                yield
            finally:
                self._home = None

    def close(self) -> None:
        """Close the connections."""
        for connection in (self._writer, self._applier, self._sender):
            connection.close()

    def set_clock(self) -> None:
        """Let the functions of the merge read the clock that :meth:`write` sets."""
        with self._writer.cursor() as cursor:
            cursor.execute(CLOCK)
            for _, text in self._definitions(cursor):
                if "clock_timestamp()" in text:
                    cursor.execute(re.sub(r"(pg_catalog\.)?clock_timestamp\(\)", "test.clock()", text))

    @contextmanager
    def mutated(self, pattern: str, replacement: str, function: str = "") -> Iterator[None]:
        """Put a fault into the installed functions of such names, for a while; AssertionError where the pattern is in none of them."""
        with self._writer.cursor() as cursor:
            right = [text for name, text in self._definitions(cursor) if re.search(function, name) and re.search(pattern, text)]
            assert right, f"no function has {pattern!r}"
            try:
                for text in right:
                    cursor.execute(re.sub(pattern, replacement, text))
                yield
            finally:
                for text in right:
                    cursor.execute(text)

    def sender(self) -> Sender:
        """Open the stream of what is written here from now on."""
        return Sender(self._sender, self._tables)

    def write(self, statements: Iterable[str]) -> None:
        """Execute statements as an ordinary writer, many in one transaction."""
        rest = iter(statements)
        with self._writer.cursor() as cursor:
            while some := ";\n".join(itertools.islice(rest, STATEMENTS)):
                cursor.execute(some)

    def load(self, messages: list[Message]) -> None:
        """Lay messages ready for :meth:`deliver`, where each goes by its place in the list; only new ones are taken."""
        texts = {kind: io.StringIO() for kind in KINDS}
        for place in range(self._loaded, len(messages)):
            message = messages[place]
            values = dict(message.values)
            texts[message.kind].write("\t".join([str(place), *("\\N" if values[column] is None else values[column]
                                                                for column in self.columns[message.kind])]) + "\n")
        self._loaded = len(messages)
        with self._applier.cursor() as cursor:
            for kind, text in texts.items():
                text.seek(0)
                cursor.copy_expert(f"COPY test.message_{kind} FROM STDIN", text)

    def deliver(self, messages: list[Message], orders: Iterable[tuple[int, list[int]]]) -> None:
        """Deliver messages, each order one after the other, in one transaction; an order is what to add to the key, and places in ``messages``."""
        text = io.StringIO()
        for shift, places in orders:
            coded = ",".join([str(place * 4 + KINDS.index(messages[place].kind)) for place in places])
            text.write(f"{shift}\t{{{coded}}}\n")
        text.seek(0)
        with self._applier.cursor() as cursor:
            # what an error left there
            cursor.execute("TRUNCATE test.play")
            cursor.copy_expert("COPY test.play FROM STDIN", text)
            cursor.execute("SELECT test.deliver()")

    def rows(self) -> dict[int, tuple[tuple[str, str | None], ...]]:
        """Return every row by its key: column and text of each value but the key's."""
        columns = [column for column in self.columns["row"] if column != KEY]
        with self._applier.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT {}, {} FROM {}").format(
                sql.Identifier(KEY), sql.SQL(", ").join([sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns]),
                sql.Identifier(*self._table("row"))))
            return {key: tuple(zip(columns, values, strict=True)) for key, *values in cursor}

    def tombstones(self) -> dict[int, tuple[str, int]]:
        """Return the version of each key's newest tombstone."""
        with self._applier.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT DISTINCT ON ({key}) {key}, modified_ts::text, modified_node FROM {table}"
                                   " ORDER BY {key}, modified_ts DESC, modified_node DESC").format(
                                       key=sql.Identifier(KEY), table=sql.Identifier(*self._table("tombstone"))))
            return {key: version(moment, node) for key, moment, node in cursor}

    def conflicts(self) -> dict[int, frozenset[tuple[str, int]]]:
        """Return the versions that the node recorded as lost, by key; nothing where conflicts are not recorded. AssertionError when one is there twice."""
        found: dict[int, set[tuple[str, int]]] = {}
        if self.records_conflicts:
            with self._applier.cursor() as cursor:
                cursor.execute("SELECT (key ->> 0)::bigint, lost_ts::text, lost_node FROM unison.conflict")
                for key, moment, node in cursor:
                    lost = found.setdefault(key, set())
                    assert version(moment, node) not in lost, f"the loss of {moment} of node {node} is recorded twice for key {key}"
                    lost.add(version(moment, node))
        return {key: frozenset(lost) for key, lost in found.items()}

    def places(self) -> set[tuple]:
        """Return where each row, image and tombstone lies on disk: something else after a write, even one that changes no value."""
        with self._applier.cursor() as cursor:
            cursor.execute(sql.SQL(" UNION ALL ").join([sql.SQL("SELECT {}, {}, ctid::text FROM {}").format(
                sql.Literal(kind), sql.Identifier(KEY), sql.Identifier(*self._table(kind))) for kind in KINDS]))
            return set(cursor)

    def empty(self) -> None:
        """Forget everything, without a word to anybody."""
        tables = [sql.Identifier(*self._table(kind)) for kind in KINDS] + [sql.Identifier("test", f"message_{kind}") for kind in KINDS]
        if self.records_conflicts:
            tables += [sql.Identifier("unison", name) for name in ("conflict", "replaced")]
        with self._applier.cursor() as cursor:
            cursor.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables)))
            # TRUNCATE without triggers: every key is fresh again
            cursor.execute("SELECT setval(oid::regclass, 0) FROM pg_class WHERE relkind = 'S' AND relname ~ '_known$'")
            assert cursor.rowcount == 1
            if self._home is not None:
                cursor.execute(sql.SQL("INSERT INTO {} (id, modified_ts, modified_node) VALUES (%s, to_timestamp(0), %s)").format(
                    sql.Identifier(*self._table("row"))), [self._home, self.index])
        self._loaded = 0

    def copy_from(self, other: "Database") -> None:
        """Merge another node's rows and tombstones, with the service's own copy."""
        with self._applier.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                begin_merging(cursor)
                for kind in ("row", "tombstone"):
                    copy(other._applier, cursor, sql.Identifier(*self._table(kind)), self.columns[kind])
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def _take_short_cuts(self, cursor) -> None:
        """Let no row be the session's first one, which takes no short cut (services/sql/merge_row.sql)."""
        cursor.execute("SET unison.careful = 'never'")

    def _connect(self):
        connection = psycopg2.connect(host=self.server.socket_directory, port=self.server.port, user=self.server.superuser, dbname=self.name,
                                      options=options({"client_min_messages": "warning"}))
        connection.autocommit = True
        return connection

    def _table(self, kind: str) -> tuple[str, str]:
        return next(table for table, found in self._tables.items() if found == kind)

    def _find_tables(self) -> dict[tuple[str, str], str]:
        with self._writer.cursor() as cursor:
            cursor.execute("SELECT schema_name, table_name, image_name, tombstone_name FROM unison.replicated_table")
            (schema, table, image, tombstone), = cursor.fetchall()
        return {(schema, table): "row", ("unison", image): "image", ("unison", tombstone): "tombstone"}

    def _published(self, schema: str, table: str) -> list[str]:
        with self._writer.cursor() as cursor:
            cursor.execute("SELECT attnames::text[] FROM pg_publication_tables WHERE (pubname, schemaname, tablename) = ('unison', %s, %s)",
                           [schema, table])
            return cursor.fetchone()[0]

    def _definitions(self, cursor) -> list[tuple[str, str]]:
        cursor.execute("SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'unison'::regnamespace")
        return cursor.fetchall()

    def _make_delivery(self) -> None:
        """Make test.deliver(): a plain INSERT for each message of each order. Reads messages by number, takes their kind from its last two bits."""
        inserts = []
        with self._writer.cursor() as cursor:
            cursor.execute("CREATE SCHEMA test; CREATE UNLOGGED TABLE test.play (shift bigint, numbers integer[])")
            for code, kind in enumerate(KINDS):
                columns, target, source = self.columns[kind], sql.Identifier(*self._table(kind)), sql.Identifier("test", f"message_{kind}")
                cursor.execute(sql.SQL("CREATE UNLOGGED TABLE {source} AS SELECT 0 AS place, {columns} FROM {target} WITH NO DATA;"
                                       " ALTER TABLE {source} ADD PRIMARY KEY (place)").format(source=source, target=target, columns=joined(columns)))
                moved = sql.SQL(", ").join([sql.SQL("m.{}{}").format(sql.Identifier(column), sql.SQL(" + p.shift" if column == KEY else ""))
                                            for column in columns])
                insert = sql.SQL("INSERT INTO {target} ({columns}) SELECT {moved} FROM {source} AS m WHERE m.place = n / 4;").format(
                    target=target, columns=joined(columns), moved=moved, source=source)
                inserts.append(sql.SQL("WHEN {} THEN {}").format(sql.Literal(code), sql.SQL(AGAIN).format(insert=insert) if kind == "row" else insert))
            cursor.execute(sql.SQL("""
                CREATE FUNCTION test.deliver() RETURNS void LANGUAGE plpgsql AS $deliver$
                DECLARE
                    p test.play;
                    n integer;
                BEGIN
                    FOR p IN SELECT * FROM test.play LOOP
                        FOREACH n IN ARRAY p.numbers LOOP
                            CASE n % 4 {} END CASE;
                        END LOOP;
                    END LOOP;
                END
                $deliver$""").format(sql.SQL(" ").join(inserts)))
