"""Oracle: what a node must hold when it has got some messages, computed from the messages alone."""

import collections
from dataclasses import dataclass, field

from tests.convergence.messages import Message


@dataclass(frozen=True)
class Outcome:
    """What a node holds of one key: the row's values and the newest tombstone's version, None where there is none; the versions lost in conflicts.

    ``doubtful`` are versions that may be lost in conflicts or not, by the order of arrival.
    """

    row: tuple[tuple[str, str | None], ...] | None
    tombstone: tuple[str, int] | None
    conflicts: frozenset[tuple[str, int]] = frozenset()
    doubtful: frozenset[tuple[str, int]] = field(default=frozenset(), compare=False)


def outcome(messages: list[Message], columns: list[str], *, conflicts: bool) -> Outcome:
    """Say what comes of all messages of one key: the state of the greatest version. AssertionError when two states share it."""
    if not messages:
        return Outcome(None, None)
    latest = max(message.version for message in messages)
    states = {state(message, columns) for message in messages if message.version == latest}
    assert len(states) == 1, f"two states have the version {latest}: {states}"
    return Outcome(states.pop(), max((m.version for m in messages if m.kind == "tombstone"), default=None),
                   *(lost(messages) if conflicts else ()))


def state(message: Message, columns: list[str]) -> tuple[tuple[str, str | None], ...] | None:
    """Return the row that a message brings, None for a deletion."""
    values = dict(message.values)
    return None if message.kind == "tombstone" else tuple((column, values[column]) for column in columns)


def lost(messages: list[Message]) -> tuple[frozenset[tuple[str, int]], frozenset[tuple[str, int]]]:
    """Return the versions of one key that lost a conflict: not the winner, and no writer that changed them had seen them.

    What a deletion deleted, or an update overwrote, is what its ``replaced`` says. A deletion that loses to a deletion is no loss: one with a later deletion
    is in the second set, because it may have lost to a row before that one came. So is a version that a clock which stood still gave to two
    states, and one that was deleted by the very operation that made it: two deletions of one moment are one.
    """
    latest = max(messages, key=lambda message: message.version)
    replaced = {message.replaced for message in messages}
    last_deletion = max((m.version for m in messages if m.kind == "tombstone"), default=None)
    unseen = [m for m in messages if m.version != latest.version and m.version not in replaced]
    states = {(m.version, m.operation, *(value for column, value in m.values if not column.startswith("unison_"))) for m in messages}
    makers = collections.Counter(version for version, *_ in states)
    doubtful = frozenset(version for version, count in makers.items() if count > 1)
    deleted = {m.operation: m.version for m in messages if m.kind == "tombstone"}
    doubtful |= {m.version for m in unseen if m.kind != "tombstone" and m.version < deleted.get(m.operation, m.version)}
    doubtful |= {m.version for m in unseen if m.kind == "tombstone" and m.version < last_deletion}
    doubtful |= unwritten(messages)
    return frozenset(m.version for m in unseen) - doubtful, doubtful


def unwritten(messages: list[Message]) -> frozenset[tuple[str, int]]:
    """Return the deletions of one key that a statement says to have replaced while it deleted a later row of that key, too.

    That row's tombstone is written when the statement ends: before, the newest tombstone is one that had lost to that row. The peers strike it out as
    replaced, the writer's node does not.
    """
    makers = {(m.version, m.operation) for m in messages if m.kind != "tombstone"}
    ended = {(m.operation, m.replaced) for m in messages if m.kind == "tombstone" and any(
        version == m.replaced and operation != m.operation for version, operation in makers)}
    named = {m.replaced for m in messages if m.replaced is not None and any(
        operation == m.operation and version > m.replaced for operation, version in ended)}
    return frozenset(m.version for m in messages if m.kind == "tombstone" and m.version in named)
