"""Flags that bound what clients take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from tianlu_registry.cli.flags import flag_of
from tianlu_registry.cli.urls import split_urls
from tianlu_registry.limits.settings import ClientLimits
from tianlu_registry.server.envoy_limits import ConnectionLimits
from tianlu_registry.server.errors import EXIT_USAGE, CannotStart
from tianlu_registry.server.go_durations import go_seconds


@dataclass(frozen=True, slots=True)
class ClientLimitFlags:
    """How much clients may take, together and each."""

    panel: ClassVar[str] = "Limits of clients"

    max_connections: Annotated[
        int, "Client connections at once, of TLS addresses and of the others each. 0: no limit."
    ] = 0
    max_connections_per_client: Annotated[
        int, "Connections at once from one address. 0: no limit."
    ] = 0
    max_concurrent_streams: Annotated[
        int, "Calls at once on one connection; more wait at the client."
    ] = 100_000
    max_streams_per_client: Annotated[
        int, "Calls at once of one client, watches included. 0: no limit."
    ] = 0
    max_watches_per_client: Annotated[
        int, "Watches at once of one client, over all its streams. 0: no limit."
    ] = 0
    max_requests_per_second_per_client: Annotated[
        float, "Requests a second of one client, messages on streams included. 0: no limit."
    ] = 0.0
    max_requests_burst_per_client: Annotated[
        int, "Requests at once after a pause. 0: as many as in a second."
    ] = 0
    trusted_proxies: Annotated[
        str,
        "Whose x-forwarded-for says where a client is: comma-separated networks, and unix for "
        "whoever comes by a Unix socket.",
    ] = "unix"
    grpc_keepalive_interval: Annotated[
        str, "How often the node pings a client's connection, as a duration."
    ] = "30s"
    grpc_keepalive_timeout: Annotated[
        str, "How long a ping may stay unanswered before the connection is closed."
    ] = "10s"

    def connections(self) -> ConnectionLimits:
        """Return the limits of connections.

        Raises:
            CannotStart: names the flag that cannot be.
        """
        limits = ConnectionLimits(
            connections_max=self.max_connections,
            streams_per_connection_max=self.max_concurrent_streams,
            keepalive_interval_seconds=_seconds(
                "grpc_keepalive_interval", self.grpc_keepalive_interval
            ),
            keepalive_timeout_seconds=_seconds(
                "grpc_keepalive_timeout", self.grpc_keepalive_timeout
            ),
        )
        limits.check()
        return limits

    def clients(self) -> ClientLimits:
        """Return the limits of each client.

        Raises:
            InvalidArgument: names the field that cannot be.
        """
        return ClientLimits(
            max_connections_per_client=self.max_connections_per_client,
            max_streams_per_client=self.max_streams_per_client,
            max_watches_per_client=self.max_watches_per_client,
            max_requests_per_second_per_client=self.max_requests_per_second_per_client,
            max_requests_burst_per_client=self.max_requests_burst_per_client,
            trusted_proxies=split_urls(self.trusted_proxies),
        )


def _seconds(field: str, text: str) -> float:
    seconds = go_seconds(text)
    if seconds is None:
        raise CannotStart(
            f"{flag_of(field)}: {text!r} is not a duration, such as 30s or 2h", EXIT_USAGE
        )
    return seconds
