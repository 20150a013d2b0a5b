"""A table with the triggers that applications usually have, and some that are harder: they change other tables, the
same row again, its key, or turn a statement into another one.

They fire where the statement was made and nowhere else, as ordinary triggers do under replication; what they did
travels as any other change.
"""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.session import Session
from chaos.target import Target
from chaos.workload import Finding, Rows, Window, finding, uuid_text
from chaos.workloads.contested import Contested, Statement, Work


def table_of(name: str, kind: str, **columns: str) -> dict:
    """Describe a table whose key has this type."""
    return {"name": name, "columns": [{"name": "id", "type": kind, "primary_key": True},
                                      *({"name": column, "type": each} for column, each in columns.items())]}


ARTICLE = table_of("article", "bigint", section="bigint", value="text", slug="text", words="tsvector",
                   changed="timestamptz", denied="boolean", hidden="boolean", again="integer")
SECTION = table_of("section", "bigint", articles="bigint")
AUDIT = table_of("audit", "bigserial", mark="text", what="text", article="bigint")
FORMER = table_of("former", "bigserial", mark="text", article="bigint", value="text")
KEYS, STEP_EVERY, STEP = 8, 50, 100
SECTIONS = 5
OWN, OWN_KEYS = 10**9, 3
WRITTEN = ("audit", "former")
# what a trigger raises that denies a change
DENIED = "CH001"


def trigger(name: str, event: str, body: str, when: str = "") -> tuple[str, str]:
    """Make a row trigger on the articles; names decide in which order those of one event fire."""
    return (f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$",
            f"CREATE TRIGGER {name} {event} ON article FOR EACH ROW {when} EXECUTE FUNCTION {name}()")


def count(table: str) -> str:
    """Count for the transaction what a trigger writes into a table."""
    return (f"PERFORM set_config('chaos.{table}',"
            f" (coalesce(nullif(current_setting('chaos.{table}', true), ''), '0')::integer + 1)::text, true);")


MARK = "coalesce(nullif(current_setting('chaos.mark', true), ''), 'nobody')"
ROW = "CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END"
ANY = "AFTER INSERT OR UPDATE OR DELETE"
DEFINITIONS = (
    *trigger("article_audit", ANY,
             f"INSERT INTO audit (mark, what, article) VALUES ({MARK}, TG_OP, {ROW}); {count('audit')} RETURN NULL;"),
    *trigger("article_former", "AFTER UPDATE",
             f"INSERT INTO former (mark, article, value) VALUES ({MARK}, OLD.id, OLD.value);"
             f" {count('former')} RETURN NULL;"),
    *trigger("article_notify", ANY, f"PERFORM pg_notify('article', ({ROW})::text); RETURN NULL;"),
    *trigger("article_counted", "AFTER INSERT OR UPDATE OF section OR DELETE",
             "IF TG_OP <> 'INSERT' THEN UPDATE section SET articles = articles - 1 WHERE id = OLD.section; END IF;"
             " IF TG_OP <> 'DELETE' THEN UPDATE section SET articles = articles + 1 WHERE id = NEW.section; END IF;"
             " RETURN NULL;"),
    *trigger("article_again", "AFTER INSERT OR UPDATE",
             "UPDATE article SET again = again - 1 WHERE id = NEW.id; RETURN NULL;", "WHEN (NEW.again > 0)"),
    *trigger("article_moves", "AFTER UPDATE",
             f"UPDATE article SET id = id + {KEYS}, value = 'moved ' || value WHERE id = NEW.id; RETURN NULL;",
             "WHEN (NEW.value LIKE 'move %')"),
    *trigger("article_changed", "BEFORE UPDATE", "NEW.changed := now(); RETURN NEW;",
             "WHEN (NEW.* IS DISTINCT FROM OLD.*)"),
    *trigger("article_denied", "BEFORE UPDATE",
             f"RAISE EXCEPTION 'article % may not change', OLD.id USING ERRCODE = '{DENIED}';",
             "WHEN (OLD.denied AND NEW.denied)"),
    *trigger("article_hides", "BEFORE DELETE",
             "UPDATE article SET hidden = true WHERE id = OLD.id; RETURN NULL;", "WHEN (OLD.hidden IS NOT TRUE)"),
    *trigger("article_slug", "BEFORE INSERT OR UPDATE",
             "NEW.slug := lower(regexp_replace(NEW.value, '[^a-z0-9]+', '-', 'g')); RETURN NEW;"),
    "CREATE TRIGGER article_words BEFORE INSERT OR UPDATE ON article FOR EACH ROW"
    " EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', value)",
    # named as PostgreSQL's manual advises
    "CREATE TRIGGER z_min_update BEFORE UPDATE ON article FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
)


