"""Foreign keys that act: a tree of rows that refer to themselves and each other, and a depot that others refer to by
several columns, or by their own key. One statement changes a row twice there, or two rows of one key.

Foreign keys are not checked on arrival, so a row may refer to one that is gone; a statement that meets that fails with
23503. What a foreign key does is done on the node that writes, and travels as any other change: every node holds the
same rows, whatever they refer to.
"""

import random

from chaos.target import Target
from chaos.workload import Window
from chaos.workloads.contested import Contested, Statement

ID = {"name": "id", "type": "bigint", "primary_key": True}
VALUE = {"name": "value", "type": "text"}


def number(name: str, **more: int) -> dict:
    return {"name": name, "type": "bigint", **more}


TREE = {"name": "tree", "columns": [ID, number("parent"), VALUE]}
DEPOT = {"name": "depot", "columns": [ID, VALUE]}
ITEM = {"name": "item", "columns": [ID, number("home"), number("second"), number("spare", default=0), VALUE]}
# its key is its reference, so it moves with the depot
PERMIT = {"name": "permit", "columns": [ID, VALUE]}
NOTICE = {"name": "notice", "columns": [ID, number("permit"), VALUE]}
KEYS, STEP_EVERY, STEP = 6, 50, 100


def reference(table: str, column: str, to: str, update: str, delete: str) -> str:
    return (f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_refers FOREIGN KEY ({column}) REFERENCES {to} (id)"
            f" ON UPDATE {update} ON DELETE {delete}")


class Cascades(Contested):
    """Change keys that others refer to, and delete such rows, alone and beside other changes of the same rows."""

    name = "cascades"
    tables = (TREE, DEPOT, ITEM, PERMIT, NOTICE)
    judged = ("tree", "depot", "item", "permit", "notice")
    # nothing that is deleted takes a depot along
    cascaded = ("tree", "item", "permit", "notice")
    expected = ("23503",)
    pause_s = 0.03
    definitions = (
        reference("tree", "parent", "tree", "CASCADE", "CASCADE"),
        reference("item", "home", "depot", "CASCADE", "CASCADE"),
        reference("item", "second", "depot", "SET NULL", "SET NULL"),
        reference("item", "spare", "depot", "CASCADE", "SET DEFAULT"),
        reference("permit", "id", "depot", "CASCADE", "CASCADE"),
        reference("notice", "permit", "permit", "CASCADE", "SET NULL"),
        # without them each cascade reads the whole table
        "CREATE INDEX ON tree (parent)", "CREATE INDEX ON item (home)", "CREATE INDEX ON item (second)",
        "CREATE INDEX ON item (spare)", "CREATE INDEX ON notice (permit)")

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self._rounds = Window(1, STEP_EVERY)

    def prepare(self, target: Target) -> None:
        # what SET DEFAULT leads to; no statement touches it
        target.query(target.names()[0], "INSERT INTO depot (id, value) VALUES (0, 'first')")

    def statement(self, choice: random.Random) -> Statement:
        first = self._rounds.draw(choice, self._rounds.next()) * STEP + 1
        # low keys and high ones: rows move from one to the other, and back
        key, other = (first + number for number in choice.sample(range(KEYS), 2))
        value = f"{choice.getrandbits(40):x}"
        return choice.choice((tree, depot, dependent))(choice, first, key, other, value)


def last(first: int) -> int:
    """Return the last key that a row of the round may have been moved to."""
    return first + 4 * KEYS


def tree(choice: random.Random, first: int, key: int, other: int, value: str) -> Statement:
    """Draw a statement on rows that are their own parent, children of each other, or both."""
    high, third, every = key + KEYS, first + choice.randrange(KEYS), tuple(map(str, range(first, last(first))))
    into, new = "INSERT INTO tree (id, parent, value)", f"'{value}'"
    text, returns = choice.choice([
        (f"{into} VALUES ({key}, {key}, {new})"
         " ON CONFLICT (id) DO UPDATE SET parent = excluded.id, value = excluded.value", "rows"),
        (f"{into} VALUES ({key}, NULL, {new}), ({other}, {key}, {new}), ({high}, {other}, {new})"
         " ON CONFLICT DO NOTHING", "rows"),
        (f"{into} SELECT {key}, max(id), {new} FROM tree WHERE id BETWEEN {first} AND {other}"
         " ON CONFLICT (id) DO UPDATE SET parent = excluded.parent", "rows"),
        # what is there moves away, and its children with it
        (f"{into} VALUES ({key}, {key}, {new})"
         f" ON CONFLICT (id) DO UPDATE SET id = tree.id + {KEYS}, value = excluded.value", ""),
        (f"UPDATE tree SET value = {new} WHERE id IN ({key}, {other})", "rows"),
        (f"UPDATE tree SET parent = {other} WHERE id = {key}", "rows"),
        (f"UPDATE tree SET id = {other}, value = {new} WHERE id = {key}", ""),
        (f"UPDATE tree SET id = {high} WHERE id = {key}", ""),
        (f"UPDATE tree SET id = {high}, parent = {high} WHERE id = {key}", ""),
        (f"UPDATE tree SET id = id + {KEYS}, value = {new} WHERE id IN ({key}, {other}, {third})", ""),
        (f"UPDATE tree SET id = id - {KEYS} WHERE id BETWEEN {first + KEYS} AND {last(first)}", ""),
        (f"DELETE FROM tree WHERE id = {key}", "deleted"),
        (f"DELETE FROM tree WHERE id IN ({key}, {other}, {high})", "deleted"),
        (f"WITH moved AS (UPDATE tree SET id = {high} WHERE id = {key} RETURNING id)"
         f" UPDATE tree SET value = {new} WHERE parent = {key}", ""),
        (f"WITH gone AS (DELETE FROM tree WHERE id = {key} RETURNING id)"
         f" {into} SELECT id, id, {new} FROM gone", "rows"),
        (f"WITH gone AS (DELETE FROM tree WHERE id = {key})"
         f" UPDATE tree SET value = {new} WHERE parent = {key} AND id <> {key}", ""),
        (f"WITH changed AS (UPDATE tree SET value = {new} WHERE parent = {key} RETURNING id)"
         f" DELETE FROM tree WHERE id = {key} AND id NOT IN (SELECT id FROM changed)", "deleted"),
        (f"MERGE INTO tree AS t USING (VALUES ({key}, {new}), ({high}, {new})) AS s (id, value) ON t.id = s.id"
         " WHEN MATCHED AND t.id % 3 = 0 THEN DELETE"
         f" WHEN MATCHED AND t.id % 3 = 1 THEN UPDATE SET id = t.id + {2 * KEYS}, value = s.value"
         " WHEN MATCHED THEN UPDATE SET value = s.value"
         " WHEN NOT MATCHED THEN INSERT (id, parent, value) VALUES (s.id, s.id, s.value)", ""),
    ])
    return Statement(text, every, returns, "tree")


