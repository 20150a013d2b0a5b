"""Keys that die and are born again: insert, delete, insert again, and keys that change, on few keys and fast."""

import random

from chaos.workload import Window
from chaos.workloads.contested import Contested, Statement

MOVING = {"name": "moving", "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}
KEYS, STEP_EVERY, STEP = 12, 60, 100


class Reborn(Contested):
    """A key is as often there as not."""

    name = "reborn keys"
    table = "moving"
    tables = (MOVING,)
    writers = 2

    def __init__(self, versions: tuple[str, ...]):
        super().__init__(versions)
        # a window of one: a round, which has its own keys
        self._rounds = Window(1, STEP_EVERY)

    def statement(self, choice: random.Random) -> Statement:
        first = self._rounds.draw(choice, self._rounds.next()) * STEP
        key, other, value = first + choice.randrange(KEYS), first + choice.randrange(KEYS), f"{choice.getrandbits(40):x}"
        middle, end = first + KEYS, first + STEP
        pair, low, high = (str(key), str(other)), tuple(map(str, range(first, middle))), tuple(map(str, range(middle, middle + KEYS)))
        return choice.choice([
            Statement(f"INSERT INTO moving (id, value) VALUES ({key}, '{value}') ON CONFLICT (id) DO UPDATE SET value = excluded.value"),
            Statement(f"INSERT INTO moving (id, value) VALUES ({key}, '{value}')"),
            Statement(f"INSERT INTO moving (id, value) VALUES ({other}, '{value}')"),
            Statement(f"DELETE FROM moving WHERE id = {key}", pair[:1], "deleted"),
            Statement(f"DELETE FROM moving WHERE id IN ({key}, {other})", pair, "deleted"),
            Statement(f"WITH gone AS (DELETE FROM moving WHERE id = {key} RETURNING id) INSERT INTO moving (id, value) SELECT id, '{value}' FROM gone"),
            Statement(f"UPDATE moving SET value = '{value}' WHERE id BETWEEN {first} AND {end - 1} AND id % 7 = {key % 7}"),
            # a key that changes is a deletion, too, and buries every old key of its statement
            Statement(f"UPDATE moving SET id = {other}, value = '{value}' WHERE id = {key}", pair, ""),
            Statement(f"UPDATE moving SET id = id + {KEYS} WHERE id IN ({key}, {other})", (*pair, *high), ""),
            Statement(f"UPDATE moving SET id = id - {KEYS} WHERE id BETWEEN {middle} AND {end - 1}", low + high, ""),
            Statement(f"MERGE INTO moving AS t USING (VALUES ({key}, '{value}'), ({key + KEYS}, '{value}')) AS s (id, value) ON t.id = s.id"
                      " WHEN MATCHED AND t.id % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET value = s.value"
                      " WHEN NOT MATCHED THEN INSERT (id, value) VALUES (s.id, s.value)", (str(key), str(key + KEYS)), ""),
        ])
