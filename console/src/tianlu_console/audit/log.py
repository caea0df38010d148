"""The audit log: append first, then act, then note the outcome.

An entry is written as "pending" before the action, so that an action whose outcome was never noted
(the console died in between) shows as exactly that, and no action goes unrecorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, Row, Select, func, insert, or_, select, update

from tianlu_console.clock import Clock
from tianlu_console.database.tables import audit_entries


class Action(StrEnum):
    """What can be done that is worth a line."""

    INSTANCE_ISOLATED = "instance_isolated"
    INSTANCE_RESTORED = "instance_restored"
    FIRST_ADMINISTRATOR_CREATED = "first_administrator_created"
    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"


class Outcome(StrEnum):
    """How it ended."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from which address."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is acted upon; empty strings where it does not apply."""

    namespace: str = ""
    service: str = ""
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log.

    Attributes:
        detail: the error's text if it failed.
        revision: the catalogue revision that the action made; 0 if none.
    """

    id: int
    at_unix_ms: int
    actor: Actor
    action: Action
    subject: Subject
    reason: str
    outcome: Outcome
    detail: str
    revision: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries; an empty string does not restrict."""

    search: str = ""
    namespace: str = ""
    service: str = ""


class AuditLog:
    """The repository of entries. Methods block on the database.

    Args:
        on_change: called in the calling thread after each write; must not block.
        on_outcome: likewise, with action and outcome, once an entry has an outcome.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        on_change: Callable[[], None],
        on_outcome: Callable[[str, str], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._on_change = on_change
        self._on_outcome = on_outcome

    def begin(self, actor: Actor, action: Action, subject: Subject, reason: str) -> int:
        """Note that something is about to be done and return the entry's id for `finish`."""
        return self._insert(actor, action, subject, reason, Outcome.PENDING)

    def finish(
        self, entry_id: int, outcome: Outcome, *, revision: int = 0, detail: str = ""
    ) -> None:
        """Note how it ended."""
        values = {"outcome": outcome.value, "revision": revision, "detail": detail}
        statement = update(audit_entries).where(audit_entries.c.id == entry_id).values(values)
        with self._engine.begin() as connection:
            done = connection.execute(statement.returning(audit_entries.c.action))
            action = done.scalar_one()
        self._on_outcome(action, outcome.value)
        self._on_change()

    def record(self, actor: Actor, action: Action) -> None:
        """Note something that has happened in the console itself."""
        self._insert(actor, action, Subject(), "", Outcome.DONE)
        self._on_outcome(action.value, Outcome.DONE.value)

    def count(self, wanted: Filter) -> int:
        """Return how many entries match."""
        query = _matching(select(func.count()).select_from(audit_entries), wanted)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def read(self, wanted: Filter, *, offset: int, limit: int) -> tuple[Entry, ...]:
        """Return matching entries, newest first."""
        query = _matching(select(audit_entries), wanted)
        query = query.order_by(audit_entries.c.id.desc()).offset(offset).limit(limit)
        with self._engine.connect() as connection:
            return tuple(_entry(row) for row in connection.execute(query))

    def _insert(
        self, actor: Actor, action: Action, subject: Subject, reason: str, outcome: Outcome
    ) -> int:
        statement = insert(audit_entries).values(
            at_unix_ms=self._clock(),
            actor=actor.name,
            address=actor.address,
            action=action.value,
            namespace=subject.namespace,
            service=subject.service,
            instance=subject.instance,
            reason=reason,
            outcome=outcome.value,
            detail="",
            revision=0,
        )
        with self._engine.begin() as connection:
            entry_id = connection.execute(statement.returning(audit_entries.c.id)).scalar_one()
        self._on_change()
        return int(entry_id)


def _matching(query: Select[Any], wanted: Filter) -> Select[Any]:
    columns = audit_entries.c
    if wanted.namespace:
        query = query.where(columns.namespace == wanted.namespace)
    if wanted.service:
        query = query.where(columns.service == wanted.service)
    if wanted.search:
        fields = (columns.actor, columns.service, columns.instance, columns.reason)
        query = query.where(
            or_(*(field.icontains(wanted.search, autoescape=True) for field in fields))
        )
    return query


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        id=row.id,
        at_unix_ms=row.at_unix_ms,
        actor=Actor(row.actor, row.address),
        action=Action(row.action),
        subject=Subject(row.namespace, row.service, row.instance),
        reason=row.reason,
        outcome=Outcome(row.outcome),
        detail=row.detail,
        revision=row.revision,
    )
