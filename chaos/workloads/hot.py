"""Hot keys: every node changes the same few rows at a time in every way there is, alone and in transactions."""

import random

from chaos.target import Target
from chaos.workload import Window
from chaos.workloads.contested import Contested, Statement

HOT = {"name": "hot", "columns": [{"name": "id", "type": "text", "primary_key": True}, {"name": "value", "type": "text"},
                                  {"name": "large", "type": "text"}]}
KEYS, STEP_EVERY = 40, 12
LARGE = "(SELECT string_agg(md5((random() * 1e9)::text), '') FROM generate_series(1, 150))"


class Hot(Contested):
    """INSERT, upsert, UPDATE and DELETE of one key or some."""

    name = "hot keys"
    table = "hot"
    tables = (HOT,)
    writers = 2

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        self._window = Window(KEYS, STEP_EVERY)

    def prepare(self, target: Target) -> None:
        target.query(target.names()[0], f"INSERT INTO hot (id, value) SELECT 'key ' || n, 'first' FROM generate_series(0, {KEYS - 1}) n")

    def statement(self, choice: random.Random) -> Statement:
        begin, value = self._window.next(), f"{choice.getrandbits(40):x}"
        key, *keys = (f"key {self._window.draw(choice, begin)}" for _ in range(choice.randint(3, 7)))
        some = ", ".join(f"'{one}'" for one in keys)
        return choice.choice([
            Statement(f"INSERT INTO hot (id, value) VALUES ('{key}', '{value}')"),
            Statement(f"INSERT INTO hot (id, value, large) VALUES ('{key}', '{value}', {LARGE}) ON CONFLICT DO NOTHING"),
            Statement(f"INSERT INTO hot (id, value) SELECT DISTINCT x, '{value}' FROM unnest(ARRAY[{some}]) AS x"
                      " ON CONFLICT (id) DO UPDATE SET value = excluded.value"),
            Statement(f"UPDATE hot SET value = '{value}' WHERE id = '{key}'"),
            Statement(f"UPDATE hot SET value = '{value}' WHERE id IN ({some})"),
            Statement(f"UPDATE hot SET large = {LARGE} WHERE id = '{key}'"),
            Statement(f"DELETE FROM hot WHERE id = '{key}'", (key,), "deleted"),
            Statement(f"DELETE FROM hot WHERE id IN ({some})", tuple(keys), "deleted"),
            # its row is stamped again when the statement ends: what it returns is not the last word, only the least
            Statement(f"WITH gone AS (DELETE FROM hot WHERE id = '{key}' RETURNING id) INSERT INTO hot (id, value) SELECT id, '{value}' FROM gone"),
        ])
