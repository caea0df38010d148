"""Clients over TLS: real Envoy, certificates of an authority that the test makes."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd.rpc_pb2 import PutRequest, PutResponse
from tianlu_registry.server.cipher_suites import SUITES, openssl_suites
from tianlu_registry.server.client_tls import ClientTls, SecretFiles
from tianlu_registry.server.errors import CannotStart
from tianlu_registry.server.relay import CLIENT_HEADER, SECRET_HEADER, TlsRelay

PATIENCE_SECONDS = 30.0


class Authority:
    """A CA, with files of what it signs."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.directory = directory
        self.file = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *hosts: str, common_name: str = "") -> tuple[Path, Path]:
        """Return the paths of a new certificate and its key."""
        issued = self.ca.issue_cert(*hosts, common_name=common_name or None)
        cert, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        issued.private_key_pem.write_to_path(str(key))
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return cert, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def node(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryProcess]:
    """A node at plaintext and TLS ports and sockets, which asks for clients' certificates."""
    cert, key = authority.issue("server", "localhost", "127.0.0.1")
    directory = tmp_path_factory.mktemp("node")
    ports, sockets = "http://127.0.0.1:0,https://127.0.0.1:0", f"unix:{directory}/plain.sock"
    process = RegistryProcess(
        directory,
        f"--listen-client-urls={ports},{sockets},unixs:{directory}/tls.sock",
        f"--cert-file={cert}",
        f"--key-file={key}",
        f"--trusted-ca-file={authority.file}",
        "--client-cert-auth",
        "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,"
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    )
    try:
        process.start()
        yield process
    finally:
        process.kill()


def tls_url(node: RegistryProcess) -> str:
    return next(url for url in node.urls if url.startswith("https://"))


def context(authority: Authority, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(authority.file))
    if certificate is not None:
        made.load_cert_chain(*certificate)
    return made


def test_http_and_grpc_are_served_over_tls(node: RegistryProcess, authority: Authority) -> None:
    cert, key = authority.issue("client", common_name="ada")
    verify = context(authority, (cert, key))
    assert httpx.get(f"{tls_url(node)}/health", verify=verify).json()["health"] == "true"
    credentials = grpc.ssl_channel_credentials(
        authority.file.read_bytes(), key.read_bytes(), cert.read_bytes()
    )
    target = tls_url(node).removeprefix("https://")
    with grpc.secure_channel(target, credentials) as channel:
        put = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=PutRequest.SerializeToString,
            response_deserializer=PutResponse.FromString,
        )
        assert put(PutRequest(key=b"k", value=b"v"), timeout=10).header.revision > 1


def test_every_kind_of_address_is_served_at_once(
    node: RegistryProcess, authority: Authority
) -> None:
    verify = context(authority, authority.issue("everywhere", common_name="ada"))
    seen = []
    for url in node.urls:
        scheme, _, rest = url.partition(":")
        socket = rest if scheme.startswith("unix") else None
        base = {"unix": "http://localhost", "unixs": "https://localhost"}.get(scheme, url)
        transport = httpx.HTTPTransport(verify=verify, uds=socket, http2=True)
        with httpx.Client(transport=transport, base_url=base) as client:
            seen.append((scheme, client.get("/health").json()["health"]))
            members = client.post("/v3/cluster/member/list", json={}).json()["members"]
            assert members[0]["clientURLs"] == node.urls
    assert seen == [(scheme, "true") for scheme in ("http", "https", "unix", "unixs")]


