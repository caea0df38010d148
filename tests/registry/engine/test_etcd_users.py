"""On an etcd that has users: who asks this node is asked for by etcd, and so is the node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from registry.engine.calls import Sink, until
from registry.etcd_process import EtcdProcess

from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu._proto.etcd.auth_pb2 import Permission
from tianlu_registry.auth.permissions import Access
from tianlu_registry.authn.guarded_methods import CATALOG_KEYS, may_change_catalog, may_read_catalog
from tianlu_registry.authn.underlying_guard import UnderlyingGuard
from tianlu_registry.engine import etcd_callers
from tianlu_registry.engine.etcd_config import EtcdConfig
from tianlu_registry.engine.etcd_engine import EtcdEngine, running_on_etcd
from tianlu_registry.errors import (
    AuthFailed,
    InvalidArgument,
    InvalidAuthToken,
    PermissionDenied,
    RegistryError,
    UserEmpty,
    UserNotFound,
)
from tianlu_registry.mvcc.types import WatchSpec

NODE_PASSWORD = "n"
MINE, OTHERS = b"mine/", b"others/"


@dataclass
class Node:
    """A node on that etcd, and who asks it just now."""

    engine: EtcdEngine
    token: str | None = None
    tokens: dict[str, str] = field(default_factory=dict)

    async def log_in(self, name: str, password: str) -> None:
        request = pb.AuthenticateRequest(name=name, password=password)
        self.token = (await self.engine.auth.ask("Authenticate", request)).token

    async def ask(self, name: str, request: Any) -> Any:
        return await self.engine.auth.ask(name, request)

    async def get(self, key: bytes) -> pb.RangeResponse:
        return await self.engine.callers.range(pb.RangeRequest(key=key))

    async def put(self, key: bytes, value: bytes = b"") -> pb.PutResponse:
        return await self.engine.callers.put(pb.PutRequest(key=key, value=value))


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path)
    process.start()
    yield process
    process.kill()


@pytest.fixture
async def node(etcd: EtcdProcess, tmp_path: Path) -> AsyncIterator[Node]:
    """One whose own user may everything, on an etcd where alice may MINE."""
    password_file = tmp_path / "password"
    password_file.write_text(NODE_PASSWORD + "\n")
    config = EtcdConfig((etcd.endpoint,), user="root", password_file=str(password_file))
    asking: list[Node] = []
    async with running_on_etcd(config, lambda: asking[0].token) as engine:
        asking.append(Node(engine))
        yield asking[0]


async def enable_users(node: Node) -> None:
    for name, password in (("root", NODE_PASSWORD), ("alice", "a")):
        await node.ask("UserAdd", pb.AuthUserAddRequest(name=name, password=password))
    await node.ask("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root"))
    await node.ask("RoleAdd", pb.AuthRoleAddRequest(name="mine"))
    permission = Permission(permType=Permission.READWRITE, key=MINE, range_end=b"mine0")
    await node.ask(
        "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="mine", perm=permission)
    )
    await node.ask("UserGrantRole", pb.AuthUserGrantRoleRequest(user="alice", role="mine"))
    await node.ask("AuthEnable", pb.AuthEnableRequest())


async def test_etcds_permissions_count(node: Node) -> None:
    await node.put(OTHERS, b"before")
    await enable_users(node)
    # Nobody; somebody with a wrong password, or a token of his own making.
    with pytest.raises(UserEmpty):
        await node.get(MINE)
    with pytest.raises(AuthFailed):
        await node.log_in("alice", "wrong")
    node.token = "made up"
    with pytest.raises(InvalidAuthToken):
        await node.get(MINE)
    # Alice.
    await node.log_in("alice", "a")
    await node.put(MINE, b"1")
    assert (await node.get(MINE)).kvs[0].value == b"1"
    for asked in (node.get(OTHERS), node.put(OTHERS), node.get(b"/tianlu/v1/x")):
        with pytest.raises(PermissionDenied):
            await asked
    with pytest.raises(PermissionDenied):
        await node.ask("UserAdd", pb.AuthUserAddRequest(name="x", password="x"))
    with pytest.raises(RegistryError, match="permission denied"):
        await node.engine.cluster.hash()
    pieces = node.engine.callers.range_stream(pb.RangeRequest(key=OTHERS))
    with pytest.raises(PermissionDenied):
        await anext(pieces)
    # Root, by way of the node, and the node itself.
    await node.log_in("root", NODE_PASSWORD)
    assert (await node.ask("UserList", pb.AuthUserListRequest())).users == ["alice", "root"]
    with pytest.raises(UserNotFound):
        await node.ask("UserGet", pb.AuthUserGetRequest(name="bob"))
    node.token = None
    assert (await node.engine.own.range(pb.RangeRequest(key=OTHERS))).kvs[0].value == b"before"


async def test_watches_and_renewals_are_those_of_who_asks(node: Node) -> None:
    await enable_users(node)
    await node.log_in("alice", "a")
    mine, others, nobodys = Sink(), Sink(), Sink()
    watch = node.engine.callers.watch
    watcher = watch(WatchSpec(MINE, b"mine0"), mine)
    watch(WatchSpec(OTHERS), others)
    alice, node.token = node.token, None
    watch(WatchSpec(MINE), nobodys)
    await until(lambda: others.error is not None and nobodys.error is not None)
    assert isinstance(others.error, PermissionDenied)
    assert nobodys.error is not None
    node.token = alice
    await node.put(MINE, b"1")
    assert [event.kv.value for event in await mine.take(1)] == [b"1"]
    granted = await node.engine.callers.lease_grant(pb.LeaseGrantRequest(TTL=60))
    assert (await node.engine.callers.lease_keep_alive(granted.ID)).TTL == 60
    watcher.cancel()


async def test_the_node_logs_in_again_when_its_token_is_gone(node: Node, etcd: EtcdProcess) -> None:
    """etcd's simple tokens do not outlive it."""
    await enable_users(node)
    own = node.engine.own
    await own.put(pb.PutRequest(key=OTHERS, value=b"1"))
    sink = Sink()
    own.watch(WatchSpec(OTHERS), sink)
    etcd.kill()
    etcd.start()
    await own.put(pb.PutRequest(key=OTHERS, value=b"2"))
    await until(lambda: b"2" in sink.values)
    # Nor does a client's: it is told so, and logs in itself.
    node.token = "gone"
    with pytest.raises(InvalidAuthToken):
        await node.get(MINE)
    await node.log_in("alice", "a")
    await node.get(MINE)


