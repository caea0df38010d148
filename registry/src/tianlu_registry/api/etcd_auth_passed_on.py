"""etcdserverpb.Auth where users are somebody else's: every request is passed on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from tianlu._proto.etcd.rpc_pb2 import DESCRIPTOR
from tianlu_registry.api.grpc_asgi import RpcContext

Ask = Callable[[str, Message], Awaitable[Any]]
"""Takes a method's name and its request; returns its response."""


class PassedOnAuthServicer:
    """The whole service, a method for each of the descriptor's.

    Args:
        ask: whom all of them ask.
    """

    def __init__(self, ask: Ask) -> None:
        for method in DESCRIPTOR.services_by_name["Auth"].methods:
            setattr(self, method.name, _passing_on(ask, method.name))


def _passing_on(ask: Ask, name: str) -> Callable[[Message, RpcContext], Awaitable[Any]]:
    async def passed_on(request: Message, context: RpcContext) -> Any:  # noqa: ANN401
        return await ask(name, request)

    return passed_on
