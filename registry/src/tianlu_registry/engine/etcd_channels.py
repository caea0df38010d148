"""Connections to the members of an etcd cluster, one of them in use at a time.

Calls are made by path and message class, so that no generated client classes are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from tianlu_registry.errors import InvalidArgument

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A member that vanished without a FIN is noticed by pings, within about 8 s.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # etcd members of other clusters in this process must not share our connections.
    ("grpc.use_local_subchannel_pool", 1),
)


Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class EtcdMethod(Generic[Response]):
    """A method of etcd's API.

    Attributes:
        name: service and method, such as ``KV/Range``.
        response: class of its answers.
    """

    name: str
    response: type[Response]

    @property
    def path(self) -> str:
        return f"/etcdserverpb.{self.name}"


@dataclass(frozen=True, slots=True)
class EtcdEndpoint:
    """One member's client address.

    Attributes:
        target: as grpcio takes it: ``host:port`` or ``unix:/path``.
        tls: whether the member speaks TLS.
    """

    target: str
    tls: bool

    @classmethod
    def parse(cls, url: str) -> EtcdEndpoint:
        """Read ``host:port``, ``http://host:port``, ``https://host:port`` or ``unix:/path``.

        Raises:
            InvalidArgument: the address has another form.
        """
        scheme, found, rest = url.partition("://")
        if not found:
            scheme, rest = "http", url
        rest = rest.rstrip("/")
        if scheme not in {"http", "https"} or not rest or (":" not in rest):
            raise InvalidArgument(
                "etcd_endpoints", f"{url!r} is not http://HOST:PORT, https://HOST:PORT or unix:PATH"
            )
        return cls(rest, scheme == "https")


class EtcdChannels:
    """Channels to all members, opened when first used; `rotate` moves on to the next member."""

    def __init__(
        self, endpoints: tuple[EtcdEndpoint, ...], credentials: grpc.ChannelCredentials | None
    ) -> None:
        self._endpoints = endpoints
        self._credentials = credentials
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._unary: dict[tuple[int, str], Any] = {}
        self._current = 0

    @property
    def endpoint(self) -> EtcdEndpoint:
        """The member in use."""
        return self._endpoints[self._current]

    def __len__(self) -> int:
        return len(self._endpoints)

    def rotate(self, failed: EtcdEndpoint) -> None:
        """Use the next member, unless another call has moved away from `failed` already."""
        if self.endpoint is failed:
            self._current = (self._current + 1) % len(self._endpoints)

    def unary(
        self, method: EtcdMethod[Response]
    ) -> grpc.aio.UnaryUnaryMultiCallable[Any, Response]:
        """Return the callable of a unary method at the member in use."""
        key = (self._current, method.name)
        made = self._unary.get(key)
        if made is None:
            made = self._channel().unary_unary(method.path, _serialize, method.response.FromString)
            self._unary[key] = made
        return made

    def server_streaming(
        self, method: EtcdMethod[Response]
    ) -> grpc.aio.UnaryStreamMultiCallable[Any, Response]:
        """Return the callable of a method that answers with a stream, at the member in use."""
        return self._channel().unary_stream(method.path, _serialize, method.response.FromString)

    def bidirectional(
        self, method: EtcdMethod[Response]
    ) -> grpc.aio.StreamStreamMultiCallable[Any, Response]:
        """Return the callable of a bidirectional method at the member in use."""
        return self._channel().stream_stream(method.path, _serialize, method.response.FromString)

    async def close(self) -> None:
        """Close every channel; calls under way fail."""
        for channel in self._channels.values():
            await channel.close()

    def _channel(self) -> grpc.aio.Channel:
        channel = self._channels.get(self._current)
        if channel is None:
            channel = self._open(self.endpoint)
            self._channels[self._current] = channel
        return channel

    def _open(self, endpoint: EtcdEndpoint) -> grpc.aio.Channel:
        if not endpoint.tls:
            return grpc.aio.insecure_channel(endpoint.target, options=_OPTIONS)
        credentials = self._credentials or grpc.ssl_channel_credentials()
        return grpc.aio.secure_channel(endpoint.target, credentials, options=_OPTIONS)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
