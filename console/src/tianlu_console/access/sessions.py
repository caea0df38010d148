"""Sessions: who is signed in where, and until when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, delete, insert, or_, select, update

from tianlu_console.access.people import Role
from tianlu_console.access.tokens import new_token, token_hash
from tianlu_console.clock import Clock
from tianlu_console.database.tables import people, sessions

IDLE_SECONDS_MAX: Final = 12 * 3600
"""A working day without a click, or a night, ends a session. Live refreshes are not clicks."""

LIFETIME_SECONDS_MAX: Final = 7 * 24 * 3600
SEEN_STEP_SECONDS: Final = 60
"""How exactly the last click is kept: not every request needs a write."""

CLIENT_LENGTH_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person on one browser. Given out only for a session that holds."""

    name: str
    role: Role
    session: bytes
    """The hash that the session is stored under."""


class Sessions:
    """The repository of sessions. Methods block on the database."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def open(self, person_id: int, *, address: str, client: str) -> str:
        """Start a session and return its cookie value, which is not stored. Sessions that are over
        are removed.
        """
        token, now = new_token(), self._clock()
        with self._engine.begin() as connection:
            connection.execute(
                delete(sessions).where(
                    or_(
                        sessions.c.created_unix_ms <= now - LIFETIME_SECONDS_MAX * 1000,
                        sessions.c.seen_unix_ms <= now - IDLE_SECONDS_MAX * 1000,
                    )
                )
            )
            connection.execute(
                insert(sessions).values(
                    token_hash=token_hash(token),
                    person_id=person_id,
                    created_unix_ms=now,
                    seen_unix_ms=now,
                    address=address,
                    client=client[:CLIENT_LENGTH_MAX],
                )
            )
        return token

    def visitor(self, token: str, *, active: bool) -> Visitor | None:
        """Return who the cookie value stands for; None if its session is over or never was.

        Args:
            active: the person did something, so the idle time starts anew.
        """
        return self._holding(token_hash(token), active=active)

    def holds(self, visitor: Visitor) -> bool:
        """Return whether the visitor's session still holds, without prolonging it."""
        return self._holding(visitor.session, active=False) is not None

    def close(self, visitor: Visitor) -> None:
        """End the session."""
        with self._engine.begin() as connection:
            connection.execute(delete(sessions).where(sessions.c.token_hash == visitor.session))

    def _holding(self, session: bytes, *, active: bool) -> Visitor | None:
        now = self._clock()
        query = (
            select(
                people.c.name, people.c.role, sessions.c.created_unix_ms, sessions.c.seen_unix_ms
            )
            .join(people, people.c.id == sessions.c.person_id)
            .where(sessions.c.token_hash == session)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        idle_ms = now - row.seen_unix_ms
        if (
            idle_ms >= IDLE_SECONDS_MAX * 1000
            or now - row.created_unix_ms >= LIFETIME_SECONDS_MAX * 1000
        ):
            return None
        if active and idle_ms >= SEEN_STEP_SECONDS * 1000:
            with self._engine.begin() as connection:
                connection.execute(
                    update(sessions)
                    .where(sessions.c.token_hash == session)
                    .values(seen_unix_ms=now)
                )
        return Visitor(row.name, Role(row.role), session)
