"""Connections with long-lived streams: watches that count events, and leases kept alive."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tianlu._cli.bench.connection import BROKEN, Connection
from tianlu._cli.bench.histogram import Histogram
from tianlu._cli.bench.http2 import PREFIX_BYTES, Outcome, grpc_message
from tianlu._cli.bench.load import Tally
from tianlu._cli.bench.target import Target
from tianlu._errors import LimitReached, NotAllowed, ProtocolError
from tianlu._proto.etcd import rpc_pb2 as etcd

WATCH: Final = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE: Final = "/etcdserverpb.Lease/LeaseKeepAlive"
_STAMP_DIGITS: Final = 16


class StreamConnection(Connection):
    """A connection whose streams carry messages until it is closed."""

    def __init__(self, target: Target) -> None:
        self._parts: dict[int, bytes] = {}
        super().__init__(target)

    def open_streams(self, path: str, messages: Sequence[bytes]) -> list[int]:
        """Open a stream for each first message.

        Raises:
            LimitReached: the server does not allow so many on one connection.
        """
        if len(messages) > self.streams_max:
            raise LimitReached(
                f"{self._target.endpoint} allows {self.streams_max} streams on a connection, not "
                f"{len(messages)}: raise --connections"
            )
        streams = [self.open_stream(path, message, end=False) for message in messages]
        self.received.update(dict.fromkeys(streams, 0))
        return streams

    def on_data(self, stream: int, data: bytes, start: int, end: int) -> None:
        self.received[stream] += end - start
        if stream in self._parts:
            data = self._parts.pop(stream) + data[start:end]
            start, end = 0, len(data)
        while end - start >= PREFIX_BYTES:
            next_start = start + PREFIX_BYTES + int.from_bytes(data[start + 1 : start + 5], "big")
            if next_start > end:
                break
            self.on_message(stream, data, start + PREFIX_BYTES, next_start)
            start = next_start
        if start < end:
            self._parts[stream] = data[start:end]

    def on_message(self, stream: int, data: bytes, start: int, end: int) -> None:
        """Handle a message: `data[start:end]`."""

    def on_end(self, stream: int, outcome: Outcome) -> None:
        self.lose(f"a stream ended: {outcome}")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What stands in the values of a run: who wrote them and when.

    Attributes:
        run: sets this run's values apart from others'.
    """

    run: str

    def value(self, moment: int, value_bytes: int) -> bytes:
        """Return a value written at a moment, time.monotonic_ns."""
        text = b"%b%0*x" % (self._mark, _STAMP_DIGITS, moment)
        return text.ljust(value_bytes, b".")

    @property
    def bytes_min(self) -> int:
        """The size of the smallest value."""
        return len(self._mark) + _STAMP_DIGITS

    @property
    def pattern(self) -> re.Pattern[bytes]:
        """Finds the moments, hexadecimal."""
        return re.compile(re.escape(self._mark) + b"([0-9a-f]{%d})" % _STAMP_DIGITS)

    @property
    def _mark(self) -> bytes:
        return f"tianlu-bench {self.run} ".encode()


