"""Calls to both servers by one client code: what is asked of etcd is asked of Tianlu, on
connections that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from interop.interop_servers import Server

from tianlu._proto.etcd import rpc_pb2 as pb

TIMEOUT_SECONDS = 30


class Caller:
    """One server, as a client sees it."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self.server = server
        self._channel = channel

    def call(self, method: str, request: Message) -> Any:
        """Make a call; returns its answer, or its status and text, in comparable form."""
        try:
            return self.server.comparable(self.answer(method, request))
        except grpc.RpcError as error:
            return error.code().name, error.details()

    def answer(self, method: str, request: Message, **metadata: str) -> Any:
        """Make a call; returns the answer as it is, or raises."""
        stub = self._stub(self._channel.unary_unary, method)
        return stub(request, timeout=TIMEOUT_SECONDS, metadata=tuple(metadata.items()))

    def streamed(self, method: str, request: Message) -> Any:
        """Make a call that is answered by a stream; returns the answers, or status and text."""
        try:
            return [
                *self._stub(self._channel.unary_stream, method)(request, timeout=TIMEOUT_SECONDS)
            ]
        except grpc.RpcError as error:
            return error.code().name, error.details()

    @contextmanager
    def stream(self, method: str) -> Iterator[Conversation]:
        """Hold a conversation, which ends with the context."""
        conversation = Conversation(self.server, self._stub(self._channel.stream_stream, method))
        try:
            yield conversation
        finally:
            conversation.end()

    def _stub(self, shape: Callable[..., Any], method: str) -> Any:
        service, _, name = method.partition("/")
        descriptor = pb.DESCRIPTOR.services_by_name[service].methods_by_name[name]
        return shape(
            f"/etcdserverpb.{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )


class Conversation:
    """A bidirectional stream."""

    def __init__(self, server: Server, stub: Any) -> None:
        self._server = server
        self._requests: SimpleQueue[Message | None] = SimpleQueue()
        self._call = stub(iter(self._requests.get, None), timeout=TIMEOUT_SECONDS)

    def say(self, request: Message) -> None:
        self._requests.put(request)

    def hear_raw(self) -> Any:
        """Return the next answer; raises the status that ended the stream."""
        return next(self._call)

    def hear(self) -> Any:
        """Return the next answer, or the status and text that ended the stream, comparably."""
        try:
            return self._server.comparable(self.hear_raw())
        except grpc.RpcError as error:
            return error.code().name, error.details()

    def end(self) -> None:
        self._requests.put(None)
        self._call.cancel()


@contextmanager
def callers(servers: Sequence[Server]) -> Iterator[list[Caller]]:
    """Connect to the servers."""
    channels = [grpc.insecure_channel(server.target) for server in servers]
    try:
        yield [Caller(*pair) for pair in zip(servers, channels, strict=True)]
    finally:
        for channel in channels:
            channel.close()


def compare(servers: Sequence[Server], script: Callable[[Caller], Iterator[Any]]) -> list[Any]:
    """Run a script against each server, etcd first, and check that it saw the same: returns what
    it saw."""
    with callers(servers) as (etcd, tianlu):
        expected, seen = list(script(etcd)), list(script(tianlu))
    for number, (one, other) in enumerate(zip(expected, seen, strict=True)):
        assert other == one, f"step {number}: etcd {one}, Tianlu {other}"
    return seen
