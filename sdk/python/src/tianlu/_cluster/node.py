"""Calls to the nodes of a cluster, each node by itself.

The SDK's `Connection` stands for the registry as one thing; here it matters who answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

from google.protobuf.message import Message

from tianlu._channels import Channels
from tianlu._credentials import Credentials
from tianlu._endpoint import Endpoint
from tianlu._errors import TianluError, Unavailable, from_rpc
from tianlu._identity import NO_TOKEN, Identity, LogIn, metadata
from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._retry import Deadline
from tianlu._rpc import AUTHENTICATE, MEMBER_LIST, Method, Request, Response

if TYPE_CHECKING:
    import grpc.aio

_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

__all__ = [
    "HASH_KV",
    "MEMBER_ADD",
    "MEMBER_LIST",
    "MEMBER_PROMOTE",
    "MEMBER_REMOVE",
    "MEMBER_UPDATE",
    "MOVE_LEADER",
    "SNAPSHOT",
    "STATUS",
    "Nodes",
]


def _method(
    name: str, request: type[Request], response: type[Response]
) -> Method[Request, Response]:
    return Method(f"/etcdserverpb.{name}", request, response, repeatable=False)


STATUS: Final = _method("Maintenance/Status", etcd.StatusRequest, etcd.StatusResponse)
HASH_KV: Final = _method("Maintenance/HashKV", etcd.HashKVRequest, etcd.HashKVResponse)
SNAPSHOT: Final = _method("Maintenance/Snapshot", etcd.SnapshotRequest, etcd.SnapshotResponse)
MOVE_LEADER: Final = _method(
    "Maintenance/MoveLeader", etcd.MoveLeaderRequest, etcd.MoveLeaderResponse
)
MEMBER_ADD: Final = _method("Cluster/MemberAdd", etcd.MemberAddRequest, etcd.MemberAddResponse)
MEMBER_REMOVE: Final = _method(
    "Cluster/MemberRemove", etcd.MemberRemoveRequest, etcd.MemberRemoveResponse
)
MEMBER_UPDATE: Final = _method(
    "Cluster/MemberUpdate", etcd.MemberUpdateRequest, etcd.MemberUpdateResponse
)
MEMBER_PROMOTE: Final = _method(
    "Cluster/MemberPromote", etcd.MemberPromoteRequest, etcd.MemberPromoteResponse
)


class Nodes:
    """Connections to nodes, one each, opened on first use. Use as an asynchronous context manager.

    Args:
        timeout_seconds: for one call to one node, a login before it included.
        credentials: who calls; nobody if not given.
    """

    def __init__(self, timeout_seconds: float, credentials: Credentials | None = None) -> None:
        self.timeout_seconds: Final = timeout_seconds
        self.credentials: Final = credentials or Credentials()
        self._channels = Channels(self.credentials, _OPTIONS)
        self._identity = Identity(self.credentials)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._channels.close()

    async def call(
        self, endpoint: Endpoint, method: Method[Request, Response], request: Request
    ) -> Response:
        """Ask one node.

        Raises:
            TianluError: by the table in `tianlu._errors`.
        """
        deadline = Deadline.after(self.timeout_seconds)
        if method.anonymous:
            return await self._ask(endpoint, method, request, deadline, NO_TOKEN)

        async def attempt(token: str) -> Response:
            return await self._ask(endpoint, method, request, deadline, token)

        return await self._identity.call(attempt, self._login_at(endpoint, deadline), deadline)

    async def stream(
        self, endpoint: Endpoint, method: Method[Request, Response], request: Request
    ) -> AsyncGenerator[Response, None]:
        """Yield what one node streams. Close the generator to end the call.

        Raises:
            Unavailable: the node broke off, or was silent for the timeout.
            TianluError: by the table in `tianlu._errors`.
        """
        import grpc.aio

        deadline = Deadline.after(self.timeout_seconds)
        token = await self._identity.token(self._login_at(endpoint, deadline), deadline)
        open_call = self._channels.get(endpoint).unary_stream(
            method.path, _serialize, method.response.FromString
        )
        call = open_call(request, metadata=metadata(token))
        try:
            while True:
                async with asyncio.timeout(self.timeout_seconds):
                    message = await call.read()
                if message is grpc.aio.EOF:
                    return
                yield cast("Response", message)
        except grpc.aio.AioRpcError as error:
            raise _translate(error, endpoint) from error
        except TimeoutError:
            raise Unavailable(
                f"registry at {endpoint}: silent for {self.timeout_seconds:g} s"
            ) from None
        finally:
            call.cancel()

    async def call_any(
        self, endpoints: Iterable[Endpoint], method: Method[Request, Response], request: Request
    ) -> tuple[Endpoint, Response]:
        """Ask one node after the other until one answers, and return which.

        A node that may have acted on the request, and did not say so, ends the search: what changes
        a cluster is not asked twice.

        Raises:
            TianluError: what the last node that was asked said.
        """
        failure: TianluError = Unavailable("no endpoint is given")
        for endpoint in endpoints:
            try:
                return endpoint, await self.call(endpoint, method, request)
            except TianluError as error:
                failure = error
                if not _was_not_done(error):
                    break
        raise failure

    def _login_at(self, endpoint: Endpoint, deadline: Deadline) -> LogIn:
        async def log_in(name: str, password: str) -> str:
            request = etcd.AuthenticateRequest(name=name, password=password)
            return (await self._ask(endpoint, AUTHENTICATE, request, deadline, NO_TOKEN)).token

        return log_in

    async def _ask(
        self,
        endpoint: Endpoint,
        method: Method[Request, Response],
        request: Request,
        deadline: Deadline,
        token: str,
    ) -> Response:
        import grpc.aio

        call = self._channels.get(endpoint).unary_unary(
            method.path, _serialize, method.response.FromString
        )
        try:
            response: Response = await call(
                request, timeout=deadline.remaining(), metadata=metadata(token)
            )
        except grpc.aio.AioRpcError as error:
            raise _translate(error, endpoint) from error
        return response


_NOT_DONE: Final = (
    "failed to connect",
    "etcdserver: no leader",
    "etcdserver: not leader",
    "etcdserver: rpc not supported for learner",
)
"""What texts contain that say that nothing has been done, and that another node may do it."""


def _was_not_done(error: TianluError) -> bool:
    text = str(error)
    return any(one in text for one in _NOT_DONE)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _translate(error: grpc.aio.AioRpcError, endpoint: Endpoint) -> TianluError:
    return from_rpc(error.code().name, error.details() or "", endpoint=str(endpoint))
