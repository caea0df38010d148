"""Calls to an etcd cluster: of one member at a time, of the next when that cannot answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

import grpc
import grpc.aio
from google.protobuf.message import Message

from tianlu._proto.etcd.rpc_pb2 import AuthenticateRequest, AuthenticateResponse
from tianlu_registry.engine.etcd_channels import EtcdChannels, EtcdMethod, Response
from tianlu_registry.engine.etcd_errors import map_error, was_not_sent
from tianlu_registry.engine.etcd_identity import Identity, Nobody, metadata_of
from tianlu_registry.errors import AuthNotEnabled, InputError, Unavailable

RETRY_PAUSE_SECONDS: Final = 0.05
_LOGINS_MAX: Final = 2
"""Tokens tried for one call before its refusal is believed."""

_AUTHENTICATE = EtcdMethod("Auth/Authenticate", AuthenticateResponse)


class EtcdCalls:
    """Calls as somebody.

    Args:
        timeout_seconds: for one call with its repetitions.
    """

    def __init__(
        self, channels: EtcdChannels, timeout_seconds: float, identity: Identity | None = None
    ) -> None:
        self.channels: Final = channels
        self.timeout_seconds: Final = timeout_seconds
        self.identity: Identity = identity or Nobody()

    async def call(
        self, method: EtcdMethod[Response], request: Message, *, writes: bool = False
    ) -> Response:
        """Ask the member in use, and others while it cannot answer and time is left.

        Raises:
            RegistryError: what etcd answered, or that nobody did; see `map_error`.
        """
        deadline = time.monotonic() + self.timeout_seconds
        logins = 0
        while True:
            endpoint = self.channels.endpoint
            token = await self.identity.token()
            try:
                return await self.channels.unary(method)(
                    request,
                    timeout=max(0.001, deadline - time.monotonic()),
                    metadata=metadata_of(token),
                )
            except grpc.aio.AioRpcError as failed:
                error = map_error(failed, writes=writes)
                logins += 1
                if logins < _LOGINS_MAX and self.identity.is_worth_another(token, error):
                    continue
                harmless = was_not_sent(failed) or (not writes and isinstance(error, Unavailable))
                if not harmless or time.monotonic() + RETRY_PAUSE_SECONDS >= deadline:
                    raise error from failed
                logins -= 1
                self.channels.rotate(endpoint)
                await asyncio.sleep(RETRY_PAUSE_SECONDS)

    async def stream(
        self, method: EtcdMethod[Response], request: Message
    ) -> AsyncGenerator[Response, None]:
        """Yield what the member in use streams. Nothing is repeated: others would stream
        something else. Closing the generator ends the call.

        Raises:
            RegistryError: as `call`; the next call goes to another member then.
        """
        endpoint = self.channels.endpoint
        metadata = metadata_of(await self.identity.token())
        call = self.channels.server_streaming(method)(request, metadata=metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as failed:
            error = map_error(failed, writes=False)
            if isinstance(error, Unavailable):
                self.channels.rotate(endpoint)
            raise error from failed
        finally:
            call.cancel()

    async def has_users(self) -> bool:
        """Ask whether authentication is on, for which one need not be anybody."""
        try:
            await self.authenticate("", "")
        except AuthNotEnabled:
            return False
        except InputError:
            pass
        return True

    async def authenticate(self, user: str, password: str) -> str:
        """Log in; returns a token."""
        request = AuthenticateRequest(name=user, password=password)
        return (await self.call(_AUTHENTICATE, request)).token
