"""People who may sign in, and the first-visit token that makes the first of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Engine, delete, func, insert, select

from tianlu_console.access.tokens import token_hash
from tianlu_console.database.tables import first_visits, people


class Role(StrEnum):
    """What somebody may do. This release knows one role."""

    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account."""

    id: int
    name: str
    role: Role
    password_hash: str


class People:
    """The repository of people. Methods block on the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def exist(self) -> bool:
        """Return whether anybody has an account."""
        with self._engine.connect() as connection:
            return _anybody(connection)

    def find(self, name: str) -> Person | None:
        """Return the person with this name (as normalised by the form)."""
        with self._engine.connect() as connection:
            row = connection.execute(select(people).where(people.c.name == name)).one_or_none()
        if row is None:
            return None
        return Person(row.id, row.name, Role(row.role), row.password_hash)

    def renew_first_visit(self, token: str, now_unix_ms: int) -> bool:
        """Make `token` the only valid first-visit token; False if somebody has an account, then
        none is valid.
        """
        with self._engine.begin() as connection:
            connection.execute(delete(first_visits))
            if _anybody(connection):
                return False
            connection.execute(
                insert(first_visits).values(
                    token_hash=token_hash(token), created_unix_ms=now_unix_ms
                )
            )
            return True

    def first_visit_valid(self, token: str) -> bool:
        """Return whether `token` may still create the first account."""
        with self._engine.connect() as connection:
            query = select(first_visits).where(first_visits.c.token_hash == token_hash(token))
            return connection.execute(query).one_or_none() is not None

    def create_first(
        self, token: str, name: str, password_hash: str, now_unix_ms: int
    ) -> Person | None:
        """Use `token` up and create the first administrator; None if it is not valid any more.

        Both happen in one transaction that starts with the delete, so of two requests with one
        token one wins.
        """
        with self._engine.begin() as connection:
            used = connection.execute(
                delete(first_visits).where(first_visits.c.token_hash == token_hash(token))
            )
            if used.rowcount != 1 or _anybody(connection):
                return None
            role = Role.ADMINISTRATOR
            created = connection.execute(
                insert(people)
                .values(
                    name=name,
                    role=role.value,
                    password_hash=password_hash,
                    created_unix_ms=now_unix_ms,
                )
                .returning(people.c.id)
            )
            return Person(created.scalar_one(), name, role, password_hash)


def _anybody(connection: Connection) -> bool:
    return bool(connection.execute(select(func.count()).select_from(people)).scalar_one())
