"""etcd's JSON gateway: the v3 methods as POST requests with JSON bodies.

Source: etcd api/etcdserverpb/rpc.proto (the http options) and Documentation "gRPC gateway".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tianlu._proto.etcd.rpc_pb2 import DESCRIPTOR as ETCD
from tianlu._proto.etcd.v3election_pb2 import DESCRIPTOR as ELECTION
from tianlu._proto.etcd.v3lock_pb2 import DESCRIPTOR as LOCK
from tianlu_registry.api.grpc_asgi import GrpcApp, RpcContext, RpcError, StatusCode
from tianlu_registry.api.grpc_asgi.asgi import Receive
from tianlu_registry.api.grpc_asgi.dispatch import Method
from tianlu_registry.api.grpc_asgi.encoded import EncodedMessage
from tianlu_registry.api.http import ClientGone, HttpRequest, HttpResponse, HttpRouter
from tianlu_registry.api.json_decode import decode_json

PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "/v3/kv/range": "KV/Range",
        "/v3/kv/put": "KV/Put",
        "/v3/kv/deleterange": "KV/DeleteRange",
        "/v3/kv/txn": "KV/Txn",
        "/v3/kv/compaction": "KV/Compact",
        "/v3/lease/grant": "Lease/LeaseGrant",
        "/v3/lease/revoke": "Lease/LeaseRevoke",
        "/v3/kv/lease/revoke": "Lease/LeaseRevoke",
        "/v3/lease/timetolive": "Lease/LeaseTimeToLive",
        "/v3/kv/lease/timetolive": "Lease/LeaseTimeToLive",
        "/v3/lease/leases": "Lease/LeaseLeases",
        "/v3/kv/lease/leases": "Lease/LeaseLeases",
        "/v3/cluster/member/add": "Cluster/MemberAdd",
        "/v3/cluster/member/remove": "Cluster/MemberRemove",
        "/v3/cluster/member/update": "Cluster/MemberUpdate",
        "/v3/cluster/member/list": "Cluster/MemberList",
        "/v3/cluster/member/promote": "Cluster/MemberPromote",
        "/v3/maintenance/alarm": "Maintenance/Alarm",
        "/v3/maintenance/status": "Maintenance/Status",
        "/v3/maintenance/defragment": "Maintenance/Defragment",
        "/v3/maintenance/hash": "Maintenance/Hash",
        "/v3/maintenance/hashkv": "Maintenance/HashKV",  # a path of its own since etcd 3.6
        "/v3/maintenance/transfer-leadership": "Maintenance/MoveLeader",
        "/v3/maintenance/downgrade": "Maintenance/Downgrade",
        "/v3/auth/status": "Auth/AuthStatus",
        "/v3/auth/enable": "Auth/AuthEnable",
        "/v3/auth/disable": "Auth/AuthDisable",
        "/v3/auth/authenticate": "Auth/Authenticate",
        "/v3/auth/user/add": "Auth/UserAdd",
        "/v3/auth/user/get": "Auth/UserGet",
        "/v3/auth/user/list": "Auth/UserList",
        "/v3/auth/user/delete": "Auth/UserDelete",
        "/v3/auth/user/changepw": "Auth/UserChangePassword",
        "/v3/auth/user/grant": "Auth/UserGrantRole",
        "/v3/auth/user/revoke": "Auth/UserRevokeRole",
        "/v3/auth/role/add": "Auth/RoleAdd",
        "/v3/auth/role/get": "Auth/RoleGet",
        "/v3/auth/role/list": "Auth/RoleList",
        "/v3/auth/role/delete": "Auth/RoleDelete",
        "/v3/auth/role/grant": "Auth/RoleGrantPermission",
        "/v3/auth/role/revoke": "Auth/RoleRevokePermission",
        "/v3/lock/lock": "Lock/Lock",
        "/v3/lock/unlock": "Lock/Unlock",
        "/v3/election/campaign": "Election/Campaign",
        "/v3/election/proclaim": "Election/Proclaim",
        "/v3/election/leader": "Election/Leader",
        "/v3/election/resign": "Election/Resign",
    }
)
"""Unary methods, by path. The streaming ones are in `etcd_json_stream.py`."""

_SERVICES: Final = {
    name: service
    for file in (ETCD, LOCK, ELECTION)
    for name, service in file.services_by_name.items()
}

_BODY_PARTS: Final = (3, 2)
"""Longest body, by the longest gRPC message: bytes in base64 are a third longer, and fields have
names."""


def add_routes(router: HttpRouter, grpc: GrpcApp) -> None:
    """Serve every path of `PATHS`: by the method's gRPC handler if there is one, else with 501."""
    for path, name in PATHS.items():
        service, _, method = name.partition("/")
        descriptor = _SERVICES[service].methods_by_name[method]
        router.add("POST", path, _UnaryRoute(grpc, descriptor))


class _UnaryRoute:
    """One method behind one path."""

    def __init__(self, grpc: GrpcApp, descriptor: MethodDescriptor) -> None:
        self._grpc = grpc
        parts, whole = _BODY_PARTS
        self._body_bytes_max = grpc.request_bytes_max * parts // whole
        self._path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
        self._request_class: type[Message] = GetMessageClass(descriptor.input_type)
        self._response_class: type[Message] = GetMessageClass(descriptor.output_type)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        message = decode_json(await request.body(self._body_bytes_max), self._request_class)
        method = self._grpc.methods.get(self._path)
        if method is None:
            raise RpcError(StatusCode.UNIMPLEMENTED, f"tianlu: {self._path} is not implemented")
        context = RpcContext(request.scope, _no_stream)
        return message_response(await self._call(method, message, context, request.receive))

    async def _call(
        self, method: Method, message: Message, context: RpcContext, receive: Receive
    ) -> Message:
        """Run the handler until it answers, its deadline passes or its caller goes away."""
        sweeper = self._grpc.sweeper
        context.attach()
        sweeper.add(context, receive)
        try:
            response: Message | EncodedMessage = await method.handler(message, context)
        except asyncio.CancelledError:
            if context.expired:
                raise RpcError(StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded") from None
            if context.gone:
                raise ClientGone from None
            raise
        finally:
            context.detach()
            sweeper.discard(context)
        if isinstance(response, EncodedMessage):
            return self._response_class.FromString(response.data)
        return response


def message_response(message: Message) -> HttpResponse:
    """Return a message as the gateway prints it: proto names, defaults left out."""
    content: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return HttpResponse(200, json.dumps(content, separators=(",", ":")).encode())


async def _no_stream(event: object) -> None:
    raise RuntimeError("a unary handler must not write to its context here")
