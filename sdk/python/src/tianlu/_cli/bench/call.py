"""Single calls, waited for: what a load driver asks before and after its load."""

from __future__ import annotations

import select
import time
from typing import TypeVar

from google.protobuf.message import Message

from tianlu._cli.bench import http2
from tianlu._cli.bench.connection import Connection
from tianlu._cli.bench.http2 import Outcome
from tianlu._cli.bench.target import Target
from tianlu._errors import DeadlinePassed, ProtocolError, Unavailable, from_rpc

ResponseT = TypeVar("ResponseT", bound=Message)


class Caller(Connection):
    """A connection for one call at a time.

    Args:
        target: its timeout is for each call.
    """

    def __init__(self, target: Target) -> None:
        self._answer = bytearray()
        self._outcome: Outcome | None = None
        super().__init__(target)

    def call(self, path: str, request: Message, response: type[ResponseT]) -> ResponseT:
        """Make a call and return its answer.

        Raises:
            TianluError: by the table in `tianlu._errors`.
        """
        self._answer.clear()
        self._outcome = None
        self.open_stream(path, http2.grpc_message(request.SerializeToString()), end=True)
        outcome = self._wait()
        if outcome.status != 0:
            raise from_rpc(outcome.code, outcome.text, endpoint=str(self._target.endpoint))
        if len(self._answer) < http2.PREFIX_BYTES:
            raise ProtocolError(f"{self._target.endpoint}: an answer without a message")
        return response.FromString(bytes(self._answer[http2.PREFIX_BYTES :]))

    def _wait(self) -> Outcome:
        deadline = time.monotonic() + self._target.timeout_seconds
        while self._outcome is None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                # A late answer would be taken for the next call's.
                self.lose("no answer in time")
                raise DeadlinePassed(f"{self._target.endpoint}: no answer in time")
            sent = self.flush()
            if self.lost is not None:
                raise Unavailable(self.lost)
            select.select([self], [] if sent else [self], [], remaining)
            self.receive()
        return self._outcome

    def on_data(self, stream: int, data: bytes, start: int, end: int) -> None:
        self._answer += data[start:end]

    def on_end(self, stream: int, outcome: Outcome) -> None:
        self._outcome = outcome
