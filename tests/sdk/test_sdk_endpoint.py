"""Endpoints and addresses as people write them."""

from __future__ import annotations

import pytest

from tianlu import InvalidInput
from tianlu._address import advertised_address
from tianlu._endpoint import Endpoint, parse_endpoints


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:8080", Endpoint("127.0.0.1:8080")),
        ("http://registry:2379", Endpoint("registry:2379")),
        ("http://registry:2379/", Endpoint("registry:2379")),
        ("https://registry:443", Endpoint("registry:443", tls=True)),
        ("[::1]:2379", Endpoint("[::1]:2379")),
        ("unix:/run/t.sock", Endpoint("unix:/run/t.sock")),
        ("unix:///run/t.sock", Endpoint("unix:/run/t.sock")),
        ("unix:relative.sock", Endpoint("unix:relative.sock")),
    ],
)
def test_every_way_of_writing_one(text: str, endpoint: Endpoint):
    assert parse_endpoints(text) == (endpoint,)


def test_several_keep_their_order_without_repetitions():
    found = parse_endpoints("a:1, b:2,a:1")
    assert [str(one) for one in found] == ["a:1", "b:2"]
    assert parse_endpoints(["a:1", "https://b:2"])[1].tls


def test_none_takes_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIANLU_ENDPOINTS", "c:3,d:4")
    assert [str(one) for one in parse_endpoints(None)] == ["c:3", "d:4"]
    monkeypatch.delenv("TIANLU_ENDPOINTS")
    assert parse_endpoints(None) == (Endpoint("127.0.0.1:8080"),)


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", "host:99999", "host:0", ":80", "ftp://a:1", "http://a:1/x", "unix:"],
)
def test_what_cannot_be_read_is_named(text: str):
    with pytest.raises(InvalidInput) as caught:
        parse_endpoints(["fine:1", text])
    assert caught.value.field == "endpoints[1]"


def test_no_endpoint_at_all():
    with pytest.raises(InvalidInput, match="endpoints: there is none"):
        parse_endpoints([])


def test_address_is_what_was_said_or_leads_to_the_registry(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TIANLU_ADVERTISE_ADDRESS", raising=False)
    local = Endpoint("127.0.0.1:2379")
    assert advertised_address("me.example", local) == "me.example"
    assert advertised_address(None, local) == "127.0.0.1"
    assert advertised_address(None, Endpoint("no-such-host.invalid:1")) == "127.0.0.1"
    assert advertised_address(None, Endpoint("unix:/x"))
    monkeypatch.setenv("TIANLU_ADVERTISE_ADDRESS", "10.9.8.7")
    assert advertised_address(None, local) == "10.9.8.7"