class WatchConnection(StreamConnection):
    """Watches, one on each stream, whose events are found by what the values say.

    Decoding each message would cost more than the servers spend on it. Both put whole messages into
    a frame, nearly always; then one search goes through all that was read at once.

    Attributes:
        created: how many watches the server has confirmed.
        events: how many events came.
        refused: why the server did not make a watch; "" if it made all.
    """

    def __init__(self, target: Target, pattern: re.Pattern[bytes], delays: Histogram) -> None:
        self.created = self.events = 0
        self.refused = ""
        self._find = pattern.findall
        self._delays = delays
        self._cut: list[tuple[int, int]] = []
        self._loose: list[bytes] = []
        self._counting = False
        super().__init__(target)

    def watch(self, ranges: Sequence[tuple[bytes, bytes]]) -> None:
        """Open a watch for each (key, range_end)."""
        messages = []
        for key, end in ranges:
            create = etcd.WatchCreateRequest(key=key, range_end=end)
            request = etcd.WatchRequest(create_request=create)
            messages.append(grpc_message(request.SerializeToString()))
        self.open_streams(WATCH, messages)

    def count_events(self) -> None:
        """From now on only count: all watches are there."""
        self._counting = True

    def on_data(self, stream: int, data: bytes, start: int, end: int) -> None:
        if (
            self._counting
            and stream not in self._parts
            and start + PREFIX_BYTES + int.from_bytes(data[start + 1 : start + 5], "big") == end
        ):
            self.received[stream] += end - start
            return  # one whole message: `_parse` finds what is in it
        self._cut.append((start, end))
        super().on_data(stream, data, start, end)

    def on_message(self, stream: int, data: bytes, start: int, end: int) -> None:
        message = data[start:end]
        if not self._counting:
            self._look_at(etcd.WatchResponse.FromString(message))
        self._loose.append(message)

    def _look_at(self, response: etcd.WatchResponse) -> None:
        if response.canceled:
            self.refused = response.cancel_reason or "canceled"
        elif response.created:
            self.created += 1

    def _parse(self, data: bytes) -> int:
        kept_from = end = super()._parse(data)
        if self._cut:
            data = self._mended(data, end)
            end = len(data)
        found = self._find(data, 0, end)
        if found:
            self.on_found(found)
        return kept_from

    def _mended(self, data: bytes, end: int) -> bytes:
        """Return `data[:end]` with whole messages in place of frames that held parts of some."""
        kept, position = [], 0
        for start, stop in self._cut:
            kept.append(data[position:start])
            position = stop
        kept.append(data[position:end])
        mended = b" ".join((*kept, *self._loose))
        self._cut.clear()
        self._loose.clear()
        return mended

    def on_found(self, found: list[bytes]) -> None:
        """Count what the pattern has found in what was read."""
        self.events += len(found)
        for moment, count in Counter(found).items():
            self._delays.record(self.now - int(moment, 16), count)


class KeepAliveConnection(StreamConnection):
    """Leases kept alive: each stream renews its share in turn, some renewals at once.

    Args:
        ttl_seconds: what the server granted; an answer with another is looked at.
        tally: told of each answer.
    """

    def __init__(self, target: Target, ttl_seconds: int, tally: Tally) -> None:
        self._tally = tally
        self._histogram = tally.histogram("renew")
        # The field TTL at the end of an answer, as long as it takes one byte.
        self._good = bytes((0x18, ttl_seconds)) if ttl_seconds < 0x80 else None
        self._renewals: dict[int, deque[bytes]] = {}
        self._since: dict[int, deque[int]] = {}
        self._pausing: list[int] = []
        self._may_renew = True
        super().__init__(target)

    @property
    def waiting(self) -> int:
        """How many renewals have no answer yet."""
        return sum(len(since) for since in self._since.values())

    def keep(self, shares: Sequence[Sequence[int]], at_once: int) -> None:
        """Open a stream for each share of leases, and begin to renew."""
        first = []
        rings = []
        for leases in shares:
            ring = deque(
                grpc_message(etcd.LeaseKeepAliveRequest(ID=lease).SerializeToString())
                for lease in leases
            )
            rings.append(ring)
            first.append(ring[0])
            ring.rotate(-1)
        now = time.monotonic_ns()
        for stream, ring in zip(self.open_streams(KEEP_ALIVE, first), rings, strict=True):
            self._renewals[stream] = ring
            self._since[stream] = deque([now])
            for _ in range(at_once - 1):
                self._renew(stream)

    def pause(self) -> None:
        """Begin no other renewal."""
        self._may_renew = False

    def on_message(self, stream: int, data: bytes, start: int, end: int) -> None:
        since = self._since[stream].popleft()  # a stream is answered in order
        if data[end - 2 : end] == self._good or self._is_alive(data[start:end]):
            self._tally.done += 1
            self._histogram.record(self.now - since)
        else:
            self._tally.fail(Outcome(5, "a lease had ended"))
        self._tally.last = self.now
        if self._may_renew:
            self._renew(stream)

    def _is_alive(self, message: bytes) -> bool:
        return etcd.LeaseKeepAliveResponse.FromString(message).TTL > 0

    def _renew(self, stream: int) -> None:
        ring = self._renewals[stream]
        self._since[stream].append(time.monotonic_ns())
        self.send(stream, ring[0])
        ring.rotate(-1)

    def on_lost(self) -> None:
        for since in self._since.values():
            for _ in since:
                self._tally.fail(BROKEN)
            since.clear()


def check_watches(connections: Sequence[WatchConnection]) -> None:
    """Raise what is wrong with watches that are being made.

    Raises:
        NotAllowed: the server refused one.
        ProtocolError: a connection broke.
    """
    for connection in connections:
        if connection.refused:
            raise NotAllowed(f"the server refused a watch: {connection.refused}")
        if connection.lost:
            raise ProtocolError(connection.lost)