def test_etcdctl_works_over_tls(node: RegistryProcess, authority: Authority) -> None:
    cert, key = authority.issue("etcdctl", common_name="etcdctl")
    etcdctl = Path(sys.executable).parent / "etcdctl"
    done = subprocess.run(
        [
            *(str(etcdctl), f"--endpoints={tls_url(node)}", f"--cacert={authority.file}"),
            *(f"--cert={cert}", f"--key={key}", "put", "a", "b"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("OK\n", "")


def test_who_shows_no_certificate_is_refused(node: RegistryProcess, authority: Authority) -> None:
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
        httpx.get(f"{tls_url(node)}/health", verify=context(authority, None))


def test_a_certificate_of_another_authority_is_refused(
    node: RegistryProcess, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path).issue("stranger", common_name="ada")
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
        httpx.get(f"{tls_url(node)}/health", verify=context(authority, stranger))


def test_plaintext_is_not_served_on_the_tls_port(node: RegistryProcess) -> None:
    url = tls_url(node).replace("https://", "http://")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        httpx.get(f"{url}/health")


def test_certificates_are_replaced_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority(tmp_path), Authority(_made(tmp_path / "new"))
    cert, key = old.issue("server", "127.0.0.1")
    process = RegistryProcess(
        _made(tmp_path / "node"),
        "--listen-client-urls=https://127.0.0.1:0",
        f"--cert-file={cert}",
        f"--key-file={key}",
    )
    try:
        process.start()
        url = f"{process.url}/health"
        assert httpx.get(url, verify=context(old, None)).status_code == httpx.codes.OK
        # Notes beside the PEM blocks are nobody's business.
        cert.write_bytes("f\u00fcr uns\n".encode("latin-1") + cert.read_bytes())
        _until(lambda: process.log.count("client_tls.files_reloaded") == 1)
        assert httpx.get(url, verify=context(old, None)).status_code == httpx.codes.OK
        key.write_text("half a key")
        _until(lambda: "client_tls.files_kept" in process.log)
        assert httpx.get(url, verify=context(old, None)).status_code == httpx.codes.OK
        for source, target in zip(new.issue("server", "127.0.0.1"), (cert, key), strict=True):
            shutil.copy(source, target)
        _until(lambda: _answers(url, context(new, None)))
        assert not _answers(url, context(old, None))
    finally:
        process.kill()


def test_a_new_certificate_that_cannot_be_passed_on_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority, directory = Authority(tmp_path), _made(tmp_path / "secrets")
    cert, key = authority.issue("server", "127.0.0.1")
    files = SecretFiles(ClientTls(cert_file=str(cert), key_file=str(key)), directory)
    before = files.certificate.read_bytes()
    authority.issue("server", "127.0.0.1")
    hindrance = _made(files.certificate.with_suffix(".tmp"))
    files.refresh()
    assert "client_tls.files_kept" in caplog.text
    assert files.certificate.read_bytes() == before
    hindrance.rmdir()
    files.refresh()
    assert files.certificate.read_bytes() != before


def test_an_encrypted_key_is_refused_and_nobody_asked(tmp_path: Path) -> None:
    cert, key = Authority(tmp_path).issue("server", "127.0.0.1")
    private = load_pem_private_key(key.read_bytes(), None)
    encryption = BestAvailableEncryption(b"secret")
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    tls = ClientTls(cert_file=str(cert), key_file=str(key))
    assert tls.problem() == f"--key-file: {key}: is encrypted; give a key without a password"


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _answers(url: str, verify: ssl.SSLContext) -> bool:
    try:
        return httpx.get(url, verify=verify).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({}, "--cert-file"),
        ({"cert_file": "c"}, "--key-file"),
        ({"cert_file": "c", "key_file": "k", "client_cert_auth": True}, "--trusted-ca-file"),
        ({"cert_file": "c", "key_file": "k", "crl_file": "r"}, "--trusted-ca-file"),
        ({"cert_file": "c", "key_file": "k", "min_version": "SSL3"}, "--tls-min-version"),
        (
            {
                "cert_file": "c",
                "key_file": "k",
                "min_version": "TLS1.3",
                "max_version": "TLS1.2",
            },
            "--tls-max-version",
        ),
        ({"cert_file": "/none.pem", "key_file": "/none.key"}, "--cert-file"),
    ],
)
def test_what_cannot_be_is_named(settings: dict[str, object], flag: str) -> None:
    with pytest.raises(CannotStart, match=flag):
        ClientTls(**settings).check()  # type: ignore[arg-type]


def scope(**headers: str) -> dict[str, object]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"headers": named, "client": ("relay", 0), "scheme": "http"}


def test_only_the_listener_says_who_a_client_is() -> None:
    relay = TlsRelay("secret")
    forged = scope(
        x_forwarded_client_cert='Subject="CN=root"', x_tianlu_tls_client="1.2.3.4", a="b"
    )
    relay.read(forged)
    assert forged["headers"] == [(b"a", b"b")]
    assert forged["client"] == ("relay", 0)
    wrong = scope(**{SECRET_HEADER: "guess", "x_forwarded_client_cert": 'Subject="CN=root"'})
    relay.read(wrong)
    assert wrong["headers"] == []


def test_what_the_listener_says_is_believed() -> None:
    told = scope(
        **{
            SECRET_HEADER: "secret",
            "x_forwarded_client_cert": 'Hash=1;Subject="CN=ada"',
            CLIENT_HEADER: "10.0.0.7",
            "x_forwarded_for": "9.9.9.9",
        }
    )
    TlsRelay("secret").read(told)
    assert told["headers"] == [
        (b"x-forwarded-for", b"9.9.9.9"),
        (b"x-forwarded-client-cert", b'Hash=1;Subject="CN=ada"'),
    ]
    assert told["client"] == ("10.0.0.7", 0)
    assert told["scheme"] == "https"


def test_a_client_of_a_unix_socket_has_no_address() -> None:
    told = scope(**{SECRET_HEADER: "secret", CLIENT_HEADER: "/run/registry.sock"})
    TlsRelay("secret").read(told)
    assert told["client"] == ("relay", 0)
    assert told["scheme"] == "https"


@pytest.mark.parametrize(
    ("text", "suites"),
    [
        ("", ()),
        (
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ECDHE-ECDSA-AES256-GCM-SHA384",
            ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ),
        (
            "TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
            ("ECDHE-RSA-CHACHA20-POLY1305",),
        ),
    ],
)
def test_suites_are_known_by_both_names(text: str, suites: tuple[str, ...]) -> None:
    assert openssl_suites(text) == suites


@pytest.mark.parametrize("text", ["TLS_RSA_WITH_RC4_128_SHA", "TLS_AES_128_GCM_SHA256", "none"])
def test_suites_that_cannot_be_chosen_are_refused(text: str) -> None:
    with pytest.raises(CannotStart, match="--cipher-suites"):
        openssl_suites(text)


def test_openssl_knows_every_suite() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in SUITES.values():
        context.set_ciphers(f"{name}:@SECLEVEL=0")
        assert name in {cipher["name"] for cipher in context.get_ciphers()}


def test_clients_get_the_suite_that_was_chosen(node: RegistryProcess, authority: Authority) -> None:
    """And no other: Envoy, which takes any word for a suite, knows this one."""
    host, port = tls_url(node).removeprefix("https://").split(":")
    for name, is_served in (("ECDHE-ECDSA-AES256-GCM-SHA384", True), ("AES256-SHA", False)):
        wanted = context(authority, authority.issue("choosy", common_name="ada"))
        wanted.maximum_version = ssl.TLSVersion.TLSv1_2
        wanted.set_ciphers(f"{name}:@SECLEVEL=0")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as plain:
            try:
                with wanted.wrap_socket(plain, server_hostname="localhost") as secured:
                    assert is_served
                    assert secured.cipher()[0] == name  # type: ignore[index]
            except ssl.SSLError:
                assert not is_served
