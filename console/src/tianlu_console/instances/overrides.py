"""Isolating and restoring instances, with the audit log around both."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from fastapi.concurrency import run_in_threadpool

from tianlu import Instance, TianluError
from tianlu_console.audit.log import Action, Actor, AuditLog, Outcome, Subject
from tianlu_console.catalogue.feed import CatalogueFeed
from tianlu_console.catalogue.seam import Catalogue
from tianlu_console.clock import Clock
from tianlu_console.errors import InvalidForm, from_sdk
from tianlu_console.text import N_, Text

REASON_LENGTH_MAX: Final = 500
EXPIRY_SECONDS: Final[tuple[int, ...]] = (0, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)
"""After how long an isolation lifts itself; 0: never. The form offers these and takes no others."""

VISIBLE_WITHIN_SECONDS: Final = 1.0
"""How long a write waits for the mirror to have it, so that the next page cannot show the old
state.
"""


@dataclass(frozen=True, slots=True)
class IsolationForm:
    """A valid request to isolate."""

    reason: str
    expires_seconds: int

    @classmethod
    def parse(cls, reason: str, expires_seconds: str) -> IsolationForm:
        """Check the fields as typed. Raises `InvalidForm`."""
        problems = reason_problems(reason, needed=True)
        if expires_seconds not in {str(seconds) for seconds in EXPIRY_SECONDS}:
            problems["expires_seconds"] = Text(N_("Choose one of the offered times."))
        if problems:
            raise InvalidForm(problems)
        return cls(reason.strip(), int(expires_seconds))


def reason_problems(reason: str, *, needed: bool) -> dict[str, Text]:
    """Return what is wrong with a reason, by field."""
    if needed and not reason.strip():
        return {"reason": Text(N_("Say why: others will read it here and in the audit log."))}
    if len(reason.strip()) > REASON_LENGTH_MAX:
        return {
            "reason": Text(N_("Use at most %(count)d characters."), {"count": REASON_LENGTH_MAX})
        }
    return {}


class Overrides:
    """What an operator does to instances. Each action is in the audit log before it is tried."""

    def __init__(
        self, catalogue: Catalogue, feed: CatalogueFeed, audit: AuditLog, clock: Clock
    ) -> None:
        self._catalogue = catalogue
        self._feed = feed
        self._audit = audit
        self._clock = clock

    async def isolate(self, actor: Actor, subject: Subject, form: IsolationForm) -> Instance:
        """Keep traffic away from an instance and return it as it is now. Raises `ConsoleError`."""
        expires = self._clock() + form.expires_seconds * 1000 if form.expires_seconds else 0
        action = self._catalogue.isolate(
            subject.namespace,
            subject.service,
            subject.instance,
            reason=form.reason,
            actor=actor.name,
            expires_unix_ms=expires,
        )
        return await self._do(actor, Action.INSTANCE_ISOLATED, subject, form.reason, action)

    async def restore(self, actor: Actor, subject: Subject, reason: str) -> Instance:
        """Lift an instance's isolation and return it as it is now. Raises `ConsoleError`."""
        action = self._catalogue.restore(
            subject.namespace, subject.service, subject.instance, reason=reason, actor=actor.name
        )
        return await self._do(actor, Action.INSTANCE_RESTORED, subject, reason, action)

    async def _do(
        self,
        actor: Actor,
        action: Action,
        subject: Subject,
        reason: str,
        doing: Awaitable[Instance],
    ) -> Instance:
        entry = await run_in_threadpool(self._audit.begin, actor, action, subject, reason)
        try:
            instance = await doing
        except TianluError as error:
            await run_in_threadpool(self._audit.finish, entry, Outcome.FAILED, detail=str(error))
            raise from_sdk(error) from error
        await run_in_threadpool(
            self._audit.finish, entry, Outcome.DONE, revision=instance.mod_revision
        )
        await self._feed.wait_for(instance, VISIBLE_WITHIN_SECONDS)
        return instance
