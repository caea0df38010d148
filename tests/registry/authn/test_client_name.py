"""Who a client is, as far as limits go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tianlu_registry.authn.client_name import ClientNames, Proxies
from tianlu_registry.errors import InvalidArgument, InvalidAuthToken

CERTIFICATE = (b"x-forwarded-client-cert", b'Hash=1;Subject="CN=shop,O=x"')
FORWARDED = (b"x-forwarded-for", b"198.51.100.66, 203.0.113.7")


def scope(host: str | None, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"client": None if host is None else (host, 4711), "headers": list(headers)}


def names(
    proxies: tuple[str, ...] = (), *, user: str | None = None, certificates: bool = False
) -> ClientNames:
    """Make names with a guard that knows `user`: none if None, an unknown token if ``?``."""

    def claim_now() -> object:
        if user == "?":
            raise InvalidAuthToken
        return SimpleNamespace(user=user)

    guard = None if user is None else SimpleNamespace(enabled=True, claim_now=claim_now)
    return ClientNames(cast("Any", guard), Proxies(proxies), client_certificates=certificates)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.1", "address 192.0.2.1"),
        ("::ffff:192.0.2.1", "address 192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "address 2001:db8:1:2::/64"),
        ("", "unix"),
        (None, "unix"),
    ],
)
def test_addresses(host: str | None, name: str) -> None:
    assert names().name(scope(host)) == name


def test_the_nearest_to_a_person_counts() -> None:
    request = scope("192.0.2.1", CERTIFICATE, FORWARDED)
    assert names(user="alice", certificates=True).name(request) == "user alice"
    assert names(user="", certificates=True).name(request) == "certificate shop"
    assert names(user="?", certificates=True).name(request) == "certificate shop"
    assert names(user="?").name(request) == "address 192.0.2.1"
    assert names().name(request) == "address 192.0.2.1"


@pytest.mark.parametrize(
    ("proxies", "host", "name"),
    [
        (("192.0.2.0/24",), "192.0.2.1", "address 203.0.113.7"),
        (("192.0.2.1", "unix"), "192.0.2.1", "address 203.0.113.7"),
        (("unix",), None, "address 203.0.113.7"),
        (("unix",), "192.0.2.1", "address 192.0.2.1"),
        (("192.0.2.0/24",), "198.51.100.1", "address 198.51.100.1"),
        (("192.0.2.0/24",), None, "unix"),
    ],
)
def test_only_trusted_proxies_say_who_is_behind_them(
    proxies: tuple[str, ...], host: str | None, name: str
) -> None:
    assert names(proxies).name(scope(host, FORWARDED)) == name


def test_a_trusted_proxy_that_says_nothing_is_a_client_itself() -> None:
    assert names(("unix",)).name(scope(None)) == "unix"
    assert names(("unix",)).name(scope(None, (b"x-forwarded-for", b"me"))) == "address unknown"


def test_connections_of_proxies_are_not_limited() -> None:
    limited = names(("192.0.2.0/24",))
    assert limited.limited_address("192.0.2.9") is None
    assert limited.limited_address("198.51.100.1") == "address 198.51.100.1"


@pytest.mark.parametrize("name", ["nobody", "10.0.0.0/33", "10.0.0.1/8", ""])
def test_what_is_no_proxy_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="trusted_proxies"):
        Proxies([name])
