"""Thousands of gRPC watch streams held by one process that only counts what arrives.

A gRPC library would cost more per message than the servers under measurement, so this speaks
just enough HTTP/2 itself: it opens streams, sends one message on each, and reads frame headers.

Source: RFC 9113 (frames, settings, flow control), RFC 7541 section 6.2.2 (literals).
"""

from __future__ import annotations

import selectors
import socket
import struct
import time

_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_HEADERS, _ACK = 0x4, 0x1
_LARGEST_WINDOW = 2**31 - 1
_INITIAL_WINDOW_SIZE = 4


class Connection:
    """One HTTP/2 connection with several streams, each with one request message and no end."""

    def __init__(self, port: int, path: str, message: bytes, streams: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        body = struct.pack(">BI", 0, len(message)) + message
        out = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)),
            _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _LARGEST_WINDOW - 65535)),
        ]
        for number in range(streams):
            stream = 1 + 2 * number
            out.append(_frame(_HEADERS, _END_HEADERS, stream, _request_headers(port, path)))
            out.append(_frame(_DATA, 0, stream, body))
        self.socket.sendall(b"".join(out))

    def read(self, mark: bytes) -> int:
        """Read what has arrived; return how many gRPC messages are in it, or marks if one is given.

        Args:
            mark: bytes that stand once in every event, such as its key. A server may put several
                events into one message, and counting bytes is cheaper than decoding messages.
        """
        chunk = self.socket.recv(1 << 18)
        if not chunk:
            raise SystemExit("the server closed a watch connection")
        data = self._rest + chunk
        position, count, size = 0, 0, len(data)
        while size - position >= 9:
            length = int.from_bytes(data[position : position + 3], "big")
            end = position + 9 + length
            if end > size:
                break
            kind, flags = data[position + 3], data[position + 4]
            if kind == _DATA and length and not mark:
                count += _messages(data, position + 9, end)
            elif kind == _SETTINGS and not flags & _ACK:
                self.socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                self.socket.sendall(_frame(_PING, _ACK, 0, data[position + 9 : end]))
            position = end
        self._rest = data[position:]
        return data.count(mark, 0, position) if mark else count


def _request_headers(port: int, path: str) -> bytes:
    """Encode the headers as literals that are not indexed, so that every block stands alone."""
    fields = [
        *((":method", "POST"), (":scheme", "http"), (":path", path)),
        *((":authority", f"127.0.0.1:{port}"), ("content-type", "application/grpc")),
        ("te", "trailers"),
    ]
    return b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields
    )


def _messages(data: bytes, position: int, end: int) -> int:
    """Count the whole gRPC messages in a DATA frame; both servers put whole messages in one."""
    count = 0
    while position < end:
        position += 5 + int.from_bytes(data[position + 1 : position + 5], "big")
        count += 1
    return count


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Streams:
    """Watch streams over several connections."""

    def __init__(
        self, port: int, path: str, message: bytes, *, connections: int, streams: int
    ) -> None:
        self._selector = selectors.DefaultSelector()
        for _ in range(connections):
            connection = Connection(port, path, message, streams // connections)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def receive(self, count: int, mark: bytes = b"", seconds: float = 60.0) -> list[float]:
        """Wait for `count` messages, or marks; return the moment (time.monotonic) of each.

        Raises:
            SystemExit: they did not all come in time.
        """
        deadline = time.monotonic() + seconds
        moments: list[float] = []
        while len(moments) < count:
            for key, _ in self._selector.select(max(0.0, deadline - time.monotonic())):
                arrived = key.data.read(mark)
                moments += [time.monotonic()] * arrived
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(moments)} of {count} came in {seconds:.0f} s")
        return moments

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