class Triggers(Contested):
    """Statements on few articles; every row that a trigger writes of them is counted in the transaction that did it."""

    name = "triggers"
    table = "article"
    tables = (ARTICLE, SECTION, AUDIT, FORMER)
    definitions = DEFINITIONS
    expected = (DENIED,)
    pause_s = 0.03

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self._rounds = Window(1, STEP_EVERY)
        self._marked = Marked()
        self._own_rounds = Window(1, STEP_EVERY)
        # keys that only their node deletes, and that it has inserted since
        self.standing: set[str] = set()
        self._nodes: list[str] = []

    def prepare(self, target: Target) -> None:
        self._nodes = target.names()
        target.query(self._nodes[0],
                     f"INSERT INTO section (id, articles) SELECT n, 0 FROM generate_series(0, {SECTIONS - 1}) n")

    def operation(self, node: str, choice: random.Random) -> Work:
        if choice.random() < 0.3:
            return self._own(node, choice)
        drawn = super().operation(node, choice)
        # a deadlock over the counters costs a second: few of those that hold several
        return MarkedWork(drawn.statements[:2], drawn.versions, drawn.level or "READ COMMITTED", drawn.commit,
                          drawn.undone, drawn.linger_s, mark=uuid_text(choice))

    def _own(self, node: str, choice: random.Random) -> "MarkedWork":
        """Draw a deletion of a key of the node's own, an insertion, or both, or a change of another node's key.

        The clock of who changes it may be ahead, and then is the deletion's, and must be the insertion's.
        """
        owner = node if choice.random() < 0.6 else choice.choice(self._nodes)
        begin = self._own_rounds.draw(choice, self._own_rounds.next()) * STEP
        key = OWN * (1 + self._nodes.index(owner)) + begin + choice.randrange(OWN_KEYS)
        own, section, new = (str(key),), choice.randrange(SECTIONS), f"'{choice.getrandbits(40):x}'"
        # the first hides it, the second deletes it
        deletion = [Statement(f"DELETE FROM article WHERE id = {key}", own, "deleted", self.table)] * 2
        insertion = [Statement(f"INSERT INTO article (id, section, value) VALUES ({key}, {section}, {new})",
                               own, "rows", self.table)]
        change = [Statement(f"UPDATE article SET value = {new} WHERE id = {key}", own, "rows", self.table)]
        statements = choice.choice((deletion, insertion, deletion + insertion)) if owner == node else change
        return MarkedWork(statements, self.versions, "READ COMMITTED", mark=uuid_text(choice),
                          own=str(key) if owner == node else None, inserts=statements[-1:] == insertion)

    def remember(self, node: str, operation: "MarkedWork", ending: str) -> None:
        super().remember(node, operation, ending)
        if operation.own and ending != "failed":
            (self.standing.add if ending == "ok" and operation.inserts else self.standing.discard)(operation.own)
        if operation.commit:
            self._marked.add(operation.mark, operation.written, ending)

    def statement(self, choice: random.Random) -> Statement:
        first = self._rounds.draw(choice, self._rounds.next()) * STEP
        key, other = (first + number for number in choice.sample(range(KEYS), 2))
        section, new = choice.randrange(SECTIONS), f"'{choice.choice(('', '', '', 'move '))}{choice.getrandbits(40):x}'"
        into = "INSERT INTO article (id, section, value, denied, again)"
        row = f"{key}, {section}, {new}, {choice.random() < 0.05}, {choice.choice((0, 0, 0, 1, 2))}"
        low, high = (tuple(map(str, range(begin, begin + KEYS))) for begin in (first, first + KEYS))
        both, upper = low + high, f"BETWEEN {high[0]} AND {high[-1]}"
        # any change may be made one that moves the key
        text, deletes, returns = choice.choice([
            (f"{into} VALUES ({row})", low, "rows"),
            (f"{into} VALUES ({row})"
             " ON CONFLICT (id) DO UPDATE SET value = excluded.value, hidden = false", low, "rows"),
            (f"{into} VALUES ({row}) ON CONFLICT DO NOTHING", low, "rows"),
            (f"UPDATE article SET value = {new} WHERE id = {key}", low, "rows"),
            (f"UPDATE article SET value = {new}, again = 1 WHERE id IN ({key}, {other})", low, "rows"),
            (f"UPDATE article SET section = {section} WHERE id IN ({key}, {other})", both, "rows"),
            # changes nothing
            (f"UPDATE article SET value = value WHERE id IN ({key}, {other})", both, "rows"),
            (f"UPDATE article SET denied = false WHERE id IN ({key}, {other})", both, "rows"),
            (f"UPDATE article SET id = id + {KEYS} WHERE id IN ({key}, {other})", both, ""),
            (f"UPDATE article SET id = id - {KEYS} WHERE id {upper}", both, ""),
            # the first time it is hidden, the second time gone
            (f"DELETE FROM article WHERE id = {key}", low, "deleted"),
            (f"DELETE FROM article WHERE id IN ({key}, {other})", low, "deleted"),
            (f"DELETE FROM article WHERE hidden AND id BETWEEN {first} AND {high[-1]}", both, "deleted"),
            (f"WITH gone AS (DELETE FROM article WHERE id = {key} RETURNING id)"
             f" INSERT INTO article (id, section, value) SELECT id, {section}, {new} FROM gone", low, "rows"),
            (f"MERGE INTO article AS t USING (VALUES ({row}), ({other}, {section}, {new}, false, 1))"
             " AS s (id, section, value, denied, again) ON t.id = s.id"
             " WHEN MATCHED AND t.hidden THEN DELETE WHEN MATCHED THEN UPDATE SET value = s.value"
             " WHEN NOT MATCHED THEN INSERT (id, section, value, denied, again)"
             " VALUES (s.id, s.section, s.value, s.denied, s.again)", low, ""),
        ])
        return Statement(text, deletes, returns)

    def findings(self, rows: dict[str, Rows]) -> Iterator[Finding]:
        yield from super().findings(rows)
        yield from finding(f"{self.name}: rows that are gone, though they were inserted and not deleted since", (
            f"{key} on {node}; history: {self.history.told(key)}"
            for node, held in rows["article"].items() for key in sorted(self.standing - held.keys())))
        for table in WRITTEN:
            yield from self._marked.findings(self.name, table, rows[table])


