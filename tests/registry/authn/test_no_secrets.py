"""Secrets go in at every door, right and wrong; none comes out where it is not asked for.

At debug level: log, audit log, /metrics, run file, answers, the processes' arguments; and, of
passwords and tokens, the data directory.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu_registry.authn.options import make_tokens
from tianlu_registry.errors import InvalidArgument

START_SECONDS = 90
CALL_SECONDS = 60
ROOT, ANN, CHANGED = "pw-of-root-9f31", "pw-of-ann-77aa", "pw-of-ann-anew-0b"
WRONG, MADE_UP, VALUE = "pw-guessed-4d5e", "token-made-up-6c7f.12", "value-1a2b3c-secret"


class Visitor:
    """Talks to a node and keeps what it hears."""

    def __init__(self, process: RegistryProcess) -> None:
        self.process = process
        self.heard: list[str] = []
        self.tokens: list[str] = []

    def post(self, path: str, token: str = "", **content: Any) -> dict[str, Any]:
        return self.send(path, json.dumps(content), token)

    def send(self, path: str, body: str, token: str = "", header: str = "authorization") -> Any:
        url = f"{self.process.url}{path}"
        headers = {header: token} if token else {}
        answer = httpx.post(url, content=body, headers=headers, timeout=CALL_SECONDS)
        self.heard.append(answer.text)
        return answer.json()

    def log_in(self, user: str, password: str) -> str:
        token: str = self.post("/v3/auth/authenticate", name=user, password=password)["token"]
        self.heard.pop()
        self.tokens.append(token)
        return token

    def call(self, method: str, request: Any, token: str = "") -> None:
        """The same by gRPC; whatever comes of it."""
        with grpc.insecure_channel(self.process.target) as channel:
            call = channel.unary_unary(
                method, request_serializer=bytes, response_deserializer=bytes
            )
            metadata = (("token", token),) if token else ()
            try:
                call(request.SerializeToString(), metadata=metadata, timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                self.heard.append(str(error))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    directory = tmp_path_factory.mktemp("node")
    process = RegistryProcess(
        directory, "--log-level=debug", f"--audit-log={directory / 'audit.log'}"
    )
    try:
        process.start(START_SECONDS)
        visitor = Visitor(process)
        visit(visitor)
        yield visitor
    finally:
        process.kill()


def visit(visitor: Visitor) -> None:
    for user, password in (("root", ROOT), ("ann", ANN)):
        visitor.post("/v3/auth/user/add", name=user, password=password)
    visitor.post("/v3/auth/user/grant", user="root", role="root")
    visitor.post("/v3/auth/enable")
    token = visitor.log_in("root", ROOT)
    visitor.post("/v3/auth/authenticate", name="root", password=WRONG)
    visitor.post("/v3/auth/authenticate", name="nobody", password=WRONG)
    visitor.post("/v3/auth/user/add", token, name="root", password=WRONG)
    visitor.post("/v3/auth/user/changepw", token, name="ann", password=CHANGED)
    visitor.post("/v3/kv/put", token, key=b64("k"), value=b64(VALUE))
    visitor.send("/v3/kv/put", json.dumps({"key": b64("k"), "value": VALUE}), token)
    for header in ("authorization", "token"):
        visitor.send("/v3/kv/range", json.dumps({"key": b64("k")}), MADE_UP, header)
        visitor.send("/v1/namespaces", "{}", f"Bearer {MADE_UP}", header)
    put = {"request_put": {"key": b64("k"), "value": b64(VALUE)}}
    visitor.post("/v3/kv/txn", token, success=[put, put])
    for body in (
        f'{{"name": "ann", "password": ["{WRONG}"]}}',
        f'{{"name": "ann", "pasword": "{WRONG}"}}',
        f'{{"name": "ann", "password": "{WRONG}',
        f'{{"name": ["{WRONG}"]}}',
        f'"{WRONG}"',
    ):
        visitor.send("/v3/auth/authenticate", body)
        visitor.send("/v3/auth/user/add", body, token)
    visitor.send(f"/v3/nothing?token={MADE_UP}", "{}")
    service = {"metadata": {"password": VALUE}, "load_balancer": VALUE}
    visitor.send("/v1/namespaces/default/services/shop", json.dumps(service), token)
    by_grpc(visitor, visitor.log_in("ann", CHANGED))


def by_grpc(visitor: Visitor, token: str) -> None:
    login = etcd.AuthenticateRequest(name="ann", password=WRONG)
    visitor.call("/etcdserverpb.Auth/Authenticate", login)
    visitor.call("/etcdserverpb.Auth/UserAdd", login, token)
    put = etcd.PutRequest(key=b"k", value=VALUE.encode())
    visitor.call("/etcdserverpb.KV/Put", put, token)
    visitor.call("/etcdserverpb.KV/Put", put, MADE_UP)
    visitor.call("/etcdserverpb.KV/Txn", put, token)  # another message than is meant
    visitor.call("/etcdserverpb.KV/Nothing", put, MADE_UP)


def secrets_of(visitor: Visitor) -> list[str]:
    words = [ROOT, ANN, CHANGED, WRONG, MADE_UP, VALUE, *visitor.tokens]
    return [*words, *(b64(word)[:-4] for word in words)]


def found_in(text: str, visitor: Visitor) -> list[str]:
    return [word for word in secrets_of(visitor) if word in text]


def test_the_secrets_were_really_there(visited: Visitor) -> None:
    lines = (visited.process.directory / "audit.log").read_text()
    assert '"actor":"root"' in lines
    assert '"user":"nobody"' in lines
    assert '"outcome":"refused"' in lines
    assert "login_refused" in visited.process.log
    assert len(visited.tokens) == 2
    assert any("invalid auth token" in each for each in visited.heard)


@pytest.mark.parametrize("name", ["registry.log", "audit.log", "run.json"])
def test_no_file_of_the_node_has_one(visited: Visitor, name: str) -> None:
    text = (visited.process.directory / name).read_text()
    assert text
    assert found_in(text, visited) == []


def test_no_answer_repeats_one(visited: Visitor) -> None:
    assert len(visited.heard) > 20
    assert found_in("\n".join(visited.heard), visited) == []


def test_no_page_shows_one(visited: Visitor) -> None:
    for path in ("/metrics", "/health", "/readyz?verbose", "/version"):
        page = httpx.get(f"{visited.process.url}{path}", timeout=CALL_SECONDS)
        assert found_in(page.text, visited) == []


def test_no_argument_of_a_process_is_one(visited: Visitor) -> None:
    words = [*secrets_of(visited)]
    pids = [visited.process.pid, *children(visited.process.pid)]
    assert len(pids) > 1
    for pid in pids:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        assert not [word for word in words if word in arguments]
        # What launcher and child know each other by is in no argument, which anybody may read.
        own = [
            line.partition("=")[2]
            for line in environment.split("\0")
            if line.startswith(("TIANLU_LAUNCHER_TOKEN=", "TIANLU_TLS_RELAY_SECRET="))
        ]
        assert not [word for word in own if word and word in arguments]
        assert not [word for word in own if word and word in visited.process.log]


def test_no_password_and_no_token_is_on_the_disk(visited: Visitor) -> None:
    words = [ROOT, ANN, CHANGED, WRONG, MADE_UP, *visited.tokens]
    files = [each for each in (visited.process.directory / "data").rglob("*") if each.is_file()]
    content = b"".join(each.read_bytes() for each in files)
    assert VALUE.encode() in content
    assert [word for word in words if word.encode() in content] == []


def test_what_is_wrong_with_a_key_does_not_show_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"-----BEGIN PRIVATE KEY-----\n{b64(VALUE)}\n-----END PRIVATE KEY-----\n")
    for method in ("RS256", "ES256", "EdDSA", "HS256"):
        text = f"jwt,sign-method={method},priv-key={file},pub-key={file}"
        if method == "HS256":
            file.write_text(VALUE)  # too short
        with pytest.raises(InvalidArgument) as raised:
            make_tokens(text)
        assert not [word for word in (VALUE, b64(VALUE)[:8]) if word in str(raised.value)]


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]
