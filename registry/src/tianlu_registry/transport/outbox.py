"""Messages that wait for one member's connection. No I/O."""

from __future__ import annotations

from collections import deque
from typing import Final

from tianlu_registry.transport.frames import HEADER_BYTES, FrameKind, frame_header

BATCH_BYTES: Final = 1024 * 1024
"""About what one write takes."""


class Outbox:
    """A queue of encoded messages, bounded in bytes and in number.

    One message always fits into an empty queue: what is larger than a frame may be is the sender's
    business.
    """

    def __init__(self, bytes_max: int, messages_max: int) -> None:
        self._bytes_max = bytes_max
        self._messages_max = messages_max
        self._bodies: deque[bytes] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._bodies)

    def push(self, body: bytes) -> bool:
        """Add a message at the end; False if there is no room."""
        size = HEADER_BYTES + len(body)
        if self._bodies and (
            self.bytes + size > self._bytes_max or len(self._bodies) >= self._messages_max
        ):
            return False
        self._bodies.append(body)
        self.bytes += size
        return True

    def pop_batch(self) -> tuple[list[bytes], int]:
        """Take messages from the front: what to write, and its size. Empty if there is none."""
        buffers: list[bytes] = []
        size = 0
        while self._bodies and size < BATCH_BYTES:
            body = self._bodies.popleft()
            buffers += (frame_header(FrameKind.MESSAGE, len(body)), body)
            size += HEADER_BYTES + len(body)
        self.bytes -= size
        return buffers, size

    def clear(self) -> int:
        """Drop everything; return how many messages that were."""
        count = len(self._bodies)
        self._bodies.clear()
        self.bytes = 0
        return count