@dataclass
class MarkedWork(Work):
    """``written`` counts what triggers wrote of the transaction, by table; None when it was not seen.

    ``own`` is the key, if it is one that only its node deletes; ``inserts`` says that it stands when all is done.
    """

    mark: str = ""
    own: str | None = None
    inserts: bool = False
    written: dict[str, int] | None = None

    def each(self, session: Session) -> None:
        session.execute("SELECT set_config('chaos.mark', %s, true), set_config('chaos.audit', '0', true),"
                        " set_config('chaos.former', '0', true)", [self.mark])
        super().each(session)
        counts, = session.execute("SELECT current_setting('chaos.audit')::integer,"
                                  " current_setting('chaos.former')::integer")
        self.written = dict(zip(WRITTEN, counts, strict=True))


class Marked:
    """How many rows of each mark triggers wrote, by table: those of an acknowledged transaction are all there, those of
    one that failed are not, and those of one whose outcome is unknown are all there or none.
    """

    def __init__(self):
        self._acknowledged: dict[str, dict[str, int]] = {}
        self._unknown: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()

    def add(self, mark: str, written: dict[str, int] | None, ending: str) -> None:
        kept = {"ok": self._acknowledged, "unknown": self._unknown}.get(ending)
        if kept is not None and written is not None:
            with self._lock:
                kept[mark] = written

    def findings(self, name: str, table: str, rows: Rows) -> Iterator[Finding]:
        wrong, surplus = [], []
        for node, held in rows.items():
            found = Counter(row["mark"] for row in held.values())
            found.pop("nobody", None)
            wrong += [f"{found[mark]} instead of {written[table]} of {mark} on {node}"
                      for mark, written in self._acknowledged.items() if found[mark] != written[table]]
            wrong += [f"{found[mark]} of the {written[table]} rows of {mark}, whose outcome is unknown, on {node}"
                      for mark, written in self._unknown.items() if found[mark] not in (0, written[table])]
            surplus += [f"{number} of {mark} on {node}" for mark, number in found.items()
                        if mark not in self._acknowledged and mark not in self._unknown]
        yield from finding(f"{name}: transactions of which {table} does not hold what their triggers wrote,"
                           f" of {len(self._acknowledged)}", wrong)
        yield from finding(f"{name}: rows of {table} of transactions that failed", surplus)
