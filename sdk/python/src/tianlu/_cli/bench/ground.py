"""The keys that a benchmark may touch: those under a prefix that is empty or that a benchmark made.

A key of its own, the mark, says so. It is written before any other and deleted last, so what a run
that was killed leaves behind is known to the next, which clears it away.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Final

from tianlu._cli.bench.call import Caller
from tianlu._cli.bench.operations import DELETE, PUT, RANGE
from tianlu._cli.bench.phases import Watcher, phase
from tianlu._cli.bench.target import Target
from tianlu._errors import Conflict, InvalidInput
from tianlu._proto.etcd import rpc_pb2 as etcd

PREFIX_DEFAULT: Final = "tianlu-bench/"
_MARK: Final = b"!tianlu-bench"
_MADE_BY: Final = "tianlu bench"
_PAGE: Final = 5_000


class Ground:
    """A prefix, taken for the length of a run.

    Args:
        target: where they are. Each use connects anew: in between, nobody would answer its pings.
        prefix: of all keys; ends with a slash.
    """

    def __init__(self, target: Target, prefix: str) -> None:
        if not prefix.endswith("/") or prefix == "/":
            raise InvalidInput("--prefix", f"{prefix!r} must be a name that ends with a slash")
        self._target = target
        self.prefix = prefix.encode()

    @property
    def _end(self) -> bytes:
        return self.prefix[:-1] + b"0"  # the character after a slash

    def take(self) -> int:
        """Make sure that the keys are ours and mark them.

        Returns:
            How many keys of an earlier run are there.

        Raises:
            Conflict: somebody else's keys stand there.
        """
        mark = self.prefix + _MARK
        with closing(Caller(self._target)) as caller:
            held = caller.call(RANGE, etcd.RangeRequest(key=mark), etcd.RangeResponse)
            found = self._count(caller)
            if found and not (held.kvs and _is_ours(held.kvs[0].value)):
                raise Conflict(
                    f"{found:,} keys begin with {self.prefix.decode()!r}, and no benchmark made "
                    "them: choose another --prefix"
                )
            made = json.dumps({"made_by": _MADE_BY, "at": int(time.time())}).encode()
            caller.call(PUT, etcd.PutRequest(key=mark, value=made), etcd.PutResponse)
        return max(0, found - 1)

    def clear(self, watcher: Watcher) -> int:
        """Delete all keys, in pieces that no server stumbles over; returns how many."""
        with closing(Caller(self._target)) as caller:
            deleted, total = 0, self._count(caller)
            with phase(watcher, "deleting keys", total=total, seconds=None, unit="keys"):
                while piece := self._piece(caller):
                    deleted += _delete(caller, piece[0], piece[-1] + b"\0")
                    watcher.look(deleted)
                return deleted + _delete(caller, self.prefix + _MARK, b"")

    def _piece(self, caller: Caller) -> list[bytes]:
        """Return the first of our keys after the mark."""
        request = etcd.RangeRequest(
            key=self.prefix + _MARK + b"\0", range_end=self._end, limit=_PAGE, keys_only=True
        )
        return [kv.key for kv in caller.call(RANGE, request, etcd.RangeResponse).kvs]

    def _count(self, caller: Caller) -> int:
        request = etcd.RangeRequest(key=self.prefix, range_end=self._end, count_only=True)
        return caller.call(RANGE, request, etcd.RangeResponse).count


def _delete(caller: Caller, key: bytes, end: bytes) -> int:
    request = etcd.DeleteRangeRequest(key=key, range_end=end)
    return caller.call(DELETE, request, etcd.DeleteRangeResponse).deleted


def _is_ours(value: bytes) -> bool:
    try:
        mark = json.loads(value)
    except ValueError:
        return False
    return isinstance(mark, dict) and mark.get("made_by") == _MADE_BY
