"""Whether the store's own account of itself agrees with what clients were told.

Beside linearizability, which needs no revisions, this uses them: they put all writes of all keys
into one order, which must be an order that real time allows, and the account must hold every write
that was acknowledged at the revision that was answered. Pure; linear in the history's length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.histories import Kind, Operation, by_key

VIOLATIONS_MAX = 20
"""More of them say nothing new."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of the store, as a watch reports it.

    Attributes:
        revision: of the store; strictly growing where writes are of one key each.
        value: None for a deletion.
        create_revision: of the key's life; 0 for a deletion.
    """

    revision: int
    key: str
    value: str | None
    create_revision: int = 0


def judge(operations: Sequence[Operation], account: Sequence[Event]) -> list[str]:
    """Return what disagrees, in words.

    Args:
        operations: whole histories of all keys that occur in them.
        account: every change of these keys, in the store's order.
    """
    found = [*_order(operations), *_writes(operations, account), *_reads(operations, account)]
    return found[:VIOLATIONS_MAX]


def _order(operations: Iterable[Operation]) -> Iterable[str]:
    """Yield operations that were told a revision older than one told before they began."""
    known = [one for one in operations if one.is_known and one.revision]
    completions = sorted(known, key=lambda one: one.completed)
    newest: Operation | None = None
    position = 0
    for operation in sorted(known, key=lambda one: one.invoked):
        while position < len(completions) and completions[position].completed < operation.invoked:
            before = completions[position]
            newest = before if newest is None or before.revision > newest.revision else newest
            position += 1
        if newest is None or operation.revision > newest.revision:
            continue
        if operation.revision < newest.revision or operation.writes():
            yield f"{operation} began after {newest} was answered, and has no newer revision"


def _writes(operations: Sequence[Operation], account: Sequence[Event]) -> Iterable[str]:
    by_revision = {(event.key, event.revision): event for event in account}
    for operation in operations:
        if not operation.writes():
            continue
        event = by_revision.get((operation.key, operation.revision))
        wanted = None if operation.kind is Kind.DELETE else operation.value
        if event is None:
            yield f"lost: {operation} was acknowledged, the store has no such revision"
        elif event.value != wanted:
            yield f"{operation} was acknowledged, the store has {event}"
    yield from _origins(operations, account)


def _origins(operations: Sequence[Operation], account: Sequence[Event]) -> Iterable[str]:
    """Yield changes that nobody asked for, and those made twice of one request."""
    histories = by_key(operations)
    asked = {
        key: {one.value for one in history if one.kind in (Kind.PUT, Kind.SWAP)}
        for key, history in histories.items()
    }
    made: set[tuple[str, str]] = set()
    for event in account:
        if event.key not in asked or event.value is None:
            continue
        if event.value not in asked[event.key]:
            yield f"{event} was asked for by nobody"
        if (event.key, event.value) in made:
            yield f"{event}: its one request took effect twice"
        made.add((event.key, event.value))


def _reads(operations: Sequence[Operation], account: Sequence[Event]) -> Iterable[str]:
    """Yield reads that differ from the account at the revision which they were answered at."""
    changes: dict[str, list[Event]] = {}
    for event in account:
        changes.setdefault(event.key, []).append(event)
    for key, history in by_key(operations).items():
        reads = sorted(
            (one for one in history if one.kind is Kind.GET and one.is_known),
            key=lambda one: one.revision,
        )
        position, events = 0, changes.get(key, [])
        for read in reads:
            while position < len(events) and events[position].revision <= read.revision:
                position += 1
            held = events[position - 1] if position else None
            value = held.value if held else None
            if read.value != value or (
                held and value is not None and read.mod_revision != held.revision
            ):
                yield f"{read}, but the store then had {held}"
