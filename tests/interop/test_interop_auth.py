"""Users, roles and permissions go alike on etcd and on Tianlu: by etcdctl, gRPC and JSON.

On servers of their own: with authentication on, no other test could use them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from interop.interop_servers import Server
from registry.etcd_process import EtcdProcess
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu._proto.etcd import v3lock_pb2 as lock_pb
from tianlu._proto.etcd.auth_pb2 import Permission

SECONDS = 20.0
ANN, ROOT = "--user=ann:annpw", "--user=root:rootpw"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    etcd = EtcdProcess(tmp_path_factory.mktemp("auth-etcd"))
    tianlu = RegistryProcess(tmp_path_factory.mktemp("auth-tianlu"), "--log-level=warn")
    try:
        etcd.start()
        tianlu.start()
        yield (
            Server("etcd", etcd.endpoint.removeprefix("http://"), 1),
            Server("tianlu", tianlu.target, 1),
        )
    finally:
        etcd.kill()
        tianlu.kill()


BEFORE: list[list[str]] = [
    ["auth", "status"],
    ["auth", "enable"],
    ["user", "add", "root:rootpw"],
    ["auth", "enable"],
    ["user", "add", "ann:annpw"],
    ["user", "add", "bare", "--no-password"],
    ["role", "add", "reader"],
    ["role", "grant-permission", "reader", "read", "a/", "--prefix"],
    ["role", "grant-permission", "reader", "readwrite", "b/", "b0"],
    ["role", "grant-permission", "reader", "write", "c"],
    ["role", "grant-permission", "reader", "readwrite", "c"],
    ["role", "grant-permission", "reader", "read", "z", "--from-key"],
    ["role", "revoke-permission", "reader", "other"],
    ["role", "get", "reader"],
    ["role", "list"],
    ["user", "grant-role", "ann", "reader"],
    ["user", "grant-role", "ann", "reader"],
    ["user", "revoke-role", "ann", "nothing"],
    ["user", "grant-role", "root", "root"],
    ["user", "get", "ann"],
    ["user", "get", "ann", "--detail"],
    ["user", "list"],
    ["put", "a/1", "v"],
    ["put", "q", "v"],
    [ROOT, "get", "a/1"],
    ["auth", "enable"],
]
WHILE_ON: list[list[str]] = [
    [ROOT, "auth", "status"],
    ["get", "a/1"],
    ["--user=ann:wrong", "get", "a/1"],
    ["--user=nobody:x", "get", "a/1"],
    [ANN, "get", "zz", "--from-key"],
    [ANN, "get", "q"],
    [ANN, "get", "", "--prefix"],
    [ANN, "put", "c", "v", "--prev-kv"],
    [ANN, "del", "b/", "--prefix"],
    [ANN, "user", "list"],
    [ANN, "user", "get", "ann"],
    [ANN, "role", "get", "reader"],
    [ANN, "member", "remove", "1"],
    [ANN, "alarm", "disarm"],
    [ANN, "lock", "b/lock", "echo", "held"],
    [ANN, "lock", "q/lock", "echo", "held"],
    [ANN, "--write-out=json", "get", "a/1"],
    [ROOT, "auth", "enable"],
    [ROOT, "user", "delete", "root"],
    [ROOT, "role", "delete", "root"],
    [ROOT, "user", "revoke-role", "root", "root"],
    [ROOT, "role", "revoke-permission", "reader", "c"],
    [ROOT, "role", "revoke-permission", "reader", "c"],
    [ROOT, "role", "delete", "reader"],
    [ROOT, "user", "delete", "ann"],
    [ANN, "get", "a/1"],
]
AFTER: list[list[str]] = [
    [ROOT, "auth", "disable"],
    ["auth", "status"],
    ["get", "a/1"],
    [ROOT, "get", "a/1"],
    ["user", "revoke-role", "root", "root"],
    ["user", "delete", "root"],
]


class Caller:
    """Calls of one user at one server, by gRPC."""

    def __init__(self, server: Server, channel: grpc.Channel, token: str | None = None) -> None:
        self.server = server
        self._channel = channel
        self._metadata = () if token is None else (("token", token),)

    def __call__(self, method: str, *requests: Message) -> Any:
        """Return the answer, or its code and text."""
        service, _, name = method.partition("/")
        file = lock_pb if service == "Lock" else pb
        descriptor = file.DESCRIPTOR.services_by_name[service].methods_by_name[name]
        streams = descriptor.client_streaming
        shape = self._channel.stream_stream if streams else self._channel.unary_unary
        stub: Any = shape(
            f"/{descriptor.containing_service.full_name}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        given = iter(requests) if streams else requests[0]
        try:
            answer = stub(given, timeout=SECONDS, metadata=self._metadata)
            return self.server.comparable(next(answer) if streams else answer)
        except grpc.RpcError as error:
            return error.code().name, error.details()


def op(**fields: Any) -> pb.RequestOp:
    return pb.RequestOp(**fields)


PUT_B, PUT_Q = pb.PutRequest(key=b"b/g", value=b"v"), pb.PutRequest(key=b"q")
CALLS: list[tuple[str, Message]] = [
    ("KV/Range", pb.RangeRequest(key=b"a/1", serializable=True)),
    ("KV/Range", pb.RangeRequest(key=b"q", serializable=True)),
    ("KV/Range", pb.RangeRequest(key=b"b/", range_end=b"\0")),
    ("KV/Put", PUT_Q),
    ("KV/Put", pb.PutRequest(key=b"b/g", value=b"1", prev_kv=True)),
    ("KV/Txn", pb.TxnRequest(compare=[pb.Compare(key=b"q")])),
    ("KV/Txn", pb.TxnRequest(success=[op(request_put=PUT_B)], failure=[op(request_put=PUT_Q)])),
    ("KV/Txn", pb.TxnRequest(success=[op(request_put=PUT_B)])),
    ("KV/DeleteRange", pb.DeleteRangeRequest(key=b"a/", range_end=b"a0")),
    ("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=900)),
    ("KV/Put", pb.PutRequest(key=b"b/g", lease=900)),
    ("Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=12345)),
    ("Lock/Lock", lock_pb.LockRequest(name=b"q", lease=901)),
    ("Auth/RoleGet", pb.AuthRoleGetRequest(role="other")),
    ("Auth/RoleGet", pb.AuthRoleGetRequest(role="nothing")),
    ("Auth/RoleList", pb.AuthRoleListRequest()),
    ("Auth/UserGet", pb.AuthUserGetRequest(name="root")),
    ("Auth/UserGet", pb.AuthUserGetRequest(name="nobody")),
    ("Auth/UserAdd", pb.AuthUserAddRequest(name="eve", password="x")),
    ("Auth/AuthDisable", pb.AuthDisableRequest()),
    ("Auth/RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="reader")),
    ("Auth/UserChangePassword", pb.AuthUserChangePasswordRequest(name="ann", password="x")),
    ("Auth/Authenticate", pb.AuthenticateRequest(name="ann", password="annpw2")),
    ("Auth/Authenticate", pb.AuthenticateRequest()),
    ("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"])),
    ("Cluster/MemberPromote", pb.MemberPromoteRequest(ID=1)),
]


FOR_ROOT: list[tuple[str, Message]] = [
    ("Auth/UserAdd", pb.AuthUserAddRequest(name="ann", password="x")),
    ("Auth/UserAdd", pb.AuthUserAddRequest()),
    ("Auth/UserDelete", pb.AuthUserDeleteRequest(name="nobody")),
    ("Auth/UserGet", pb.AuthUserGetRequest(name="nobody")),
    ("Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="nothing")),
    ("Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user="nobody", role="other")),
    ("Auth/RoleAdd", pb.AuthRoleAddRequest(name="other")),
    ("Auth/RoleAdd", pb.AuthRoleAddRequest()),
    ("Auth/RoleDelete", pb.AuthRoleDeleteRequest(role="nothing")),
    ("Auth/RoleGet", pb.AuthRoleGetRequest(role="nothing")),
    ("Auth/RoleGet", pb.AuthRoleGetRequest(role="reader")),
    ("Auth/RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="reader")),
    ("Auth/UserList", pb.AuthUserListRequest()),
    ("KV/DeleteRange", pb.DeleteRangeRequest(key=b"a/", range_end=b"a0", prev_kv=True)),
]


def prepare(server: Server, channel: grpc.Channel) -> tuple[Caller, Caller, Caller]:
    """Make users and keys, and switch on; returns root, ann and somebody with a made-up token."""
    anybody = Caller(server, channel)
    for lease, key in ((900, b"q"), (901, b"b/l")):
        anybody("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=600, ID=lease))
        anybody("KV/Put", pb.PutRequest(key=key, value=b"v", lease=lease))
    anybody("Auth/UserAdd", pb.AuthUserAddRequest(name="root", password="rootpw"))
    anybody("Auth/UserAdd", pb.AuthUserAddRequest(name="ann", password="annpw"))
    anybody("Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root"))
    for role in ("reader", "other"):
        anybody("Auth/RoleAdd", pb.AuthRoleAddRequest(name=role))
    for kind, prefix in ((Permission.READ, b"a"), (Permission.READWRITE, b"b")):
        granted = Permission(permType=kind, key=prefix + b"/", range_end=prefix + b"0")
        request = pb.AuthRoleGrantPermissionRequest(name="reader", perm=granted)
        anybody("Auth/RoleGrantPermission", request)
    anybody("Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="reader"))
    anybody("Auth/AuthEnable", pb.AuthEnableRequest())
    tokens = [
        anybody("Auth/Authenticate", pb.AuthenticateRequest(name=user, password=f"{user}pw"))
        for user in ("root", "ann")
    ]
    known = [Caller(server, channel, answer["token"]) for answer in tokens]
    return known[0], known[1], Caller(server, channel, "made.1")


def create(**fields: Any) -> pb.WatchRequest:
    return pb.WatchRequest(create_request=pb.WatchCreateRequest(**fields))


def by_json(server: Server) -> list[Any]:
    """Log in and read over JSON."""
    url = f"http://{server.target}/v3"
    content = {"name": "ann", "password": "annpw"}
    token = httpx.post(f"{url}/auth/authenticate", json=content, timeout=SECONDS).json()["token"]
    answers: list[Any] = []
    for key in ("a/1", "q"):
        for headers in ({"Authorization": token}, {"Authorization": "made.1"}, {}):
            body = {"key": base64.b64encode(key.encode()).decode()}
            answer = httpx.post(f"{url}/kv/range", json=body, headers=headers, timeout=SECONDS)
            answers.append((answer.status_code, server.comparable(answer.json())))
    return answers


def test_same_answers_to_calls(pair: tuple[Server, Server]) -> None:
    """Runs first, and leaves authentication off and nobody known."""
    seen: dict[str, list[Any]] = {}
    for server in pair:
        with grpc.insecure_channel(server.target) as channel:
            root, ann, forged = prepare(server, channel)
            answers = [ann(method, request) for method, request in CALLS]
            answers += [root(method, request) for method, request in FOR_ROOT]
            answers += [forged("KV/Range", pb.RangeRequest(key=b"a/1")), forged("KV/Put", PUT_B)]
            allowed = ann("Watch/Watch", create(key=b"a/", range_end=b"a0"))
            denied = ann("Watch/Watch", create(key=b"q"))
            answers += [allowed, denied["canceled"], denied["created"], denied["cancel_reason"]]
            answers += by_json(server)
            root("Auth/AuthDisable", pb.AuthDisableRequest())
            anybody = Caller(server, channel)
            for user in ("ann", "root"):
                anybody("Auth/UserDelete", pb.AuthUserDeleteRequest(name=user))
            for role in ("reader", "other"):
                anybody("Auth/RoleDelete", pb.AuthRoleDeleteRequest(role=role))
            seen[server.name] = answers
    for number, (etcd, tianlu) in enumerate(zip(seen["etcd"], seen["tianlu"], strict=True)):
        assert tianlu == etcd, number


def test_same_etcdctl(pair: tuple[Server, Server]) -> None:
    def run(server: Server, command: list[str]) -> tuple[int, Any, str]:
        return server.etcdctl(*command).comparable(server)

    with ThreadPoolExecutor(2) as both:
        for command in [*BEFORE, *WHILE_ON, *AFTER]:
            etcd, tianlu = both.map(run, pair, (command, command))
            assert tianlu == etcd, command
