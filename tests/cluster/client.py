"""A client of one member: etcd's v3 calls on one connection, without any retry.

A call that fails says whether it may have had an effect. Only a refusal that is certain counts as
"no": everything else stays open, as a client in the field has to see it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from tianlu._proto.etcd import kv_pb2, rpc_pb2

CLIENT_PORT = 2379
_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),  # one connection each, never shared in the process
]
_CERTAIN_TEXTS = (
    "failed to connect to all addresses",
    "mvcc: database space exceeded",
    "etcdserver: too many requests",
)


class CallFailed(Exception):
    """A call that was not answered as asked.

    Attributes:
        certain: it had no effect and never will.
        code: gRPC's status.
    """

    def __init__(self, error: grpc.RpcError) -> None:
        self.code: grpc.StatusCode = error.code()
        self.text: str = error.details() or ""
        super().__init__(f"{self.code.name}: {self.text}")
        self.certain = any(text in self.text for text in _CERTAIN_TEXTS)


@dataclass(frozen=True, slots=True)
class Found:
    """A key as a read found it."""

    value: str
    create_revision: int
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call on one key said.

    Attributes:
        revision: the store's revision in the answer's header.
        found: the key that a read or a failed comparison found; None when there is none.
        succeeded: the comparison held, or the deletion found something; True for a put.
    """

    revision: int
    found: Found | None = None
    succeeded: bool = True


class Client:
    """Calls of one connection to one member. Usable from several threads.

    Args:
        address: the member's IPv4 address.
        timeout_seconds: of every call.
    """

    def __init__(self, address: str, timeout_seconds: float = 3.0) -> None:
        self.timeout_seconds = timeout_seconds
        target = address if ":" in address else f"{address}:{CLIENT_PORT}"
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._calls: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def call(self, method: str, request: Any, timeout_seconds: float | None = None) -> Any:
        """Call a unary method, such as ``KV/Put``.

        Raises:
            CallFailed: it was refused, or its outcome is unknown.
        """
        if method not in self._calls:
            self._calls[method] = self._channel.unary_unary(
                f"/etcdserverpb.{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=_response(method).FromString,
            )
        try:
            return self._calls[method](request, timeout=timeout_seconds or self.timeout_seconds)
        except grpc.RpcError as error:
            raise CallFailed(error) from None

    def stream(self, method: str, requests: Iterator[Any], timeout_seconds: float) -> Any:
        """Open a stream both ways, for so long; iterate over what it returns, and cancel it."""
        name = method.rpartition("/")[2]
        call = self._channel.stream_stream(
            f"/etcdserverpb.{method}",
            request_serializer=getattr(rpc_pb2, f"{name}Request").SerializeToString,
            response_deserializer=_response(method).FromString,
        )
        return call(requests, timeout=timeout_seconds)

    def get(self, key: str, *, serializable: bool = False) -> Answer:
        request = rpc_pb2.RangeRequest(key=key.encode(), serializable=serializable)
        response = self.call("KV/Range", request)
        return Answer(response.header.revision, _found(response.kvs))

    def put(self, key: str, value: str, lease: int = 0) -> Answer:
        request = rpc_pb2.PutRequest(key=key.encode(), value=value.encode(), lease=lease)
        return Answer(self.call("KV/Put", request).header.revision)

    def delete(self, key: str) -> Answer:
        response = self.call("KV/DeleteRange", rpc_pb2.DeleteRangeRequest(key=key.encode()))
        return Answer(response.header.revision, succeeded=response.deleted > 0)

    def compare_and_swap(self, key: str, expected: Found | None, value: str) -> Answer:
        """Put a value if the key still is as it was found: its mod_revision, or its absence."""
        compare = rpc_pb2.Compare(
            key=key.encode(),
            target=rpc_pb2.Compare.MOD,
            result=rpc_pb2.Compare.EQUAL,
            mod_revision=expected.mod_revision if expected else 0,
        )
        return self._swap(compare, key, value)

    def compare_value_and_swap(self, key: str, expected: str, value: str) -> Answer:
        """Put a value if the key has another."""
        compare = rpc_pb2.Compare(
            key=key.encode(),
            target=rpc_pb2.Compare.VALUE,
            result=rpc_pb2.Compare.EQUAL,
            value=expected.encode(),
        )
        return self._swap(compare, key, value)

    def _swap(self, compare: rpc_pb2.Compare, key: str, value: str) -> Answer:
        put = rpc_pb2.PutRequest(key=key.encode(), value=value.encode())
        read = rpc_pb2.RangeRequest(key=key.encode())
        request = rpc_pb2.TxnRequest(
            compare=[compare],
            success=[rpc_pb2.RequestOp(request_put=put)],
            failure=[rpc_pb2.RequestOp(request_range=read)],
        )
        response = self.call("KV/Txn", request)
        if response.succeeded:
            return Answer(response.header.revision)
        found = _found(response.responses[0].response_range.kvs)
        return Answer(response.header.revision, found, succeeded=False)

    def status(self, timeout_seconds: float | None = None) -> rpc_pb2.StatusResponse:
        status: rpc_pb2.StatusResponse = self.call(
            "Maintenance/Status", rpc_pb2.StatusRequest(), timeout_seconds
        )
        return status


def _found(pairs: Any) -> Found | None:
    if not pairs:
        return None
    pair: kv_pb2.KeyValue = pairs[0]
    return Found(pair.value.decode(), pair.create_revision, pair.mod_revision)


def _response(method: str) -> Any:
    """Return the response type of a method, from the service's own description."""
    service, _, name = method.partition("/")
    described = rpc_pb2.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    return getattr(rpc_pb2, described.output_type.name)