async def test_what_the_node_does_for_callers_is_asked_for_as_them(node: Node) -> None:
    guard = UnderlyingGuard(node.engine.callers, node.engine.is_somebody)

    async def ask(key: bytes, access: Access) -> None:
        await guard.ask(lambda checker, claim: checker.keys(claim, key, b"", access))

    await ask(OTHERS, Access.WRITE)  # nobody has users yet
    await node.put(MINE, b"kept")
    await enable_users(node)
    await node.log_in("alice", "a")
    for access in (Access.READ, Access.WRITE):
        await ask(MINE, access)
        with pytest.raises(PermissionDenied):
            await ask(OTHERS, access)
    assert (await node.get(MINE)).kvs[0].value == b"kept"
    with pytest.raises(PermissionDenied):
        await guard.ask(lambda checker, claim: checker.administrator(claim))
    node.token = None
    with pytest.raises(UserEmpty):
        await ask(MINE, Access.READ)


async def test_who_may_only_write_is_not_asked_to_read(node: Node) -> None:
    guard = UnderlyingGuard(node.engine.callers, node.engine.is_somebody)
    permission = Permission(
        permType=Permission.WRITE, key=CATALOG_KEYS[0], range_end=CATALOG_KEYS[1]
    )
    await node.ask("RoleAdd", pb.AuthRoleAddRequest(name="writer"))
    await node.ask(
        "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="writer", perm=permission)
    )
    await enable_users(node)
    await node.log_in("root", NODE_PASSWORD)
    await node.ask("UserGrantRole", pb.AuthUserGrantRoleRequest(user="alice", role="writer"))
    key = CATALOG_KEYS[0] + b"kept"
    await node.put(key)
    revision = node.engine.own.header().revision
    await node.log_in("alice", "a")
    await guard.ask(may_change_catalog)
    with pytest.raises(PermissionDenied):
        await guard.ask(may_read_catalog)
    found = await node.engine.own.range(pb.RangeRequest(key=key))
    assert (found.count, found.header.revision) == (1, revision)


