"""Headroom: how much WAL a node may still write before one of its peers loses its replication slot."""

import time
from dataclasses import dataclass, field

from services import statements
from services.driver import Connection, one_row

PAUSE_S = 0.2
# a link that gets no nearer in this time is no link that is well
PATIENCE_S = 60.0


@dataclass
class Headroom:
    """Let whoever writes much WAL wait for the peers. ``sentences`` say for whom it waited in vain."""

    patience_s: float = PATIENCE_S
    sentences: list[str] = field(default_factory=list)
    _given_up: set[str] = field(default_factory=set)

    def wait(self, connection: Connection) -> None:
        """Return when every slot that streams has half of max_slot_wal_keep_size left.

        A slot that gets no nearer within ``patience_s`` is given up, with a sentence: whoever writes in the ordinary way would
        not wait for it either, and its link is mended by another seed. Opens and ends a transaction of ``connection``.
        """
        best: dict[str, int] = {}
        deadline = time.monotonic() + self.patience_s
        while True:
            near = {slot: left for slot, left in self._near(connection) if slot not in self._given_up}
            if not near:
                return
            if any(left > best.get(slot, -1) for slot, left in near.items()):
                deadline = time.monotonic() + self.patience_s
            best = {slot: max(left, best.get(slot, -1)) for slot, left in near.items()}
            if time.monotonic() > deadline:
                self._given_up |= set(near)
                self.sentences += [f"went on although slot {slot} comes no nearer: {left} bytes more of WAL and it is lost"
                                   for slot, left in sorted(near.items())]
                return
            time.sleep(PAUSE_S)

    def _near(self, connection: Connection) -> list[tuple[str, int]]:
        with connection.cursor() as cursor:
            cursor.execute(statements.text("headroom"))
            near = cursor.fetchall()
            if near:
                # A slot moves on only over such a record, and the server writes one every 15 s by itself. A peer of an earlier version lets us not.
                cursor.execute("SELECT has_function_privilege('pg_log_standby_snapshot()', 'EXECUTE')")
                if one_row(cursor)[0]:
                    cursor.execute("SELECT pg_log_standby_snapshot()")
        connection.commit()
        return [(slot, left) for slot, left in near]
