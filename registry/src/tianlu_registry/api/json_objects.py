"""Cuts a byte stream into JSON objects, each as soon as its closing brace has arrived. No I/O.

Only braces and strings are looked at: whether an object is valid JSON is for who decodes it. All
the bytes that matter are ASCII, so characters cut in two do no harm.
"""

from __future__ import annotations

import re
from typing import Final

from tianlu_registry.api.grpc_asgi import RpcError, StatusCode
from tianlu_registry.errors import InvalidArgument

DEPTH_MAX: Final = 1_000
"""Deepest nesting. Whoever decodes an object allows far less; this ends the counting of braces."""

_WHITESPACE = re.compile(rb"[ \t\r\n]*")
_OUTSIDE_STRING = re.compile(rb'["{}]')
_INSIDE_STRING = re.compile(rb'["\\]')


class JsonObjects:
    """The objects of a stream.

    Args:
        bytes_max: longest object.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._scanned = 0  # where to look on
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_object(self) -> bytes | None:
        """Return the next object's text, or None until more is fed.

        Raises:
            InvalidArgument: something else than an object stands there, or one nested too deeply.
            RpcError: RESOURCE_EXHAUSTED, the object is longer than the bound.
        """
        if self._depth == 0:
            self._skip_whitespace()
            if not self._buffer:
                return None
            if self._buffer[0] != ord("{"):
                raise InvalidArgument("body", "must be a sequence of JSON objects")
        end = self._find_end()
        if (end or len(self._buffer)) > self._bytes_max:
            raise RpcError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"body: an object is longer than {self._bytes_max} bytes",
            )
        if end is None:
            return None
        found = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._scanned = 0
        return found

    def check_finished(self) -> None:
        """Call at the end of the stream.

        Raises:
            InvalidArgument: it ended inside an object.
        """
        self._skip_whitespace()
        if self._buffer:
            raise InvalidArgument("body", "is not JSON: it ends inside an object")

    def _skip_whitespace(self) -> None:
        found = _WHITESPACE.match(self._buffer)
        if found is not None and found.end():
            # Moves no bytes but a bound: there may be very many objects in the buffer.
            end = found.end()
            del found  # it holds the buffer
            del self._buffer[:end]
            self._scanned = 0

    def _find_end(self) -> int | None:
        """Scan on; return the position behind the object's closing brace if it is there."""
        while True:
            pattern = _INSIDE_STRING if self._in_string else _OUTSIDE_STRING
            match = pattern.search(self._buffer, self._scanned)
            if match is None:
                self._scanned = len(self._buffer)
                return None
            mark, position = match[0], match.start()
            if mark == b"\\":
                if position + 1 == len(self._buffer):
                    self._scanned = position  # what it escapes has not arrived
                    return None
                self._scanned = position + 2
                continue
            self._scanned = position + 1
            if mark == b'"':
                self._in_string = not self._in_string
            else:
                self._depth += 1 if mark == b"{" else -1
                if self._depth > DEPTH_MAX:
                    raise InvalidArgument("body", f"is nested more than {DEPTH_MAX} deep")
                if self._depth == 0:
                    return self._scanned
