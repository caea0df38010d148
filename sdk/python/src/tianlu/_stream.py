"""A bidirectional stream to one endpoint, with errors, silence and cancellation told apart.

A stream that is refused for its token, before the registry has said anything else on it, is opened
once more with a new one; its first message is sent again. Whoever uses it does not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Generic, cast

from tianlu._endpoint import Endpoint
from tianlu._errors import TianluError, Unauthenticated, Unavailable, from_rpc
from tianlu._rpc import Request, Response

if TYPE_CHECKING:
    import grpc.aio

WRITE_SECONDS_MAX: Final = 3.0
"""Most time for a stream to take a message, its connecting (1 s) included. gRPC alone would wait
for ever on a peer that stopped reading, or on a stream that was cancelled before it was connected;
whoever else wants to write then waits behind."""


class Stream(Generic[Request, Response]):
    """A bidirectional stream on one endpoint. One reader and one writer at a time.

    Args:
        call: the call, open.
        again: opens it anew after a refusal, with another token; or raises the refusal.
        accepted: told once that the registry has answered.
    """

    def __init__(
        self,
        call: grpc.aio.StreamStreamCall[Request, Response],
        endpoint: Endpoint,
        again: Callable[[Unauthenticated], Awaitable[grpc.aio.StreamStreamCall[Request, Response]]],
        accepted: Callable[[], None],
    ) -> None:
        self.endpoint: Final = endpoint
        self._call = call
        self._accepted = accepted
        self._answered = False
        self._again: (
            Callable[[Unauthenticated], Awaitable[grpc.aio.StreamStreamCall[Request, Response]]]
            | None
        ) = again
        self._first: Request | None = None

    async def write(self, message: Request) -> None:
        """Send a message; returns when the transport has taken it.

        Raises:
            TianluError: the stream has ended, or nobody took the message for WRITE_SECONDS_MAX;
                it has ended then too.
        """
        if self._first is None:
            self._first = message
        try:
            await self._write(message)
        except Unauthenticated as error:
            if self._answered:
                raise
            await self.begin_again(error)
            if message is not self._first:
                await self._write(message)

    async def read(self, silence_seconds: float | None = None) -> Response | None:
        """Return the next message, or None once the registry has ended the stream well.

        Args:
            silence_seconds: give the stream up if nothing comes for so long.

        Raises:
            TianluError: the stream broke or was silent for too long.
        """
        try:
            message = await self._read(silence_seconds)
        except Unauthenticated as error:
            if self._answered:
                raise
            await self.begin_again(error)
            message = await self._read(silence_seconds)
        if not self._answered:
            self._answered = True
            self._accepted()
        return message

    async def begin_again(self, error: Unauthenticated) -> None:
        """Open the stream anew with another token and send its first message once more.

        Args:
            error: what it was refused with.

        Raises:
            Unauthenticated: `error`, if that was done before, or cannot help.
            TianluError: no token could be got, or the message not sent.
        """
        again, self._again = self._again, None
        if again is None:
            raise error
        self._call.cancel()
        self._call = await again(error)
        if self._first is not None:
            await self._write(self._first)

    async def _write(self, message: Request) -> None:
        import grpc.aio

        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                await self._call.write(message)
        except TimeoutError:
            self.cancel()
            raise Unavailable(
                f"registry at {self.endpoint}: took nothing for {WRITE_SECONDS_MAX:g} s"
            ) from None
        except asyncio.CancelledError:
            self._raise_ended()
            raise
        except grpc.aio.AioRpcError as error:
            raise translate(error, self.endpoint) from error
        except asyncio.InvalidStateError as error:
            raise await self._why_ended() from error

    async def _read(self, silence_seconds: float | None) -> Response | None:
        import grpc.aio

        try:
            async with asyncio.timeout(silence_seconds):
                message = await self._call.read()
        except TimeoutError:
            self.cancel()
            raise Unavailable(
                f"registry at {self.endpoint}: silent for {silence_seconds:g} s"
            ) from None
        except asyncio.CancelledError:
            self._raise_ended()
            raise
        except grpc.aio.AioRpcError as error:
            raise translate(error, self.endpoint) from error
        return None if message is grpc.aio.EOF else cast("Response", message)

    async def _why_ended(self) -> TianluError:
        """Return why a call that takes no more messages has ended."""
        code = await self._call.code()
        if code.name in ("OK", "CANCELLED"):
            return Unavailable(f"registry at {self.endpoint}: the stream has ended")
        return from_rpc(code.name, await self._call.details() or "", endpoint=str(self.endpoint))

    def cancel(self) -> None:
        """End the stream. Does nothing if it has ended."""
        self._call.cancel()

    def _raise_ended(self) -> None:
        """Tell the end of the stream from the end of the task: gRPC says both by cancellation.

        Raises:
            Unavailable: the stream was cancelled, and the task that uses it was not.
        """
        if not task_cancelled():
            raise Unavailable(f"registry at {self.endpoint}: the stream has ended") from None


def task_cancelled() -> bool:
    """Return whether the present task has been asked to end."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def translate(error: grpc.aio.AioRpcError, endpoint: Endpoint) -> TianluError:
    """Return the SDK's error for one of gRPC's."""
    return from_rpc(error.code().name, error.details() or "", endpoint=str(endpoint))
