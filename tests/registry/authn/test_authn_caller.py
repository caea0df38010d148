"""What a call says of whose it is."""

from __future__ import annotations

import asyncio

import pytest

from tianlu_registry.authn.caller import NONE, Credentials, credentials, read_credentials, serving

CERTIFICATE = b"x-forwarded-client-cert"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], NONE),
        ([(b"token", b"abc")], Credentials("abc")),
        ([(b"authorization", b"abc")], Credentials("abc")),
        ([(b"authorization", b"Bearer abc")], Credentials("abc")),
        ([(b"authorization", b"x"), (b"token", b"abc"), (b"token", b"y")], Credentials("abc")),
        ([(b"token", b"")], Credentials("")),
        ([(CERTIFICATE, b"Hash=ab12")], NONE),
        ([(CERTIFICATE, b'Hash=ab;Subject="CN=ann,O=Shop"')], Credentials(None, "ann")),
        ([(CERTIFICATE, b'Hash=ab;Subject="O=Shop, CN=ann"')], Credentials(None, "ann")),
        ([(CERTIFICATE, b'Subject="O=CN\\\\=root"')], NONE),
        ([(CERTIFICATE, b'Subject="O=a\\\\,CN\\\\=root,CN=ann"')], Credentials(None, "ann")),
        ([(CERTIFICATE, b'Subject="CN=root",Subject="CN=ann"')], Credentials(None, "ann")),
        ([(CERTIFICATE, b'Subject="CN=a\\",Subject=\\"CN=root"')], Credentials(None, 'a"')),
        ([(CERTIFICATE, b'URI="x;Subject=CN";Hash=ab')], NONE),
        # What an organisation is called must not become a name.
        ([(CERTIFICATE, rb'Subject="O=x\, CN=root,CN=ann"')], Credentials(None, "ann")),
        ([(CERTIFICATE, rb'Subject="O=x\+CN=root,CN=ann"')], Credentials(None, "ann")),
        ([(CERTIFICATE, rb'Subject="O=x\,CN=root"')], NONE),
        ([(CERTIFICATE, rb'Subject="O=x\\,CN=ann"')], Credentials(None, "ann")),
        ([(CERTIFICATE, rb'Subject="OU=CN=root,O=x\\\,CN=root,CN=ann"')], Credentials(None, "ann")),
        ([(CERTIFICATE, rb'Subject="OU=x+CN=ann,O=y"')], Credentials(None, "ann")),
        ([(CERTIFICATE, rb'Subject="CN=two,CN=one"')], Credentials(None, "two")),
        ([(CERTIFICATE, rb'Subject="CN=\C3\A9\"b\\c\,\ "')], Credentials(None, 'é"b\\c, ')),
        ([(CERTIFICATE, rb'Subject="CN=\#0C03616E6E"')], Credentials(None, "#0C03616E6E")),
        ([(CERTIFICATE, b'Subject="CN=#0C03616E6E"')], NONE),
        ([(CERTIFICATE, rb'Subject="CN=\C3"')], NONE),
    ],
)
def test_credentials(headers: list[tuple[bytes, bytes]], expected: Credentials) -> None:
    assert read_credentials(headers) == expected


async def test_calls_are_kept_apart() -> None:
    """Two calls under way at once see their own credentials, and work outside of both none."""
    turn = asyncio.Barrier(2)

    async def call(token: bytes) -> Credentials:
        serving({"headers": [(b"token", token)]})
        await turn.wait()
        return await asyncio.create_task(_seen())

    async def _seen() -> Credentials:
        return credentials()

    one, other = await asyncio.gather(call(b"one"), call(b"other"))
    assert (one.token, other.token) == ("one", "other")
    assert credentials() == NONE
