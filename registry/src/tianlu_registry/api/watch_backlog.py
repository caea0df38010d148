"""What all watch streams together may leave unsent.

Each stream may have so much that its connection has not taken; all of them together would still be
without a bound. So what a stream may have shrinks as the whole fills up: to a `_SHARE`th of what is
left. Those that have more than that are refused first, and they are the slowest; what is left
serves the others. With n streams that take nothing, each comes to a stand at

    bytes_max / (n + _SHARE)

and the rest of `bytes_max` is never used up. Until the whole comes near its bound, none of this is
noticed, and costs two additions a write.

Source: A. Choudhury, E. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches",
IEEE/ACM Transactions on Networking 6(2), 1998.
"""

from __future__ import annotations

from typing import Final, Protocol

BACKLOG_BYTES_MAX: Final = 256 * 1024 * 1024
STREAM_BACKLOG_BYTES_MAX: Final = 512 * 1024

_SHARE: Final = 64


class Waiting(Protocol):
    """A stream that has been refused."""

    def on_room(self) -> None:
        """There is room again, for this stream too."""
        ...


class WatchBacklog:
    """The bytes that are unsent, and how many more a stream may add.

    Args:
        bytes_max: of all streams together; exceeded by one batch at most, and by the few words that
            say that watches have ended.
        stream_bytes_max: of one.

    Attributes:
        bytes: unsent now.
        stream_limit: a stream that has so many, or more, must wait.
    """

    def __init__(
        self,
        bytes_max: int = BACKLOG_BYTES_MAX,
        stream_bytes_max: int = STREAM_BACKLOG_BYTES_MAX,
    ) -> None:
        self.bytes = 0
        self.stream_limit = stream_bytes_max
        self._bytes_max = bytes_max
        self._stream_bytes_max = stream_bytes_max
        self._unnoticed = max(bytes_max - _SHARE * stream_bytes_max, 0)
        self._waiting: dict[Waiting, None] = {}

    @property
    def waiting(self) -> int:
        """Streams that wait for what others leave."""
        return len(self._waiting)

    def add(self, size: int) -> None:
        """A stream has written."""
        self.bytes += size
        if self.bytes > self._unnoticed:
            self._set_limit()

    def remove(self, size: int) -> None:
        """A connection has taken what a stream had written, or is gone."""
        self.bytes -= size
        if self.stream_limit < self._stream_bytes_max or self._waiting:
            self._set_limit()
            self._wake()

    def wait(self, stream: Waiting) -> None:
        """Tell a stream that has nothing unsent, and so hears nothing from its own connection, when
        the others have left room."""
        self._waiting[stream] = None

    def forget(self, stream: Waiting) -> None:
        """A stream waits no more."""
        self._waiting.pop(stream, None)

    def _set_limit(self) -> None:
        left = max(self._bytes_max - self.bytes, 0)
        self.stream_limit = min(left // _SHARE, self._stream_bytes_max)

    def _wake(self) -> None:
        """Let those go on that have waited longest, while there is room for one."""
        while self._waiting and self.stream_limit > 0:
            stream = next(iter(self._waiting))
            del self._waiting[stream]
            stream.on_room()
