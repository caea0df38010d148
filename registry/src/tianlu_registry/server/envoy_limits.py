"""What Envoy lets one client take: connections, streams, buffers and time. As configuration data.

Envoy itself bounds what HTTP/2 can be abused for (floods of control frames, resets, empty frames
and continuations, header lists over 60 KiB or 100 fields) and closes such connections; here stands
what it leaves to its user.

Buffers. What a stream may receive unread, and what it may be sent and not take, is one window of
`STREAM_WINDOW_BYTES`: HTTP/2's own default. Envoy's default would be 16 MiB for each.

Time. A request's headers must come within `HEADERS_SECONDS`. Calls that answer by themselves may
not be silent for longer than `CALL_IDLE_SECONDS`: neither half a request nor an answer that nobody
reads stays. Streams (watches, keep-alives, locks that wait) may be silent for ever; their dead
peers are found by pings.

Source: Envoy documentation, "Configuring Envoy as an edge proxy"; CVE-2023-44487.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tianlu_registry.server.errors import EXIT_USAGE, CannotStart

STREAMS_PER_CONNECTION_MAX: Final = 100_000
"""Calls at once on one client connection, unless told otherwise."""

STREAM_WINDOW_BYTES: Final = 64 * 1024
CONNECTION_WINDOW_BYTES: Final = 4 * 1024 * 1024
RELAY_WINDOW_BYTES: Final = (1 << 31) - 1
"""The relay's connections carry the streams of all TLS clients: some that do not read must not hold
up the rest, so only the streams are bounded there. HTTP/2's largest."""

HEADERS_SECONDS: Final = 10
TLS_HANDSHAKE_SECONDS: Final = 10
CALL_IDLE_SECONDS: Final = 60
"""Far beyond what a call may wait for the cluster (7 s)."""

KEEPALIVE_INTERVAL_SECONDS: Final = 30.0
KEEPALIVE_TIMEOUT_SECONDS: Final = 10.0

_EXTENSIONS: Final = "type.googleapis.com/envoy.extensions.filters"

_CALLS: Final = (
    "/etcdserverpb.KV/",
    "/etcdserverpb.Auth/",
    "/etcdserverpb.Cluster/",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.Lease/LeaseTimeToLive",
    "/etcdserverpb.Lease/LeaseLeases",
    "/v3/kv/",
    "/v3/auth/",
    "/v3/cluster/",
    "/v3/lease/grant",
    "/v3/lease/revoke",
    "/v3/lease/timetolive",
    "/v3/lease/leases",
)
"""Beginnings of the paths of calls that answer by themselves."""

_UTF8_PATH: Final = (
    "(?:[!-$&-~]|%[0-7][0-9A-Fa-f]"
    "|%[Cc][2-9A-Fa-f]%[89ABab][0-9A-Fa-f]"
    "|%[Dd][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]"
    "|%[Ee][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){2}"
    "|%[Ff][0-4](?:%[89ABab][0-9A-Fa-f]){3})*"
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of client connections.

    Attributes:
        connections_max: open ones, of TLS addresses and of the others each; 0 for no limit.
        streams_per_connection_max: calls at once on one connection.
        keepalive_interval_seconds: between the node's pings.
        keepalive_timeout_seconds: without an answer for so long a connection is closed.
    """

    connections_max: int = 0
    streams_per_connection_max: int = STREAMS_PER_CONNECTION_MAX
    keepalive_interval_seconds: float = KEEPALIVE_INTERVAL_SECONDS
    keepalive_timeout_seconds: float = KEEPALIVE_TIMEOUT_SECONDS

    def check(self) -> None:
        """Check what the flags said.

        Raises:
            CannotStart: names the flag that cannot be.
        """
        if self.connections_max < 0:
            raise _wrong("--max-connections", "must be 0, for no limit, or more")
        if not 1 <= self.streams_per_connection_max <= (1 << 31) - 1:
            raise _wrong("--max-concurrent-streams", "must be 1 to 2147483647")
        if self.keepalive_interval_seconds < 1:
            raise _wrong("--grpc-keepalive-interval", "must be 1s or more")
        if self.keepalive_timeout_seconds < 1:
            raise _wrong("--grpc-keepalive-timeout", "must be 1s or more")


def _wrong(flag: str, problem: str) -> CannotStart:
    return CannotStart(f"{flag}: {problem}", EXIT_USAGE)


def connection_manager_limits(
    limits: ConnectionLimits, connection_window_bytes: int = CONNECTION_WINDOW_BYTES
) -> dict[str, Any]:
    """Return what a connection manager is told of limits."""
    return {
        "request_headers_timeout": f"{HEADERS_SECONDS}s",
        # A watch may be silent for hours; dead peers are found by keepalive instead.
        "stream_idle_timeout": "0s",
        # Of a call that is over, but for what its client has not taken.
        "stream_flush_timeout": f"{CALL_IDLE_SECONDS}s",
        "http2_protocol_options": {
            "max_concurrent_streams": limits.streams_per_connection_max,
            "connection_keepalive": {
                "interval": f"{limits.keepalive_interval_seconds:.3f}s",
                "timeout": f"{limits.keepalive_timeout_seconds:.3f}s",
            },
            **_windows(connection_window_bytes),
        },
    }


def relay_http2_options() -> dict[str, Any]:
    """Return the HTTP/2 options of the relay's connections; streams are limited at their clients'
    connections."""
    return {"max_concurrent_streams": (1 << 31) - 1, **_windows(RELAY_WINDOW_BYTES)}


def _windows(connection_bytes: int) -> dict[str, int]:
    return {
        "initial_stream_window_size": STREAM_WINDOW_BYTES,
        "initial_connection_window_size": connection_bytes,
    }


def connection_limit(name: str, connections_max: int) -> dict[str, Any]:
    """Return a filter that closes connections beyond a number of them as soon as they are open."""
    return {
        "name": "envoy.filters.network.connection_limit",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.network.connection_limit.v3.ConnectionLimit",
            "stat_prefix": name,
            "max_connections": connections_max,
        },
    }


def path_guard() -> dict[str, Any]:
    """Return a filter that refuses paths which are not UTF-8 under their percent-encoding.

    The filter behind it (pyvoy) would never answer them: it raises where nobody hears it, and the
    stream would stay open for ever.
    """
    path = {"url_path": {"path": {"safe_regex": {"regex": _UTF8_PATH}}}}
    policy = {"permissions": [path], "principals": [{"any": True}]}
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.http.rbac.v3.RBAC",
            "rules": {"action": "ALLOW", "policies": {"utf8": policy}},
        },
    }


def path_guard_answer() -> dict[str, Any]:
    """Return what the connection manager says where the guard refuses."""
    return {
        "mappers": [
            {
                "filter": {
                    "status_code_filter": {
                        "comparison": {
                            "op": "EQ",
                            "value": {"default_value": 403, "runtime_key": "tianlu.path_guard"},
                        }
                    }
                },
                "status_code": 400,
                "body": {"inline_string": "path: is not UTF-8 under its percent-encoding"},
            }
        ]
    }


def call_routes(cluster: str) -> list[dict[str, Any]]:
    """Return routes that say how long a stream may be silent, by its path.

    Args:
        cluster: named because a route must name one. Nothing is routed there where the filter that
            answers comes before the router.
    """
    calls = [
        {
            "match": {"prefix": path},
            "route": {"cluster": cluster, "timeout": "0s", "idle_timeout": f"{CALL_IDLE_SECONDS}s"},
        }
        for path in _CALLS
    ]
    return [*calls, {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}]
