"""Metadata and status as headers."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.api.grpc_asgi.metadata import (
    decode_metadata,
    encode_metadata,
    parse_timeout_seconds,
)
from tianlu_registry.api.grpc_asgi.status import RpcError, StatusCode, trailers


@given(value=st.binary(max_size=100))
def test_binary_values_round_trip(value: bytes) -> None:
    assert decode_metadata(encode_metadata([("x-a-bin", value)])) == [("x-a-bin", value)]


def test_reserved_headers_are_not_metadata() -> None:
    headers = [
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"1S"),
        (b"x-b-bin", b"YQ,Yg=="),
        (b"x-broken-bin", b"a"),
        (b"x-c", b"plain"),
    ]
    assert decode_metadata(headers) == [("x-b-bin", b"a"), ("x-b-bin", b"b"), ("x-c", "plain")]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"5S", 5),
        (b"100m", 0.1),
        (b"5u", 5e-6),
        (b"99999999n", 0.099999999),
        (b"", None),
        (b"S", None),
        (b"-1S", None),
        (b"1.5S", None),
        (b"5x", None),
        (b"123456789S", None),
    ],
)
def test_timeouts(header: bytes, seconds: float | None) -> None:
    assert parse_timeout_seconds(header) == (None if seconds is None else pytest.approx(seconds))


@given(message=st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_any_status_message_travels_in_ascii(message: str) -> None:
    headers = dict(trailers(RpcError(StatusCode.ABORTED, message)))
    sent = headers.get(b"grpc-message", b"")
    assert all(0x20 <= byte <= 0x7E for byte in sent)
    assert unquote(sent.decode("ascii")) == message