async def test_a_node_known_by_its_certificate_lends_it_to_nobody(tmp_path: Path) -> None:
    """What nobody may have of etcd, nobody may have by way of the catalogue."""
    authority, etcd = trustme.CA(), EtcdProcess(tmp_path)
    server, shown = (
        authority.issue_cert("127.0.0.1"),
        authority.issue_cert("node", common_name="root"),
    )
    files = {"ca": authority.cert_pem, "cert": server.cert_chain_pems[0]}
    files |= {"key": server.private_key_pem, "own-cert": shown.cert_chain_pems[0]}
    files |= {"own-key": shown.private_key_pem}
    paths = {name: str(tmp_path / f"{name}.pem") for name in files}
    for name, blob in files.items():
        blob.write_to_path(paths[name])
    endpoint = f"https://127.0.0.1:{etcd.client_port}"
    etcd.arguments = (
        *(f"--listen-client-urls={endpoint}", f"--advertise-client-urls={endpoint}"),
        *(f"--cert-file={paths['cert']}", f"--key-file={paths['key']}"),
        *(f"--trusted-ca-file={paths['ca']}", "--client-cert-auth"),
    )
    config = EtcdConfig(
        (endpoint,), cacert=paths["ca"], cert=paths["own-cert"], key=paths["own-key"]
    )
    etcd.start()
    try:
        async with running_on_etcd(config, lambda: None) as engine:
            guard = UnderlyingGuard(engine.callers, engine.is_somebody)
            await guard.ask(may_change_catalog)  # etcd has no users yet
            await enable_users(Node(engine))
            await until(lambda: guard.enabled)
            for rule in (may_read_catalog, may_change_catalog):
                with pytest.raises(UserEmpty):
                    await guard.ask(rule)
            await engine.own.put(pb.PutRequest(key=OTHERS))
    finally:
        etcd.kill()


async def test_a_wrong_user_of_the_node_is_found_at_its_start(
    node: Node, etcd: EtcdProcess, tmp_path: Path
) -> None:
    await enable_users(node)
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    config = EtcdConfig((etcd.endpoint,), user="root", password_file=str(wrong))
    with pytest.raises(AuthFailed):
        async with running_on_etcd(config, lambda: None):
            pass


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"cert": "x"}, "etcd_key"),
        ({"key": "x"}, "etcd_cert"),
        ({"user": "x"}, "etcd_password_file"),
        ({"password_file": "x"}, "etcd_user"),
    ],
)
def test_what_goes_together(fields: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{named}: is missing"):
        EtcdConfig(("http://127.0.0.1:1",), **fields)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    make = partial(EtcdConfig, ("https://127.0.0.1:1",))
    with pytest.raises(InvalidArgument, match=r"^etcd_cacert: .*No such file"):
        make(cacert=missing).credentials()
    with pytest.raises(InvalidArgument, match=r"^etcd_password_file"):
        make(user="a", password_file=missing).password()
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(InvalidArgument, match="UTF-8"):
        make(user="a", password_file=str(tmp_path / "binary")).password()


async def test_tokens_with_which_nobody_watches_cost_no_stream(node: Node) -> None:
    callers = node.engine.callers
    for number in range(3):
        node.token = f"token {number}"
        sink = Sink()
        watcher = callers.watch(WatchSpec(MINE), sink)
        watcher.cancel()
    assert len(callers._streams) == 1
    await asyncio.sleep(0)


@pytest.mark.parametrize("turns", [1, 5])  # its stream has begun to run, or not
async def test_a_renewal_whose_stream_gives_way_to_another_tokens_leaves_none_open(
    node: Node, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    monkeypatch.setattr(etcd_callers, "KEEP_ALIVES_MAX", 1)
    callers = node.engine.callers
    lease_id = (await callers.lease_grant(pb.LeaseGrantRequest(TTL=60))).ID
    renewals = []
    for node.token in ("first", "second"):
        renewals.append(asyncio.create_task(callers.lease_keep_alive(lease_id)))
        for _ in range(turns):
            await asyncio.sleep(0)
    assert [answer.TTL for answer in await asyncio.gather(*renewals)] == [60, 60]

    def streams() -> int:
        return sum(task.get_name() == "etcd-keep-alive" for task in asyncio.all_tasks())

    await until(lambda: streams() == 1)
