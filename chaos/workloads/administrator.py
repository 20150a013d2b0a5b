"""An administrator who tries DDL on a replicated table, as its owner, on any node at any time, while it is written to.

What is harmless works, or waits in vain for a lock. What would make nodes differ or stop a link is refused. What is not
refused is found, and undone.
"""

import collections
import random
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg2

from chaos.session import Session
from chaos.target import Target
from chaos.workload import Finding, Marks, Operation, Rows, Workload, uuid_text

GROUND = {"name": "ground", "columns": [
    {"name": "id", "type": "bigserial", "primary_key": True}, {"name": "mark", "type": "uuid"},
    {"name": "value", "type": "text"}, {"name": "amount", "type": "bigint"}]}
# feature_not_supported, which is the guard's; insufficient_privilege; dependent_objects_still_exist;
# object_not_in_prerequisite_state, of a table that is published
REFUSED = ("0A000", "42501", "2BP01", "55000")
PATIENCE = "SET lock_timeout = '2s'"

# each alone, or several in one string; {image} and {tombstone} are companions of the table, {trigger} is one of ours
HARMLESS = (
    "CREATE INDEX IF NOT EXISTS ground_value ON ground (value)",
    "CREATE INDEX IF NOT EXISTS ground_amount ON ground USING hash (amount) WHERE amount > 3",
    "DROP INDEX IF EXISTS ground_value",
    "ALTER INDEX IF EXISTS ground_amount RENAME TO ground_value",
    "COMMENT ON TABLE ground IS 'shaken'",
    "COMMENT ON COLUMN ground.value IS 'shaken'",
    "ANALYZE ground",
    "VACUUM ground",
    "VACUUM FULL ground",
    "REINDEX TABLE ground",
    "CLUSTER ground USING ground_pkey",
    "ALTER TABLE ground SET (fillfactor = 80)",
    "ALTER TABLE ground RESET (fillfactor)",
    "ALTER TABLE ground ALTER COLUMN value SET STATISTICS 200",
    "CREATE STATISTICS IF NOT EXISTS ground_both (dependencies) ON value, amount FROM ground",
    "GRANT SELECT ON ground TO unison_readers",
    "ALTER TABLE ground ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE ground DISABLE ROW LEVEL SECURITY",
    "CREATE OR REPLACE TRIGGER z_min_update BEFORE UPDATE ON ground FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "DROP TRIGGER IF EXISTS z_min_update ON ground",
    # of nobody's concern
    "CREATE TABLE IF NOT EXISTS scratch (id integer PRIMARY KEY, value text)",
    "ALTER TABLE IF EXISTS scratch ADD COLUMN IF NOT EXISTS more text NOT NULL DEFAULT 'none' UNIQUE",
    "DROP TABLE IF EXISTS scratch",
)
# a transaction that is rolled back undoes each
DANGEROUS = (
    "ALTER TABLE ground ADD COLUMN extra text",
    "ALTER TABLE ground DROP COLUMN amount",
    "ALTER TABLE ground ALTER COLUMN amount TYPE integer",
    "ALTER TABLE ground ALTER COLUMN amount SET NOT NULL",
    "ALTER TABLE ground RENAME COLUMN amount TO size",
    "ALTER TABLE ground RENAME TO soil",
    "ALTER TABLE ground ADD CONSTRAINT positive CHECK (amount >= 0) NOT VALID",
    "ALTER TABLE ground ADD CONSTRAINT single UNIQUE (mark)",
    "ALTER TABLE ground ADD CONSTRAINT apart EXCLUDE (mark WITH =)",
    "ALTER TABLE ground DROP CONSTRAINT ground_pkey",
    "CREATE UNIQUE INDEX single ON ground (mark)",
    "CREATE TABLE child () INHERITS (ground)",
    "CREATE TABLE base (mark uuid); ALTER TABLE ground INHERIT base",
    "ALTER TABLE ground SET UNLOGGED",
    "ALTER TABLE ground DISABLE TRIGGER ALL",
    "ALTER TABLE ground DISABLE TRIGGER USER",
    "ALTER TABLE ground ENABLE TRIGGER ALL",
    "ALTER TABLE ground DISABLE TRIGGER {trigger}",
    "ALTER TABLE ground DISABLE TRIGGER zzz_unison_merge",
    "ALTER TABLE ground ENABLE ALWAYS TRIGGER {trigger}",
    "ALTER TRIGGER {trigger} ON ground RENAME TO aaa_first",
    "DROP TRIGGER {trigger} ON ground",
    "DROP TRIGGER zzz_unison_merge ON ground",
    "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.value := random(); RETURN NEW; END$$;"
    " CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON ground FOR EACH ROW EXECUTE FUNCTION shout();"
    " ALTER TABLE ground ENABLE ALWAYS TRIGGER shout",
    "ALTER TABLE ground FORCE ROW LEVEL SECURITY",
    "CREATE RULE nothing AS ON UPDATE TO ground DO INSTEAD NOTHING",
    "ALTER TABLE unison.{image} DISABLE TRIGGER ALL",
    "ALTER TABLE unison.{tombstone} ADD CONSTRAINT early CHECK (modified_ts < '2001-01-01') NOT VALID",
    "DROP TRIGGER zzz_unison_merge ON unison.{tombstone}",
    "DROP TABLE unison.{image} CASCADE",
    "DROP TABLE unison.{tombstone} CASCADE",
    "DROP TABLE ground CASCADE",
    "DROP SCHEMA unison CASCADE",
    "DROP EVENT TRIGGER unison_guard",
    "ALTER TABLE ground ALTER COLUMN id DROP DEFAULT",
    "ALTER SEQUENCE ground_id_seq CYCLE",
    "ALTER SEQUENCE ground_id_seq NO MAXVALUE",
    "ALTER SEQUENCE ground_id_seq OWNED BY NONE",
    "DROP SEQUENCE ground_id_seq CASCADE",
    "ALTER PUBLICATION unison SET (publish = 'insert, update')",
    "ALTER PUBLICATION unison DROP TABLE ground",
    "DROP PUBLICATION unison",
)
# what cannot be done in a transaction, and leaves this index behind even where it fails
CONCURRENTLY = "CREATE UNIQUE INDEX CONCURRENTLY single ON ground (value)"
LEFT = "SELECT relname FROM pg_class WHERE relname = 'single'"


