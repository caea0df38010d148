"""A client's registrations, and what keeps them registered."""

from __future__ import annotations

from collections.abc import Mapping

from tianlu._model import Instance, InstanceStatus

DRAIN_SECONDS_DEFAULT = 3.0


class AsyncRegistration:
    """An instance that this client registered; made by `AsyncClient.register`."""

    @property
    def instance(self) -> Instance:
        """The instance as the registry last answered it."""
        raise NotImplementedError

    @property
    def revision(self) -> int:
        """The revision of the last change; pass it as `min_revision` to read it back."""
        raise NotImplementedError

    async def update(
        self,
        *,
        status: InstanceStatus | None = None,
        weight: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Instance:
        """Change what the owner says of the instance. What is None stays as it is.

        Args:
            metadata: replaces all metadata.

        Raises:
            InvalidInput: an argument cannot be.
            Unavailable: no registry in time. The change is kept and made with the next
                registration.
        """
        raise NotImplementedError

    async def deregister(self, drain_seconds: float = DRAIN_SECONDS_DEFAULT) -> None:
        """Take the instance out of service without losing requests, then remove it.

        Sets it DRAINING, waits until its subscribers have applied that (at most `drain_seconds`),
        waits out the rest of `drain_seconds` for requests under way, and removes it. Failing to
        reach the registry is logged, not raised: the lease ends the registration anyway.

        Args:
            drain_seconds: 0 to 3600; 0 removes it at once.
        """
        raise NotImplementedError
