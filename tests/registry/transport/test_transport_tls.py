"""TLS between members: who is let in, and what is said to who is not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from registry.transport.transports import (
    CLUSTER,
    connect,
    connected,
    error_of,
    heartbeat,
    running,
    until,
)

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry.errors import InvalidArgument
from tianlu_registry.raft import MemberId
from tianlu_registry.transport import PeerTls, Transport
from tianlu_registry.transport.frames import PREFACE, FrameKind, frame_header

ONE, TWO = MemberId(1), MemberId(2)
DAY = timedelta(days=1)
HTTPS = ("https://127.0.0.1:0",)


class Authority:
    """A CA and the certificates it has made, as files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca = trustme.CA()
        self._count = 0
        self.ca_file = directory / f"ca-{id(self)}.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)

    def issue(self, *names: str, common_name: str | None = None) -> tuple[Path, Path]:
        """Make a certificate for some names; return its files."""
        self._count += 1
        made = self._ca.issue_cert(*(names or ("127.0.0.1", "localhost")), common_name=common_name)
        cert = self._directory / f"cert-{id(self)}-{self._count}.pem"
        key = cert.with_suffix(".key")
        made.private_key_pem.write_to_path(key)
        for number, blob in enumerate(made.cert_chain_pems):
            blob.write_to_path(cert, append=number > 0)
        return cert, key

    def revoke(self, cert: Path) -> bytes:
        """Return a list, PEM, that takes a certificate back."""
        now = datetime.now(UTC)
        serial = x509.load_pem_x509_certificate(cert.read_bytes()).serial_number
        revoked = x509.RevokedCertificateBuilder(serial, now).build()
        authority = x509.load_pem_x509_certificate(self._ca.cert_pem.bytes())
        key = load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        made = (
            x509.CertificateRevocationListBuilder(authority.subject, now - DAY, now + DAY)
            .add_revoked_certificate(revoked)
            .sign(cast("EllipticCurvePrivateKey", key), SHA256())
        )
        return made.public_bytes(Encoding.PEM)

    def tls(self, *names: str, common_name: str | None = None, **settings: object) -> PeerTls:
        """Return mutual TLS with a certificate of its own."""
        cert, key = self.issue(*names, common_name=common_name)
        settings = {"client_cert_auth": True, **settings}
        return PeerTls(cert, key, self.ca_file, **settings)  # type: ignore[arg-type]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def last_error(transport: Transport, member: int) -> str:
    return transport.peer_status()[MemberId(member)].last_error


async def refused(one: Transport, two: Transport, *, text: str) -> None:
    """Check that `one` does not get through to `two`, and is told why."""
    one.set_peers({TWO: two.addresses})
    await until(lambda: text in last_error(one, 2), text)
    assert not connected(one, 2)


@pytest.mark.parametrize("scheme", ["https", "unixs"])
async def test_members_of_one_authority_talk(
    tmp_path: Path, authority: Authority, scheme: str
) -> None:
    def listen(name: str) -> tuple[str, ...]:
        return HTTPS if scheme == "https" else (f"unixs:{tmp_path}/{name}.sock",)

    async with (
        running(1, tmp_path, listen=listen("one"), tls=authority.tls()) as (one, node_one),
        running(2, tmp_path, listen=listen("two"), tls=authority.tls()) as (two, node_two),
    ):
        connect(one, two)
        await until(lambda: connected(one, 2) and connected(two, 1))
        one.send([heartbeat(1, 2, commit) for commit in range(100)])
        two.send([heartbeat(2, 1)])
        await until(lambda: len(node_two.messages) == 100 and node_one.messages)
        assert await one.call(TWO, "any", bytes(5_000_000), 30) == b"any:" + bytes(5_000_000)


async def test_another_authority_is_not_trusted_by_who_dials(
    tmp_path: Path, authority: Authority
) -> None:
    other = Authority(tmp_path)
    async with (
        running(1, tmp_path, listen=(), tls=other.tls()) as (one, _),
        running(2, tmp_path, listen=HTTPS, tls=authority.tls()) as (two, _),
    ):
        await refused(one, two, text="certificate is not accepted")


async def test_another_authority_is_not_trusted_by_who_is_dialled(
    tmp_path: Path, authority: Authority
) -> None:
    other = Authority(tmp_path)
    cert, key = other.issue()
    liar = PeerTls(cert, key, authority.ca_file)
    async with (
        running(1, tmp_path, listen=(), tls=liar) as (one, _),
        running(2, tmp_path, listen=HTTPS, tls=authority.tls()) as (two, node_two),
    ):
        one.set_peers({TWO: two.addresses})
        await until(lambda: last_error(one, 2))
        assert not connected(one, 2)
        assert node_two.messages == []


