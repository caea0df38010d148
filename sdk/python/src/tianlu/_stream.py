"""A bidirectional stream to one endpoint, with errors, silence and cancellation told apart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, cast

from tianlu._endpoint import Endpoint
from tianlu._errors import TianluError, Unavailable, from_rpc
from tianlu._rpc import Request, Response

if TYPE_CHECKING:
    import grpc.aio

WRITE_SECONDS_MAX: Final = 3.0
"""Most time for a stream to take a message, its connecting (1 s) included. gRPC alone would wait
for ever on a peer that stopped reading, or on a stream that was cancelled before it was connected;
whoever else wants to write then waits behind."""


class Stream(Generic[Request, Response]):
    """A bidirectional stream on one endpoint. One reader and one writer at a time."""

    def __init__(
        self, call: grpc.aio.StreamStreamCall[Request, Response], endpoint: Endpoint
    ) -> None:
        self.endpoint: Final = endpoint
        self._call = call

    async def write(self, message: Request) -> None:
        """Send a message; returns when the transport has taken it.

        Raises:
            TianluError: the stream has ended, or nobody took the message for WRITE_SECONDS_MAX;
                it has ended then too.
        """
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
            raise Unavailable(f"registry at {self.endpoint}: the stream has ended") from error

    async def read(self, silence_seconds: float | None = None) -> Response | None:
        """Return the next message, or None once the registry has ended the stream well.

        Args:
            silence_seconds: give the stream up if nothing comes for so long.

        Raises:
            TianluError: the stream broke or was silent for too long.
        """
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
