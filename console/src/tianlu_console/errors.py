"""What the console refuses, and the one table from errors to HTTP answers.

    ConsoleError
    ├── InvalidForm        named fields are wrong: the form is shown again with the reasons
    ├── NotSignedIn        nobody is signed in, or the session is over
    ├── Refused            the request comes from another site, or the person may not
    ├── Missing            the page or the thing that it names does not exist
    ├── TooManyAttempts    sign-in attempts are limited: wait
    ├── Overloaded         a limit of the console itself is reached: wait
    ├── StateConflict      the thing is not in the state that the action needs: look again
    └── RegistryAway       the registry did not answer: nothing was changed, or it is not known

`from_sdk` maps the SDK's errors to these, so that pages know one tree only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import tianlu
from tianlu_console.text import N_, Text


class ConsoleError(Exception):
    """Root of the tree. Each kind has one HTTP status and one code for programs."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, message: Text, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(str(message))
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class InvalidForm(ConsoleError):
    """One or more fields are wrong.

    Args:
        fields: what is wrong with each field, by the field's name in the form.
    """

    status = 422
    code = "invalid"

    def __init__(self, fields: Mapping[str, Text]) -> None:
        super().__init__(Text(N_("Some fields need another value.")))
        self.fields = dict(fields)


class NotSignedIn(ConsoleError):
    """Nobody is signed in, or the session is over."""

    status = 401
    code = "not_signed_in"


class Refused(ConsoleError):
    """The request is understood and not allowed."""

    status = 403
    code = "refused"


class Missing(ConsoleError):
    """There is no such page or thing."""

    status = 404
    code = "not_found"


class StateConflict(ConsoleError):
    """The thing is not in the state that the action needs."""

    status = 409
    code = "conflict"


class TooManyAttempts(ConsoleError):
    """Somebody tried too often."""

    status = 429
    code = "too_many_attempts"


class Overloaded(ConsoleError):
    """A limit of the console is reached."""

    status = 503
    code = "overloaded"


class RegistryAway(ConsoleError):
    """The registry did not answer."""

    status = 503
    code = "registry_away"


def from_sdk(error: tianlu.TianluError) -> ConsoleError:
    """Return the console's error for one of the SDK's, by what the person can do about it."""
    detail = {"detail": str(error)}
    if isinstance(error, tianlu.InvalidInput):
        return InvalidForm(
            {
                error.field: Text(
                    N_("The registry refused it: %(detail)s"), {"detail": error.problem}
                )
            }
        )
    if isinstance(error, tianlu.NotFound):
        return Missing(Text(N_("The registry does not know it: %(detail)s"), detail))
    if isinstance(error, tianlu.Conflict):
        return StateConflict(Text(N_("The registry refused: %(detail)s"), detail))
    if isinstance(error, tianlu.NotAllowed):
        return Refused(Text(N_("The registry does not allow it: %(detail)s"), detail))
    if isinstance(error, tianlu.DeadlinePassed):
        message = N_(
            "The registry did not answer in time; whether it was done is not known. "
            "Look before you try again."
        )
        return RegistryAway(Text(message))
    if error.retryable:
        return RegistryAway(
            Text(N_("The registry cannot be reached; nothing was changed. Try again."))
        )
    return RegistryAway(
        Text(N_("The registry gave an answer that the console cannot use: %(detail)s"), detail)
    )
