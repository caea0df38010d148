"""Who calls, in the words of the audit log."""

from __future__ import annotations

from typing import Final

from tianlu_registry.audit.entries import Actor
from tianlu_registry.audit.key_text import key_text
from tianlu_registry.authn.caller import address, credentials
from tianlu_registry.authn.guard import Guard
from tianlu_registry.errors import InvalidAuthToken

NOBODY: Final = "-"


class Actors:
    """Finds out who calls.

    Args:
        guard: knows users and tokens; None if the node has no users of its own.
        client_certificates: whether the listener has verified them.
    """

    def __init__(self, guard: Guard | None, *, client_certificates: bool) -> None:
        self._guard = guard
        self._client_certificates = client_certificates

    def current(self) -> Actor:
        """Return who makes the call that is being served, as far as this member knows now."""
        if not self._asks and not self._client_certificates:
            return Actor(NOBODY, "none", address())
        given = credentials()
        name = given.common_name if self._client_certificates else None
        known_by = "certificate"
        if self._guard is not None and self._asks and given.token is not None:
            # A token goes before a certificate, also one that is worth nothing.
            name, known_by = self._user(self._guard), "token"
        if not name:
            return Actor(NOBODY, "none", address())
        return Actor(key_text(name.encode("utf-8", "replace")), known_by, address())

    def current_after(self, actor: Actor) -> Actor:
        """Return who has made the call that was being served: the member may have learnt of his
        token meanwhile.

        Args:
            actor: who that was before.
        """
        return self.current() if actor.known_by == "none" and self._asks else actor

    @property
    def _asks(self) -> bool:
        return self._guard is not None and self._guard.enabled

    @staticmethod
    def _user(guard: Guard) -> str | None:
        try:
            return guard.claim_now().user
        except InvalidAuthToken:
            return None
