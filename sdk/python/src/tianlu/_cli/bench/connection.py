"""One HTTP/2 connection to a server under load: many streams, frames in and out, no waiting.

Nothing here blocks but opening. Whoever drives it calls `receive` when the socket can be read, and
`flush` after each batch of requests and when the socket can be written.

Flow control. The windows that we grant are as wide as HTTP/2 allows and are topped up in bulk.
Those that the server grants are obeyed: what does not fit waits in order, so a server that stops
reading stops its load.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from typing import Final

import hpack

from tianlu._cli.bench import http2
from tianlu._cli.bench.http2 import Outcome, RequestHeaders, ResponseHeaders
from tianlu._cli.bench.target import Target
from tianlu._errors import ProtocolError

_READ_BYTES: Final = 1 << 18
_TOP_UP_BYTES: Final = 1 << 30
_WINDOW: Final = 65_535
_FRAME_BYTES: Final = 16_384
_HEADER_TABLE_BYTES: Final = 4_096

BROKEN: Final = Outcome(14, "the connection broke")
_NO_TRAILERS: Final = Outcome(13, "the answer ended without a status")


class Connection:
    """A connection; what a kind of load does with answers, its subclass says.

    Attributes:
        lost: why it is of no use any more; None while it is.
        now: when what is being handled was received, time.monotonic_ns.
        streams_max: how many streams the server allows at once.
        received: bytes of DATA by stream, for those that live long. Subclasses count; it begins
            again at 0 when the stream's window is topped up.
    """

    def __init__(self, target: Target) -> None:
        """Open it; returns when the server has said what it allows.

        Raises:
            TianluError: it cannot be reached, or is no HTTP/2 server.
        """
        self.lost: str | None = None
        self.now = 0
        self.streams_max = http2.LARGEST_STREAM
        self.received: dict[int, int] = {}
        self._target = target
        self._responses = ResponseHeaders()
        self._rest = b""
        self._block = b""  # of a header block that goes on in the next frame
        self._received = 0  # bytes of DATA since the connection's window was topped up
        self._next_stream = 1
        self._window = self._stream_window = _WINDOW  # what the server still takes
        self._room = 0  # for a message in one frame of a new stream
        self._windows: dict[int, int] = {}  # of the streams whose own window is kept track of
        self._frame_bytes_max = _FRAME_BYTES
        self._waiting: deque[tuple[int, bytes, int]] = deque()  # (stream, data, flags)
        self._out: list[bytes] = []
        self._unsent = b""
        self._settled = False
        table_bytes = self._open(target)
        self._requests = RequestHeaders(target.scheme, target.headers, table_bytes)

    def _open(self, target: Target) -> int:
        """Greet the server; return the size of its header table."""
        self._socket = target.connect()
        self._header_table_bytes = _HEADER_TABLE_BYTES
        self._out += [
            http2.PREFACE,
            http2.settings({http2.INITIAL_WINDOW_SIZE: http2.LARGEST_WINDOW}),
            http2.window_update(0, http2.LARGEST_WINDOW - _WINDOW),
        ]
        self.flush()
        while not self._settled and self.lost is None:
            self._receive_once()
        if self.lost is not None:
            self._socket.close()
            raise ProtocolError(f"{target.endpoint}: not an HTTP/2 server, or one that refuses us")
        self._socket.setblocking(False)
        return min(self._header_table_bytes, _HEADER_TABLE_BYTES)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    # What subclasses do

    def on_data(self, stream: int, data: bytes, start: int, end: int) -> None:
        """Handle the payload of a DATA frame: `data[start:end]`."""

    def on_end(self, stream: int, outcome: Outcome) -> None:
        """Handle the end of a call."""

    def on_lost(self) -> None:
        """Handle that no stream of this connection will get an answer any more."""

    # Sending

    def open_stream(self, path: str, message: bytes, *, end: bool) -> int:
        """Begin a call with its first message; `flush` sends it. Returns its stream.

        Args:
            message: with gRPC's prefix.
            end: whether no other message follows.
        """
        stream = self._next_stream
        self._next_stream = stream + 2
        block, size = self._requests.block(path), len(message)
        # Nearly always: it fits everywhere, nothing waits, and no other message will follow.
        if end and size <= self._room and not self._waiting and size <= self._window:
            self._window -= size
            headers = http2.head(len(block), http2.HEADERS, http2.END_HEADERS, stream)
            data = http2.head(size, http2.DATA, http2.END_STREAM, stream)
            self._out += (headers, block, data, message)
            return stream
        self._out += (http2.head(len(block), http2.HEADERS, http2.END_HEADERS, stream), block)
        self._windows[stream] = self._stream_window
        self.send(stream, message, end=end)
        if stream >= http2.LARGEST_STREAM - 2:
            self.lose("more than a billion calls on one connection")
        return stream

    def send(self, stream: int, message: bytes, *, end: bool = False) -> None:
        """Send a message on an open stream; it waits if the server does not take it yet."""
        self._waiting.append((stream, message, http2.END_STREAM if end else 0))
        self._send_waiting()

    def _send_waiting(self) -> None:
        """Send what the windows allow, in order. A stream whose own window is full holds back the
        others behind it: they have as much to say."""
        while self._waiting:
            stream, data, flags = self._waiting[0]
            own = self._windows.get(stream, 0)
            size = min(len(data), self._window, own, self._frame_bytes_max)
            if size <= 0:
                return
            whole = size == len(data)
            self._out.append(http2.head(size, http2.DATA, flags if whole else 0, stream))
            self._out.append(data[:size])
            self._window -= size
            self._windows[stream] = own - size
            if whole:
                self._waiting.popleft()
                if flags:
                    del self._windows[stream]
            else:
                self._waiting[0] = (stream, data[size:], flags)

    def flush(self) -> bool:
        """Hand over to the kernel what it takes; returns whether that was all."""
        if self._out:
            self._unsent += b"".join(self._out)
            self._out.clear()
        if self._unsent and self.lost is None:
            try:
                sent = self._socket.send(self._unsent)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            except OSError as error:
                self.lose(error.strerror or str(error))
                return True
            self._unsent = self._unsent[sent:]
        return not self._unsent or self.lost is not None

    # Receiving

    def receive(self) -> None:
        """Handle what has arrived."""
        while self.lost is None and self._receive_once():
            pass

    def _receive_once(self) -> bool:
        """Read and handle once; returns whether there may be more to read at once."""
        try:
            chunk = self._socket.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            self.lose(error.strerror or str(error))
            return False
        if not chunk:
            self.lose("the server closed the connection")
            return False
        self.now = time.monotonic_ns()
        try:
            self._parse(self._rest + chunk if self._rest else chunk)
        except (hpack.HPACKError, ValueError, IndexError) as error:
            self.lose(f"the server sent what is not HTTP/2: {error}")
        return isinstance(self._socket, ssl.SSLSocket)

    def _parse(self, data: bytes) -> int:
        """Handle the whole frames in `data` and keep the rest; returns where the rest begins."""
        position, size = 0, len(data)
        unpack_head = http2.unpack_head
        while size - position >= 9:
            high, low, kind, flags, stream = unpack_head(data, position)
            start = position + 9
            end = start + (high << 8 | low)
            if end > size:
                break
            if kind == 0:
                self._received += end - start
                if flags & (http2.PADDED | http2.END_STREAM):
                    self._unusual_data(flags, stream, data, start, end)
                else:
                    self.on_data(stream, data, start, end)
            elif kind == 1 and flags & http2.END_HEADERS and flags < http2.PADDED:
                outcome = self._responses.read(data[start:end])
                if flags & 1:
                    self._ended(stream, outcome)
            else:
                self._control(kind, flags, stream, data[start:end])
            position = end
        self._rest = data[position:]
        if self._received >= _TOP_UP_BYTES:
            self._top_up()
        return position

    def _top_up(self) -> None:
        self._out.append(http2.window_update(0, self._received))
        self._received = 0
        for stream, received in self.received.items():
            if received:
                self._out.append(http2.window_update(stream, received))
                self.received[stream] = 0

    def _ended(self, stream: int, outcome: Outcome) -> None:
        self._windows.pop(stream, None)
        if self._waiting and any(waiting[0] == stream for waiting in self._waiting):
            self._waiting = deque(one for one in self._waiting if one[0] != stream)
        self.on_end(stream, outcome)

    def _unusual_data(self, flags: int, stream: int, data: bytes, start: int, end: int) -> None:
        """Handle DATA with padding, or at the end of a stream without trailers."""
        if flags & http2.PADDED:
            start, end = start + 1, end - data[start]
        self.on_data(stream, data, start, end)
        if flags & http2.END_STREAM:
            self._ended(stream, _NO_TRAILERS)

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Handle all frames but DATA and plain HEADERS."""
        if kind in (http2.HEADERS, http2.CONTINUATION):
            self._headers(kind, flags, stream, payload)
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            self._settle(http2.parse_settings(payload))
        elif kind == http2.PING and not flags & http2.ACK:
            self._out.append(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload, "big"))
        elif kind == http2.RST_STREAM:
            self._ended(stream, Outcome(14, f"the server reset the stream ({payload[3]})"))
        elif kind == http2.GOAWAY:
            reason = payload[8:].decode("latin-1")
            self.lose("the server sends this connection away" + (f": {reason}" if reason else ""))

    def _headers(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Handle HEADERS in several frames, or with padding."""
        if kind == http2.HEADERS:
            self._block = http2.unpadded(flags, payload)
            self._block_ends_stream = bool(flags & http2.END_STREAM)
        else:
            self._block += payload
        if flags & http2.END_HEADERS:
            outcome = self._responses.read(self._block)
            if self._block_ends_stream:
                self._ended(stream, outcome)

    def _settle(self, values: dict[int, int]) -> None:
        """Obey the server's settings."""
        self._settled = True
        self.streams_max = values.get(http2.MAX_CONCURRENT_STREAMS, self.streams_max)
        self._frame_bytes_max = values.get(http2.MAX_FRAME_SIZE, self._frame_bytes_max)
        self._header_table_bytes = values.get(http2.HEADER_TABLE_SIZE, self._header_table_bytes)
        window = values.get(http2.INITIAL_WINDOW_SIZE, self._stream_window)
        for stream in self._windows:
            self._windows[stream] += window - self._stream_window
        self._stream_window = window
        self._room = min(window, self._frame_bytes_max)
        self._out.append(http2.frame(http2.SETTINGS, http2.ACK, 0, b""))
        self._send_waiting()
        self.flush()

    def _widen(self, stream: int, increment: int) -> None:
        if stream == 0:
            self._window += increment
        elif stream in self._windows:
            self._windows[stream] += increment
        if self._waiting:
            self._send_waiting()

    def lose(self, reason: str) -> None:
        """This connection is of no use any more."""
        if self.lost is None:
            self.lost = f"{self._target.endpoint}: {reason}"
            self.on_lost()
