"""What the flags of limits may say."""

from __future__ import annotations

import pytest

from tianlu_registry.cli.client_limit_flags import ClientLimitFlags
from tianlu_registry.cli.node import flag_of_field
from tianlu_registry.errors import InvalidArgument
from tianlu_registry.limits.settings import ClientLimits
from tianlu_registry.server.errors import CannotStart


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"max_connections": -1}, "--max-connections: must be 0, for no limit, or more"),
        ({"max_concurrent_streams": 0}, "--max-concurrent-streams: must be 1 to 2147483647"),
        ({"max_concurrent_streams": 2**31}, "--max-concurrent-streams: must be 1 to"),
        ({"grpc_keepalive_interval": "soon"}, "--grpc-keepalive-interval: 'soon' is not a"),
        ({"grpc_keepalive_interval": "10ms"}, "--grpc-keepalive-interval: must be 1s or more"),
        ({"grpc_keepalive_timeout": "0"}, "--grpc-keepalive-timeout: must be 1s or more"),
    ],
)
def test_wrong_limits_of_connections(flags: dict[str, object], text: str) -> None:
    with pytest.raises(CannotStart) as caught:
        ClientLimitFlags(**flags).connections()  # type: ignore[arg-type]
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "field",
    [
        "max_connections_per_client",
        "max_streams_per_client",
        "max_watches_per_client",
        "max_requests_per_second_per_client",
        "max_requests_burst_per_client",
    ],
)
def test_wrong_limits_of_clients_name_their_flag(field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ClientLimitFlags(**{field: -1}).clients()  # type: ignore[arg-type]
    assert flag_of_field(caught.value.field) == "--" + field.replace("_", "-")
    with pytest.raises(InvalidArgument):
        ClientLimitFlags(max_requests_per_second_per_client=float("nan")).clients()


def test_defaults() -> None:
    connections = ClientLimitFlags(grpc_keepalive_interval="2h").connections()
    assert connections.keepalive_interval_seconds == 7200
    limits = ClientLimitFlags().clients()
    assert limits == ClientLimits()
    assert not limits.limits_calls
    assert ClientLimits(max_requests_per_second_per_client=0.5).burst == 1
    assert ClientLimits(max_requests_per_second_per_client=10.5).burst == 11
    assert (
        ClientLimits(max_requests_per_second_per_client=10, max_requests_burst_per_client=3).burst
        == 3
    )
