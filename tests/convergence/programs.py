"""Programs: what writers at three origins do, in which order, and what of each other's changes they have seen before."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, combinations, product

ORIGINS = 3
HOUR = 3600
VERBS = {
    "insert": "INSERT INTO public.entry (id, value) SELECT {key}, '{value}' WHERE NOT EXISTS (SELECT FROM public.entry WHERE id = {key})",
    "update": "UPDATE public.entry SET value = '{value}' WHERE id = {key}",
    "delete": "DELETE FROM public.entry WHERE id = {key}",
    # another key for the same row
    "move": "UPDATE public.entry SET id = {other}, value = '{value}' WHERE id = {key} AND NOT EXISTS (SELECT FROM public.entry WHERE id = {other})",
    # deleted and inserted again, in one statement
    "renew": "WITH gone AS (DELETE FROM public.entry WHERE id = {key} RETURNING id) INSERT INTO public.entry (id, value) SELECT id, '{value}' FROM gone",
    "put": "INSERT INTO public.entry (id, value) VALUES ({key}, '{value}') ON CONFLICT (id) DO UPDATE SET value = excluded.value",
    "touch both": "UPDATE public.entry SET value = '{value}' WHERE id IN ({key}, {other})",
    "delete both": "DELETE FROM public.entry WHERE id IN ({key}, {other})",
}
# Statements that change a row more than once, or prepare a row for it: by cascades of foreign keys, by the triggers of database.py (they do as the end
# of the value says), and by writing a table in several parts.
TWICE = {
    "own parent": "UPDATE public.entry SET parent = id WHERE id = {key}",
    "parent": "UPDATE public.entry SET parent = {other} WHERE id = {key} AND EXISTS (SELECT FROM public.entry WHERE id = {other})",
    "own patron": "UPDATE public.entry SET patron = id, parent = id WHERE id = {key}",
    "patron": "UPDATE public.entry SET patron = {other} WHERE id = {key} AND EXISTS (SELECT FROM public.entry WHERE id = {other})",
    "own home": "UPDATE public.entry SET home = id, parent = id WHERE id = {key}",
    "home": "UPDATE public.entry SET home = {other}, parent = {other} WHERE id = {key} AND EXISTS (SELECT FROM public.entry WHERE id = {other})",
    "again": "UPDATE public.entry SET value = '{value} again' WHERE id = {key}",
    "jump": "UPDATE public.entry SET value = '{value} jump' WHERE id = {key}",
    "jump before": "UPDATE public.entry SET value = '{value} jump before' WHERE id = {key}",
    "stay": "UPDATE public.entry SET value = '{value} stay' WHERE id = {key}",
    "vanish": "UPDATE public.entry SET value = '{value} vanish' WHERE id = {key}",
    "flash": "INSERT INTO public.entry (id, value) SELECT {key}, '{value} flash' WHERE NOT EXISTS (SELECT FROM public.entry WHERE id = {key})",
    "merge": "MERGE INTO public.entry AS t USING (VALUES ({key}::bigint), ({other}::bigint)) AS s (id) ON t.id = s.id"
             " WHEN MATCHED AND t.id = {key} THEN DELETE WHEN MATCHED THEN UPDATE SET value = '{value}'"
             " WHEN NOT MATCHED THEN INSERT (id, value) VALUES (s.id, '{value}')",
    "replace": "WITH gone AS (DELETE FROM public.entry WHERE id = {key} RETURNING id)"
               " UPDATE public.entry AS t SET id = gone.id, value = '{value}' FROM gone WHERE t.id = {other}",
    "relay": "WITH gone AS (DELETE FROM public.entry WHERE id = {key} RETURNING id), moved AS"
             " (UPDATE public.entry AS t SET id = gone.id FROM gone WHERE t.id = {other} RETURNING t.id)"
             " INSERT INTO public.entry (id, value) SELECT {other}, '{value}' FROM moved",
}
STATEMENTS = VERBS | TWICE


@dataclass(frozen=True)
class Operation:
    """One statement of a writer at ``origin``, when its clock shows ``clock`` (seconds), on the first or second key of the program.

    ``sees`` are the origins whose messages of before reach the writer's node before it; the others' are still on their way.
    """

    origin: int
    verb: str
    key: int
    sees: frozenset[int] = frozenset()
    clock: int = 0

    def __str__(self) -> str:
        seen = " after it got all from " + " and ".join("ABC"[origin] for origin in sorted(self.sees)) if self.sees else ""
        return f"{'ABC'[self.origin]} at {self.clock:+} s: {self.verb} key {self.key + 1}{seen}"


@dataclass(frozen=True)
class Program:
    """Operations in the order in which they happen. What the ``initial`` ones make is everywhere before the others begin.

    ``own_keys``: the keys lie in origin A's part of the sequence, where the merge has a shorter way.
    """

    operations: tuple[Operation, ...]
    initial: tuple[Operation, ...] = ()
    own_keys: bool = True

    @property
    def all(self) -> tuple[Operation, ...]:
        return self.initial + self.operations

    @property
    def sequential(self) -> bool:
        """Whether each writer had seen all that was done before: then it is as if one writer had done it."""
        seen: list[set[int]] = [set() for _ in range(ORIGINS)]
        for number, operation in enumerate(self.operations):
            mine = seen[operation.origin]
            mine.update(before for before in range(number) if self.operations[before].origin in operation.sees)
            if len(mine) < number:
                return False
            mine.add(number)
        return True

    def __str__(self) -> str:
        lines = [f"initially everywhere: {each}" for each in self.initial] + [str(each) for each in self.operations]
        return "\n".join([*lines, f"keys of {'the part of A' if self.own_keys else 'no part'}"])


# A clock says what an origin's clock shows (seconds) at the nth operation.
Clock = Callable[[int, int], int]
CLOCKS: dict[str, Clock] = {
    "right": lambda origin, number: number,
    "equal": lambda origin, number: 0,
    "falling": lambda origin, number: number - 2 * HOUR * origin,
    "rising": lambda origin, number: number + 2 * HOUR * origin,
    "backwards": lambda origin, number: -HOUR * number,
}
INITIAL = {
    "absent": (),
    "present": (Operation(0, "insert", 0, clock=-9),),
    "deleted": (Operation(0, "insert", 0, clock=-9), Operation(0, "delete", 0, clock=-8)),
    "both present": (Operation(0, "insert", 0, clock=-9), Operation(0, "insert", 1, clock=-8)),
    # the first row is parent and home of both, the second one is the first one's patron
    "family": (Operation(0, "insert", 0, clock=-9), Operation(0, "insert", 1, clock=-8), Operation(0, "own home", 0, clock=-7),
               Operation(0, "home", 1, clock=-6), Operation(0, "patron", 0, clock=-5)),
}


def programs(length: int, *, keys: int, clock: str, initial: str, sees: str, mirrored: bool = False, own_keys: bool = True) -> Iterator[Program]:
    """Enumerate every program of so many operations, where each changes something.

    ``sees``: "nothing" (all origins write at once), "all or nothing" before each operation, or "any" subset of the others.
    Programs that differ in the names of origins or keys only are the same one: the first writer is A, the next new one B, then C; ``mirrored``
    makes it C, B, A, so that the greatest index is not always the last to write. The first key is the one that is used first.
    """
    names = tuple(reversed(range(ORIGINS))) if mirrored else tuple(range(ORIGINS))
    begun = INITIAL[initial]
    for operations in _extend((), _World(begun), length, keys, CLOCKS[clock], sees, initial):
        program = Program(operations, begun, own_keys)
        yield replace(program, operations=tuple(replace(each, origin=names[each.origin], sees=frozenset(names[origin] for origin in each.sees))
                                                for each in operations)) if mirrored else program


def twice(length: int, *, clock: str, initial: str) -> Iterator[Program]:
    """Enumerate every program of so many operations, one of them at least of TWICE, at one or two origins that saw all of the other's or nothing."""
    begun = INITIAL[initial]
    choices = [(verb, key) for verb in STATEMENTS for key in (0, 1)]
    for chosen in product(choices, repeat=length):
        if not any(verb in TWICE for verb, _ in chosen):
            continue
        for later in product(range(2), repeat=length - 1):
            origins = (0, *later)
            for sees in product(*(_choices(frozenset(origins[:number]) - {origin}, "all or nothing") for number, origin in enumerate(origins))):
                yield Program(tuple(Operation(origin, verb, key, seen, CLOCKS[clock](origin, number))
                                    for number, (origin, seen, (verb, key)) in enumerate(zip(origins, sees, chosen, strict=True))), begun)


