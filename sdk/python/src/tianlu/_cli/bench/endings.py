"""How late leases end that nobody renews, seen by a watch of the keys that hang on them."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from tianlu._cli.bench.connection import Connection
from tianlu._cli.bench.http2 import PREFIX_BYTES, Outcome, grpc_message
from tianlu._cli.bench.load import NANOSECONDS, Tally
from tianlu._cli.bench.operations import PUT
from tianlu._cli.bench.stream_tasks import Poller
from tianlu._cli.bench.streams import WatchConnection, check_watches
from tianlu._cli.bench.target import Target
from tianlu._cli.bench.workers import Post
from tianlu._errors import Conflict, DeadlinePassed
from tianlu._proto.etcd import rpc_pb2 as etcd

GRANT: Final = "/etcdserverpb.Lease/LeaseGrant"

_TTL_SECONDS: Final = 2
"""What etcd grants at least, by its default election timeout."""

_AT_ONCE: Final = 16
_KEY_DIGITS: Final = 8
_LATE_SECONDS_MAX: Final = 30.0


@dataclass(frozen=True, slots=True)
class EndingTask:
    """Leases that are left to end: one worker.

    Attributes:
        prefix: of their keys; ends with a slash.
        first: id of the first lease; the others follow.
        count: how many.
    """

    target: Target
    prefix: bytes
    first: int
    count: int

    def run(self, post: Post) -> Tally:
        """Latencies are from when a lease was due, by the time at which its grant was answered, to
        the event of its key's deletion."""
        watch = _EndingConnection(self.target, self.prefix)
        granter = _GrantConnection(self.target, self, watch.due)
        watch.watch([(self.prefix, self.prefix[:-1] + b"0")])
        poller = Poller([watch, granter])
        self._wait_created(poller, watch)
        post.ready()
        granter.begin()

        def over() -> bool:
            post.report(watch.tally.done)
            if granter.refused or granter.lost or watch.lost:
                return True
            return post.stopped() or watch.tally.done == self.count or self._is_late(watch, granter)

        poller.until(over)
        for connection in (watch, granter):
            connection.close()
        if granter.refused or granter.lost or watch.lost:
            raise Conflict(granter.refused or granter.lost or watch.lost or "")
        if not post.stopped():
            for _ in range(self.count - watch.tally.done):
                watch.tally.fail(Outcome(4, "a lease did not end in time"))
        return watch.tally

    def _wait_created(self, poller: Poller, watch: WatchConnection) -> None:
        deadline = time.monotonic() + self.target.timeout_seconds

        def over() -> bool:
            check_watches([watch])
            if time.monotonic() > deadline:
                raise DeadlinePassed(f"{self.target.endpoint}: the watch was not made in time")
            return watch.created > 0

        poller.until(over)
        watch.count_events()

    def _is_late(self, watch: _EndingConnection, granter: _GrantConnection) -> bool:
        """Whether all are long overdue, or the grants are not answered."""
        reference = max(watch.due.values(), default=granter.began)
        return time.monotonic_ns() - reference > _LATE_SECONDS_MAX * NANOSECONDS


class _GrantConnection(Connection):
    """Grants leases and puts a key on each, some at once.

    Args:
        due: told when each lease is due to end, by its number (monotonic_ns).

    Attributes:
        began: when the first was asked for.
        refused: why the server did not do it; "" if it did.
    """

    def __init__(self, target: Target, task: EndingTask, due: dict[int, int]) -> None:
        self.began = 0
        self.refused = ""
        self._task = task
        self._due = due
        self._next = 0
        self._granting: dict[int, int] = {}  # number of the lease by stream
        super().__init__(target)

    def begin(self) -> None:
        """Ask for the first ones."""
        self.began = time.monotonic_ns()
        for _ in range(min(_AT_ONCE, self._task.count)):
            self._grant()
        self.flush()

    def on_data(self, stream: int, data: bytes, start: int, end: int) -> None:
        number = self._granting.get(stream)
        if number is not None:
            granted = etcd.LeaseGrantResponse.FromString(data[start + PREFIX_BYTES : end])
            self._due[number] = self.now + granted.TTL * NANOSECONDS

    def on_end(self, stream: int, outcome: Outcome) -> None:
        if outcome.status != 0:
            self.refused = self.refused or str(outcome)
            return
        number = self._granting.pop(stream, None)
        if number is None:
            self._grant()
        else:
            self._put(number)

    def _grant(self) -> None:
        if self._next < self._task.count:
            lease = self._task.first + self._next
            request = etcd.LeaseGrantRequest(ID=lease, TTL=_TTL_SECONDS)
            message = grpc_message(request.SerializeToString())
            self._granting[self.open_stream(GRANT, message, end=True)] = self._next
            self._next += 1

    def _put(self, number: int) -> None:
        key = b"%b%0*d" % (self._task.prefix, _KEY_DIGITS, number)
        request = etcd.PutRequest(key=key, lease=self._task.first + number)
        self.open_stream(PUT, grpc_message(request.SerializeToString()), end=True)


class _EndingConnection(WatchConnection):
    """A watch of the keys.

    Attributes:
        due: when each lease is due to end, by its number (monotonic_ns).
        tally: counts the keys that were deleted, and how much later than due.
    """

    def __init__(self, target: Target, prefix: bytes) -> None:
        self.due: dict[int, int] = {}
        self.tally = Tally()
        self._seen: Counter[bytes] = Counter()
        pattern = re.compile(re.escape(prefix) + b"([0-9]{%d})" % _KEY_DIGITS)
        super().__init__(target, pattern, self.tally.histogram("end"))

    def on_found(self, found: list[bytes]) -> None:
        """Count deletions: of the two events of each key the second."""
        for number in found:
            self._seen[number] += 1
            if self._seen[number] == 2:
                self.tally.done += 1
                self.tally.last = self.now
                self.tally.histogram("end").record(self.now - self.due[int(number)])
