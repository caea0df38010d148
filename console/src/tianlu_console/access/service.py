"""What the access pages do: create the first account, sign in, sign out."""

from __future__ import annotations

import re
from typing import Final

from tianlu_console.access.attempts import AttemptLimiter
from tianlu_console.access.passwords import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN, Passwords
from tianlu_console.access.people import People, Person
from tianlu_console.access.sessions import Sessions
from tianlu_console.access.tokens import new_token
from tianlu_console.clock import Clock
from tianlu_console.errors import InvalidForm, Refused, TooManyAttempts
from tianlu_console.text import N_, Text

NAME_PATTERN: Final = re.compile(r"[\w][\w.@+-]{0,63}")


class Access:
    """The rules of entry. Methods block on the database and on password hashing."""

    def __init__(
        self,
        people: People,
        sessions: Sessions,
        passwords: Passwords,
        attempts: AttemptLimiter,
        clock: Clock,
    ) -> None:
        self._people = people
        self._sessions = sessions
        self._passwords = passwords
        self._attempts = attempts
        self._clock = clock

    def issue_first_visit(self) -> str | None:
        """Return a fresh first-visit token, which voids older ones; None if somebody has an
        account.
        """
        token = new_token()
        return token if self._people.renew_first_visit(token, self._clock()) else None

    def first_visit_due(self) -> bool:
        """Return whether nobody has an account yet."""
        return not self._people.exist()

    def check_first_visit(self, token: str) -> None:
        """Raise `Refused` unless `token` may create the first account."""
        if not self._people.first_visit_valid(token):
            raise Refused(self._used_link())

    def create_first(self, token: str, name: str, password: str, repeated: str) -> Person:
        """Create the first administrator.

        Raises:
            InvalidForm: the name or the password will not do.
            Refused: the link has been used, or another one has been issued since.
        """
        self.check_first_visit(token)
        name = normalise_name(name)
        problems = {} if NAME_PATTERN.fullmatch(name) else {"name": self._name_rule()}
        problems |= password_problems(name, password, repeated)
        if problems:
            raise InvalidForm(problems)
        person = self._people.create_first(
            token, name, self._passwords.hash(password), self._clock()
        )
        if person is None:
            raise Refused(self._used_link())
        return person

    def check_password(self, name: str, password: str, *, address: str) -> Person:
        """Return the person with this name and password.

        Raises:
            TooManyAttempts: the name or the address has failed too often.
            InvalidForm: name and password do not belong together; which of the two is wrong is not
                said.
        """
        name = normalise_name(name)
        wait = self._attempts.wait_seconds(name, address)
        if wait:
            message = Text(
                N_("Too many failed attempts. Try again in %(seconds)d seconds."), {"seconds": wait}
            )
            raise TooManyAttempts(message, retry_after_seconds=wait)
        person = self._people.find(name)
        # An overlong password is not hashed at all, so that nobody can keep the hasher busy with
        # megabytes.
        fits = len(password) <= PASSWORD_LENGTH_MAX
        known = None if person is None else person.password_hash
        matches = fits and self._passwords.matches(password, known)
        if person is None or not matches:
            self._attempts.failed(name, address)
            raise InvalidForm({"password": Text(N_("Name and password do not belong together."))})
        self._attempts.succeeded(name, address)
        return person

    @staticmethod
    def _name_rule() -> Text:
        return Text(
            N_("Use 1 to 64 letters, digits or . _ @ + - and begin with a letter or digit.")
        )

    def _used_link(self) -> Text:
        if self._people.exist():
            return Text(N_("This link has been used. Sign in with the account that was created."))
        return Text(
            N_("This link is not valid any more. Tianlu prints a new one each time it starts.")
        )


def normalise_name(name: str) -> str:
    """Return the name as it is stored and looked up: upper and lower case are the same person."""
    return name.strip().casefold()


def password_problems(name: str, password: str, repeated: str) -> dict[str, Text]:
    """Return what is wrong with a new password, by field; empty if it will do."""
    if len(password) < PASSWORD_LENGTH_MIN:
        rule = Text(N_("Use at least %(count)d characters."), {"count": PASSWORD_LENGTH_MIN})
        return {"password": rule}
    if len(password) > PASSWORD_LENGTH_MAX:
        return {
            "password": Text(
                N_("Use at most %(count)d characters."), {"count": PASSWORD_LENGTH_MAX}
            )
        }
    if password.casefold() == name:
        return {"password": Text(N_("The password must not be the name."))}
    if password != repeated:
        return {"repeated": Text(N_("The two passwords differ."))}
    return {}