async def test_a_certificate_for_another_host_is_not_accepted(
    tmp_path: Path, authority: Authority
) -> None:
    async with (
        running(1, tmp_path, listen=(), tls=authority.tls()) as (one, _),
        running(2, tmp_path, listen=HTTPS, tls=authority.tls("elsewhere.test")) as (two, _),
    ):
        await refused(one, two, text="certificate is not accepted")


async def test_a_dialler_without_certificate_is_not_let_in(
    tmp_path: Path, authority: Authority
) -> None:
    async with running(2, tmp_path, listen=HTTPS, tls=authority.tls()) as (two, _):
        context = ssl.create_default_context(cafile=authority.ca_file)
        port = int(two.addresses[0].rpartition(":")[2])
        assert await answer_to_hello(port, context) == b""


async def answer_to_hello(port: int, context: ssl.SSLContext) -> bytes:
    """Connect, say HELLO, and return what is answered; nothing if the connection ends."""
    hello = pb.PeerHello(cluster_id=CLUSTER, sender=1, receiver=2, kind=pb.PEER_CONNECTION_KIND_LOG)
    body = hello.SerializeToString()
    try:
        # With TLS 1.3 the client learns of it with the first byte that it reads.
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(PREFACE + frame_header(FrameKind.HELLO, len(body)) + body)
        answer = await reader.read(100)
        writer.transport.abort()
    except (ssl.SSLError, ConnectionError):
        return b""
    return answer


async def test_there_is_no_way_around_tls(tmp_path: Path, authority: Authority) -> None:
    """Neither side falls back to plaintext."""
    async with (
        running(1, tmp_path, listen=(), tls=authority.tls()) as (one, _),
        running(2, tmp_path, listen=HTTPS, tls=authority.tls()) as (two, _),
        running(3, tmp_path, tls=authority.tls()) as (three, _),
        running(4, tmp_path, listen=()) as (four, _),
    ):
        plain = two.addresses[0].replace("https", "http")
        secure = three.addresses[0].replace("http", "https")
        one.set_peers({TWO: (plain,), MemberId(3): (secure,)})
        await until(lambda: last_error(one, 2) and last_error(one, 3))
        four.set_peers({TWO: two.addresses})
        await until(lambda: "no TLS settings" in last_error(four, 2))
        assert not connected(one, 2)
        assert not connected(one, 3)


@pytest.mark.parametrize(
    ("settings", "name", "text"),
    [
        ({"allowed_cn": "peer"}, {"common_name": "peer"}, None),
        ({"allowed_cn": "peer"}, {"common_name": "client"}, "common name client, not peer"),
        ({"allowed_hostname": "a.peers.test"}, {"host": "a.peers.test"}, None),
        ({"allowed_hostname": "a.peers.test"}, {"host": "*.peers.test"}, None),
        ({"allowed_hostname": "a.peers.test"}, {"host": "b.test"}, "is not for a.peers.test"),
    ],
)
async def test_names_in_certificates_are_compared(
    tmp_path: Path,
    authority: Authority,
    settings: dict[str, str],
    name: dict[str, str],
    text: str | None,
) -> None:
    names = ("127.0.0.1", name.get("host", "localhost"))
    mine = authority.tls(*names, common_name=name.get("common_name"))
    async with (
        running(1, tmp_path, listen=(), tls=mine) as (one, _),
        running(2, tmp_path, listen=HTTPS, tls=authority.tls(**settings)) as (two, _),
    ):
        if text is None:
            one.set_peers({TWO: two.addresses})
            await until(lambda: connected(one, 2), last_error(one, 2))
        else:
            await refused(one, two, text=text)