@dataclass
class Attempt(Operation):
    """One of the statements above; it is found when it is dangerous and not refused, or harmless and refused."""

    workload: "Administrator"
    node: str
    statement: str

    @property
    def dangerous(self) -> bool:
        return self.statement not in HARMLESS

    def run(self, session: Session) -> None:
        session.execute(PATIENCE)
        try:
            self._try(session)
        except psycopg2.Error as error:
            if error.pgcode not in REFUSED:
                raise
            if not self.dangerous:
                self.workload.refused[f"{self.statement}: {str(error).splitlines()[0]}"] += 1
        else:
            if self.dangerous:
                self.workload.let_through[self.statement] += 1
        finally:
            if self.statement == CONCURRENTLY and not session.lost:
                self.workload.remove_index(self.node, session.execute(LEFT))

    def _try(self, session: Session) -> None:
        if self.dangerous and self.statement != CONCURRENTLY:
            with session.transaction(commit=False):
                session.execute(self.statement)
        else:
            session.execute(self.statement)


@dataclass
class Write(Operation):
    """A row of the administrator's, inserted and changed, so that a table that is broken is seen to be."""

    mark: str
    value: str
    amount: int

    def run(self, session: Session) -> None:
        with session.transaction():
            session.execute("INSERT INTO ground (mark, value, amount) VALUES (%s, %s, %s)",
                            [self.mark, self.value, self.amount])
            session.execute("UPDATE ground SET amount = %s WHERE id = (SELECT max(id) FROM ground)", [-self.amount])


class Administrator(Workload):
    """Half attempts, half rows. ``let_through`` counts dangerous statements that were not refused, ``refused`` harmless
    ones that were.
    """

    name = "administrator"
    tables = (GROUND,)
    role = "owner"
    # a name is taken: an index that is renamed, and made again
    expected = ("42P07",)
    pause_s = 0.2

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self.let_through: collections.Counter[str] = collections.Counter()
        self.refused: collections.Counter[str] = collections.Counter()
        self._marks = Marks()
        self._names: dict[str, list[str]] = {}
        self._target: Target | None = None

    def prepare(self, target: Target) -> None:
        self._target = target
        (image, tombstone, triggers), = target.query(target.names()[0], (
            "SELECT image_name, tombstone_name, ARRAY(SELECT tgname::text FROM pg_trigger"
            " WHERE tgrelid = 'ground'::regclass AND starts_with(tgname::text, 'zzz_unison_') ORDER BY 1)"
            " FROM unison.replicated_table WHERE table_name = 'ground'"))
        self._names = {"image": [image], "tombstone": [tombstone], "trigger": triggers}

    def operation(self, node: str, choice: random.Random) -> Operation:
        if choice.random() < 0.5:
            return Write(uuid_text(choice), f"{choice.getrandbits(3)}", choice.randint(1, 10))
        statement = choice.choice(HARMLESS) if choice.random() < 0.4 else choice.choice((*DANGEROUS, CONCURRENTLY))
        for name, real in self._names.items():
            statement = statement.replace("{" + name + "}", choice.choice(real))
        return Attempt(self, node, statement)

    def remember(self, node: str, operation: Operation, ending: str) -> None:
        if isinstance(operation, Write):
            with self.lock:
                self._marks.add([operation.mark], ending)

    def remove_index(self, node: str, left: list[tuple]) -> None:
        """Find an index that is left, and remove it, as a superuser, who may."""
        for name, in left:
            self.let_through[f"{CONCURRENTLY} leaves an index"] += 1
            connection = self._target.superuser(node)
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute(f"DROP INDEX IF EXISTS {name}")
            finally:
                connection.close()

    def conclude(self, target: Target) -> None:
        for node in target.names():
            self.remove_index(node, target.query(node, LEFT))

    def findings(self, rows: dict[str, Rows]) -> Iterator[Finding]:
        yield from super().findings(rows)
        for what, counts in (("dangerous DDL that was not refused", self.let_through),
                             ("harmless DDL that was refused", self.refused)):
            if counts:
                # each is another hole
                yield Finding(f"{self.name}: {what}", len(counts), "\n      ".join(told(counts)))
        yield from self._marks.findings(self.name, rows["ground"])


def told(counts: collections.Counter[str]) -> list[str]:
    return [f"{statement} ({count} times)" for statement, count in sorted(counts.items())]
