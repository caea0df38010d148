"""What the limits per client are, as the flags give them. 0 is no limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tianlu_registry.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits of each client.

    Attributes:
        max_connections_per_client: of an address, at once.
        max_streams_per_client: calls open at once.
        max_watches_per_client: watches at once, over all its streams.
        max_requests_per_second_per_client: for ever.
        max_requests_burst_per_client: at once after a pause; 0 for as many as in a second.
        trusted_proxies: see `authn.client_name.Proxies`.

    Raises:
        InvalidArgument: names the field that cannot be.
    """

    max_connections_per_client: int = 0
    max_streams_per_client: int = 0
    max_watches_per_client: int = 0
    max_requests_per_second_per_client: float = 0.0
    max_requests_burst_per_client: int = 0
    trusted_proxies: tuple[str, ...] = ("unix",)

    def __post_init__(self) -> None:
        for name in (
            "max_connections_per_client",
            "max_streams_per_client",
            "max_watches_per_client",
            "max_requests_per_second_per_client",
            "max_requests_burst_per_client",
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidArgument(name, f"is {value}, it must be 0, for no limit, or more")

    @property
    def burst(self) -> int:
        """Requests at once after a pause, at least 1."""
        return self.max_requests_burst_per_client or math.ceil(
            max(1.0, self.max_requests_per_second_per_client)
        )

    @property
    def limits_calls(self) -> bool:
        """Whether requests, calls or watches are limited: whether clients must be told apart."""
        return bool(
            self.max_streams_per_client
            or self.max_watches_per_client
            or self.max_requests_per_second_per_client
        )