async def test_a_revoked_member_is_refused(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    (cert, key), crl = authority.issue(), tmp_path / "revoked.pem"
    crl.write_bytes(authority.revoke(cert))
    async with (
        running(1, tmp_path, listen=(), tls=PeerTls(cert, key, authority.ca_file)) as (one, _),
        running(2, tmp_path, listen=HTTPS, tls=authority.tls(crl_file=crl)) as (two, _),
        running(3, tmp_path, listen=(), tls=authority.tls(crl_file=crl)) as (three, _),
    ):
        one.set_peers({TWO: two.addresses})
        await until(lambda: "certificate revoked" in caplog.text)
        assert not connected(one, 2)
        three.set_peers({TWO: two.addresses})
        await until(lambda: connected(three, 2))


async def test_members_of_another_tls_version_are_refused(
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = authority.tls()
    client_context = old.client_context

    def older() -> ssl.SSLContext:
        context = client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    monkeypatch.setattr(old, "client_context", older)
    async with (
        running(1, tmp_path, listen=(), tls=old) as (one, _),
        running(2, tmp_path, listen=HTTPS, tls=authority.tls(min_version="TLS1.3")) as (two, _),
    ):
        one.set_peers({TWO: two.addresses})
        await until(lambda: "unsupported protocol" in caplog.text)
        assert not connected(one, 2)


async def test_members_that_have_signed_themselves_talk(tmp_path: Path) -> None:
    """Each by another authority's certificate, which nobody looks at."""
    one_tls, two_tls = (
        PeerTls(*Authority(tmp_path).issue("elsewhere"), self_signed=True) for _ in range(2)
    )
    async with (
        running(1, tmp_path, listen=(), tls=one_tls) as (one, _),
        running(2, tmp_path, listen=HTTPS, tls=two_tls) as (two, _),
    ):
        one.set_peers({TWO: two.addresses})
        await until(lambda: connected(one, 2))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"min_version": "SSL3"}, "peer_tls_min_version"),
        ({"self_signed": True}, "peer_auto_tls"),
        ({"crl_file": Path("/none.pem")}, "peer_crl_file"),
    ],
)
def test_settings_that_cannot_be_are_named(
    authority: Authority, settings: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidArgument) as raised:
        authority.tls(**settings)
    assert raised.value.field == field


async def test_new_certificates_need_no_restart(tmp_path: Path, authority: Authority) -> None:
    """Two runs on; the members change to another authority's certificates."""
    other = Authority(tmp_path)
    files = [tmp_path / name for name in ("now.pem", "now.key", "now-ca.pem")]
    replace_files(files, *authority.issue(), authority.ca_file)
    tls = PeerTls(*files, client_cert_auth=True)
    async with running(2, tmp_path, listen=HTTPS, tls=tls) as (two, _):
        async with running(1, tmp_path, listen=(), tls=authority.tls()) as (one, _):
            one.set_peers({TWO: two.addresses})
            await until(lambda: connected(one, 2))
            replace_files(files, *other.issue(), other.ca_file)
            assert connected(one, 2)  # what is open stays open
        async with running(1, tmp_path, listen=(), tls=other.tls()) as (one, _):
            one.set_peers({TWO: two.addresses})
            await until(lambda: connected(one, 2))
        async with running(1, tmp_path, listen=(), tls=authority.tls()) as (one, _):
            await refused(one, two, text="certificate is not accepted")


async def test_files_that_cannot_be_read_leave_the_last_ones_in_use(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = authority.issue()
    tls = PeerTls(cert, key, authority.ca_file, client_cert_auth=True)
    cert.write_text("nonsense")
    async with (
        running(1, tmp_path, listen=(), tls=authority.tls()) as (one, _),
        running(2, tmp_path, listen=HTTPS, tls=tls) as (two, _),
    ):
        one.set_peers({TWO: two.addresses})
        await until(lambda: connected(one, 2))
    assert "peer_tls_reload_failed" in caplog.text


def replace_files(files: list[Path], *sources: Path) -> None:
    for file, source in zip(files, sources, strict=True):
        fresh = file.with_suffix(".new")
        fresh.write_bytes(source.read_bytes())
        fresh.replace(file)


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (lambda cert, _key, _ca: cert.unlink(), "cannot read"),
        (lambda cert, _key, _ca: cert.write_text("nonsense"), "cannot use"),
        (lambda _cert, key, ca: key.write_bytes(ca.issue()[1].read_bytes()), "does not belong"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    authority: Authority, break_it: Callable[[Path, Path, Authority], object], text: str
) -> None:
    cert, key = authority.issue()
    break_it(cert, key, authority)
    with pytest.raises(InvalidArgument, match=text):
        PeerTls(cert, key, authority.ca_file)


def test_names_are_compared_only_in_certificates_that_are_asked_for(authority: Authority) -> None:
    with pytest.raises(InvalidArgument, match="must be on"):
        authority.tls(client_cert_auth=False, allowed_cn="peer")


async def test_a_url_that_is_dialled_must_say_https(tmp_path: Path, authority: Authority) -> None:
    async with (
        running(0, tmp_path, listen=(), cluster=0, tls=authority.tls()) as (stranger, _),
        running(2, tmp_path, listen=HTTPS, tls=authority.tls()) as (two, _),
    ):
        assert await stranger.call(two.addresses[0], "members", b"", 30) == b"members:"
        plain = two.addresses[0].replace("https", "http")
        assert plain in str(await error_of(stranger.call(plain, "members", b"", 30)))