def _extend(done: tuple[Operation, ...], world: "_World", length: int, keys: int, clock: Clock, sees: str, initial: str) -> Iterator:
    if len(done) == length:
        yield done
        return
    newest = max((each.origin for each in done), default=-1)
    symmetric = initial in ("absent", "both present") and not done
    for origin in range(min(newest + 2, ORIGINS)):
        for seen in _choices(world.news(origin), sees):
            for verb, key in [(verb, key) for verb in ("insert", "update", "delete") for key in range(1 if symmetric else keys)] + (
                    [("move", key) for key in range(1 if symmetric else 2)] if keys == 2 else []):
                operation = Operation(origin, verb, key, seen, clock(origin, len(done)))
                after = world.after(operation)
                if after is not None:
                    yield from _extend((*done, operation), after, length, keys, clock, sees, initial)


def _choices(news: frozenset[int], sees: str) -> list[frozenset[int]]:
    if sees == "nothing" or not news:
        return [frozenset()]
    if sees == "all or nothing":
        return [frozenset(), news]
    return [frozenset(chosen) for chosen in chain.from_iterable(combinations(sorted(news), count) for count in range(len(news) + 1))]


class _World:
    """What each origin holds, as far as it must be known to leave out operations that change nothing; versions are in microseconds."""

    def __init__(self, initial: tuple[Operation, ...]):
        self._held: list[dict[int, tuple]] = [{} for _ in range(ORIGINS)]
        self._sent: list[list[tuple]] = [[] for _ in range(ORIGINS)]
        self._got = [[0] * ORIGINS for _ in range(ORIGINS)]
        for operation in initial:
            self._do(operation)
        for origin in range(1, ORIGINS):
            self._pull(origin, 0)

    def news(self, origin: int) -> frozenset[int]:
        return frozenset(other for other in range(ORIGINS) if other != origin and self._got[origin][other] < len(self._sent[other]))

    def after(self, operation: Operation) -> "_World | None":
        """Return the world after the operation, None when it would change nothing."""
        copy = _World(())
        copy._held = [dict(held) for held in self._held]
        copy._sent = [list(sent) for sent in self._sent]
        copy._got = [list(got) for got in self._got]
        for other in operation.sees:
            copy._pull(operation.origin, other)
        return copy if copy._do(operation) else None

    def _pull(self, origin: int, other: int) -> None:
        for key, state in self._sent[other][self._got[origin][other]:]:
            self._held[origin][key] = max(state, self._held[origin].get(key, state))
        self._got[origin][other] = len(self._sent[other])

    def _do(self, operation: Operation) -> bool:
        held, key = self._held[operation.origin], operation.key
        present = held.get(key, (0, 0, False))[2]
        if present == (operation.verb == "insert"):
            return False
        if operation.verb == "move":
            if held.get(1 - key, (0, 0, False))[2]:
                return False
            self._make(operation, key, alive=False)
            key = 1 - key
        self._make(operation, key, alive=operation.verb != "delete")
        return True

    def _make(self, operation: Operation, key: int, *, alive: bool) -> None:
        held = self._held[operation.origin]
        before = held.get(key, (-10**15, 0, False))
        held[key] = (max(operation.clock * 10**6, before[0] + 1), operation.origin, alive)
        self._sent[operation.origin].append((key, held[key]))