def depot(choice: random.Random, first: int, key: int, other: int, value: str) -> Statement:
    """Draw a statement on the rows that others refer to."""
    high, every, new = key + KEYS, tuple(map(str, range(first, last(first)))), f"'{value}'"
    one, two, moved = (str(key),), (str(key), str(other)), (str(key), str(high))
    text, deletes, returns = choice.choice([
        (f"INSERT INTO depot (id, value) SELECT x, {new} FROM generate_series({first}, {first + KEYS - 1}) AS x"
         " ON CONFLICT (id) DO UPDATE SET value = excluded.value", (), "rows"),
        (f"INSERT INTO depot (id, value) VALUES ({key}, {new}) ON CONFLICT DO NOTHING", (), "rows"),
        (f"UPDATE depot SET id = {high}, value = {new} WHERE id = {key}", moved, ""),
        (f"UPDATE depot SET id = {other} WHERE id = {key}", two, ""),
        (f"UPDATE depot SET id = id - {KEYS} WHERE id BETWEEN {first + KEYS} AND {last(first)}", every, ""),
        (f"DELETE FROM depot WHERE id = {key}", one, "deleted"),
        (f"DELETE FROM depot WHERE id IN ({key}, {other})", two, "deleted"),
        (f"WITH gone AS (DELETE FROM depot WHERE id = {key} RETURNING id)"
         f" INSERT INTO depot (id, value) SELECT id, {new} FROM gone", one, "rows"),
        # the rows that go or move with the depot are changed by the statement, too
        (f"WITH changed AS (UPDATE item SET value = {new} WHERE home = {key}) DELETE FROM depot WHERE id = {key}",
         one, "deleted"),
        (f"WITH changed AS (UPDATE item SET value = {new}, second = {key} WHERE home = {key})"
         f" UPDATE depot SET id = {high} WHERE id = {key}", moved, ""),
        (f"WITH gone AS (DELETE FROM permit WHERE id = {key})"
         f" UPDATE depot SET id = {high} WHERE id = {key}", moved, ""),
        (f"MERGE INTO depot AS t USING (VALUES ({key}, {new}), ({other}, {new})) AS s (id, value) ON t.id = s.id"
         " WHEN MATCHED AND t.id % 3 = 0 THEN DELETE"
         f" WHEN MATCHED AND t.id % 3 = 1 THEN UPDATE SET id = t.id + {2 * KEYS}"
         " WHEN MATCHED THEN UPDATE SET value = s.value"
         " WHEN NOT MATCHED THEN INSERT (id, value) VALUES (s.id, s.value)", every, ""),
    ])
    return Statement(text, deletes, returns, "depot")


def dependent(choice: random.Random, first: int, key: int, other: int, value: str) -> Statement:
    """Draw a statement on the rows that refer to a depot, or to what does."""
    within, new = f"BETWEEN {first} AND {last(first)}", f"'{value}'"
    one = f"(SELECT id FROM depot WHERE id {within} ORDER BY random() LIMIT 1)"
    item = "INSERT INTO item (id, home, second, spare, value)"
    table, text, returns = choice.choice([
        ("item", f"{item} VALUES ({key}, {one}, {one}, {one}, {new}) ON CONFLICT (id)"
         " DO UPDATE SET home = excluded.home, second = excluded.second, value = excluded.value", "rows"),
        ("item", f"{item} SELECT {key}, id, id, id, {new} FROM depot WHERE id = {other} ON CONFLICT (id)"
         f" DO UPDATE SET home = {other}, second = {other}, spare = {other}", "rows"),
        ("item", f"UPDATE item SET second = {one}, value = {new} WHERE id IN ({key}, {other})", "rows"),
        ("item", f"DELETE FROM item WHERE id = {key}", "deleted"),
        ("permit", f"INSERT INTO permit (id, value) SELECT id, {new} FROM depot WHERE id IN ({key}, {other})"
         " ON CONFLICT (id) DO UPDATE SET value = excluded.value", "rows"),
        ("permit", f"DELETE FROM permit WHERE id = {key}", "deleted"),
        ("notice", f"INSERT INTO notice (id, permit, value) SELECT {key}, max(id), {new} FROM permit WHERE id {within}"
         " ON CONFLICT (id) DO UPDATE SET permit = excluded.permit, value = excluded.value", "rows"),
        ("notice", f"WITH gone AS (DELETE FROM permit WHERE id = {key})"
         f" UPDATE notice SET value = {new} WHERE permit = {key}", "rows"),
    ])
    return Statement(text, (str(key),) if returns == "deleted" else (), returns, table)
