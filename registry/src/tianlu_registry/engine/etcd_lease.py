"""Lease renewals over one keep-alive stream, instead of one stream per renewal.

etcd answers renewals of a stream one after another, so answers belong to requests in order.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

import grpc
import grpc.aio

from tianlu._proto.etcd.rpc_pb2 import LeaseKeepAliveRequest, LeaseKeepAliveResponse
from tianlu_registry.engine.etcd_calls import RETRY_PAUSE_SECONDS, EtcdCalls
from tianlu_registry.engine.etcd_channels import EtcdChannels, EtcdMethod
from tianlu_registry.engine.etcd_errors import map_error
from tianlu_registry.engine.etcd_identity import Identity, Nobody, metadata_of
from tianlu_registry.errors import RegistryError, TooManyRequests, Unavailable

_KEEP_ALIVE = EtcdMethod("Lease/LeaseKeepAlive", LeaseKeepAliveResponse)
_WAITING_MAX = 10_000
"""Renewals waiting for an answer; beyond it callers get `TooManyRequests` and try again."""

_Call = grpc.aio.StreamStreamCall[LeaseKeepAliveRequest, LeaseKeepAliveResponse]
_Answer = asyncio.Future[LeaseKeepAliveResponse]


class _Stream:
    """One keep-alive stream. Lives until its first failure, which fails all that wait on it."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._waiting: deque[_Answer] = deque()
        self._outbox: asyncio.Queue[LeaseKeepAliveRequest] = asyncio.Queue(_WAITING_MAX)
        self._task = asyncio.create_task(self._run(), name="etcd-keep-alive")

    @property
    def broken(self) -> bool:
        return self._task.done()

    def ask(self, lease_id: int) -> _Answer:
        if len(self._waiting) >= _WAITING_MAX or self._outbox.full():
            raise TooManyRequests
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._outbox.put_nowait(LeaseKeepAliveRequest(ID=lease_id))
        self._waiting.append(answer)
        return answer

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        error: RegistryError = Unavailable("etcd ended the keep-alive stream")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send())
                group.create_task(self._receive())
        except* grpc.aio.AioRpcError as failed:
            first = failed.exceptions[0]
            if isinstance(first, grpc.aio.AioRpcError):
                error = map_error(first, writes=False)
        except* (Unavailable, asyncio.InvalidStateError):
            pass  # said by `error` as it stands
        finally:
            self._call.cancel()
            for answer in self._waiting:
                if not answer.done():
                    answer.set_exception(error)

    async def _send(self) -> None:
        while True:
            await self._call.write(await self._outbox.get())

    async def _receive(self) -> None:
        while True:
            response = await self._call.read()
            if not isinstance(response, LeaseKeepAliveResponse):
                raise Unavailable("etcd ended the keep-alive stream")
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_result(response)


class EtcdKeepAlive:
    """Renews leases; opens its stream when first needed and anew after a failure."""

    def __init__(self, channels: EtcdChannels, identity: Identity | None = None) -> None:
        self._channels = channels
        self._identity = identity or Nobody()
        self._stream: _Stream | None = None

    async def renew(self, lease_id: int) -> LeaseKeepAliveResponse:
        """Renew once. Not retried here: see `EtcdStore.lease_keep_alive`.

        Raises:
            Unavailable: the stream broke before the answer came.
        """
        token = await self._identity.token()
        if self._stream is None or self._stream.broken:
            call = self._channels.bidirectional(_KEEP_ALIVE)(metadata=metadata_of(token))
            self._stream = _Stream(call)
        try:
            return await self._stream.ask(lease_id)
        except RegistryError as error:
            if self._identity.is_worth_another(token, error):
                raise Unavailable("etcd wants another token") from error
            raise

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.close()


async def renew(
    calls: EtcdCalls, keep_alive: Callable[[], EtcdKeepAlive], lease_id: int
) -> LeaseKeepAliveResponse:
    """Renew, at the next member while the one in use cannot answer and time is left.

    Args:
        keep_alive: by what; asked for every try, because it may have been closed for another's.

    Raises:
        Unavailable: none answered in time.
    """
    deadline = time.monotonic() + calls.timeout_seconds
    while True:
        endpoint = calls.channels.endpoint
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await keep_alive().renew(lease_id)
        except TimeoutError as late:
            raise Unavailable("etcd did not answer a lease renewal in time") from late
        except Unavailable:
            if time.monotonic() + RETRY_PAUSE_SECONDS >= deadline:
                raise
            calls.channels.rotate(endpoint)
            await asyncio.sleep(RETRY_PAUSE_SECONDS)
