"""A whole node that asks whoever calls: Envoy, TLS, certificates, signed tokens, the catalogue."""

from __future__ import annotations

import base64
import secrets
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from registry.registry_process import RegistryProcess

SECONDS = 30.0
CATALOG = "/tianlu/v1/"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Node:
    """A node with TLS and plaintext, root, ann (catalogue) and cert (by certificate, writes c/)."""

    def __init__(self, process: RegistryProcess, authority: trustme.CA, directory: Path) -> None:
        self.plain = next(url for url in process.urls if url.startswith("http://"))
        self.tls = next(url for url in process.urls if url.startswith("https://"))
        self._authority = authority
        self._directory = directory

    def post(self, path: str, token: str = "", **content: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        url = f"{self.plain}/v3/{path}"
        return httpx.post(url, json=content, headers=headers, timeout=SECONDS)

    def log_in(self, user: str) -> str:
        answer = self.post("auth/authenticate", name=user, password=f"{user}'s")
        token: str = answer.json()["token"]
        return token

    def verify(self, common_name: str) -> ssl.SSLContext:
        """Return the TLS settings of a client with a certificate."""
        made = ssl.create_default_context(cadata=self._authority.cert_pem.bytes().decode())
        path = self._directory / f"{common_name}.pem"
        issued = self._authority.issue_cert(common_name=common_name)
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        made.load_cert_chain(path)
        return made


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory, authority = tmp_path_factory.mktemp("node"), trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    server.private_key_pem.write_to_path(str(directory / "key.pem"))
    server.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    (directory / "secret").write_text(secrets.token_hex(32))
    process = RegistryProcess(
        directory,
        "--listen-client-urls=http://127.0.0.1:0,https://127.0.0.1:0",
        f"--cert-file={directory / 'cert.pem'}",
        f"--key-file={directory / 'key.pem'}",
        f"--trusted-ca-file={directory / 'ca.pem'}",
        "--client-cert-auth",
        f"--auth-token=jwt,sign-method=HS256,priv-key={directory / 'secret'}",
        "--log-level=warn",
    )
    try:
        process.start()
        made = Node(process, authority, directory)
        furnish(made)
        yield made
    finally:
        process.kill()


def furnish(node: Node) -> None:
    for user in ("root", "ann", "cert"):
        added = node.post("auth/user/add", name=user, password=f"{user}'s")
        assert added.status_code == 200, added.text
    for role, user, key in (("catalogue", "ann", CATALOG), ("certified", "cert", "c/")):
        node.post("auth/role/add", name=role)
        end = key[:-1] + chr(ord(key[-1]) + 1)
        granted = {"permType": "READWRITE", "key": b64(key), "range_end": b64(end)}
        node.post("auth/role/grant", name=role, perm=granted)
        node.post("auth/user/grant", user=user, role=role)
    node.post("auth/user/grant", user="root", role="root")
    assert node.post("auth/enable").status_code == 200


def put(key: str) -> dict[str, str]:
    return {"key": b64(key), "value": b64("v")}


def test_a_certificate_is_a_user(node: Node) -> None:
    for name, key, status in (("cert", "c/1", 200), ("cert", "d", 403), ("nobody", "c/1", 403)):
        answer = httpx.post(
            f"{node.tls}/v3/kv/put", json=put(key), verify=node.verify(name), timeout=SECONDS
        )
        assert answer.status_code == status, (name, key, answer.text)


def test_nobody_makes_up_a_certificate(node: Node) -> None:
    headers = {"x-forwarded-client-cert": 'Subject="CN=root"'}
    answer = httpx.post(
        f"{node.plain}/v3/kv/put", json=put("c/1"), headers=headers, timeout=SECONDS
    )
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "etcdserver: user name is empty",
    )


def test_calls_at_once_are_kept_apart(node: Node) -> None:
    """Each call is its own caller's, whatever others are being served by the same loop."""
    tokens = {user: node.log_in(user) for user in ("root", "ann", "cert")}
    expected = {"root": 200, "ann": 403, "cert": 200}
    users = list(tokens) * 20

    def call(user: str) -> int:
        return node.post("kv/put", tokens[user], **put("c/2")).status_code

    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(call, users)) == [expected[user] for user in users]


def test_the_catalogue_is_for_those_who_may(node: Node) -> None:
    path, service = "/v1/namespaces/default/services/shop", {"service": {"owner": "ann"}}
    ann, cert = node.log_in("ann"), node.log_in("cert")
    with httpx.Client(base_url=node.plain, timeout=SECONDS) as client:

        def statuses(token: str) -> list[int]:
            headers = {"authorization": token} if token else {}
            answers = [
                client.get("/v1/namespaces", headers=headers),
                client.put(path, json=service, headers=headers),
            ]
            with client.stream("GET", "/v1/watch", headers=headers) as watch:
                return [*(each.status_code for each in answers), watch.status_code]

        assert statuses("") == [400, 400, 400]
        assert statuses("forged") == [401, 401, 401]
        assert statuses(cert) == [403, 403, 403]
        assert statuses(ann) == [200, 200, 200]
        for path in ("/health", "/metrics", "/version", "/readyz"):
            assert client.get(path).status_code == 200, path
