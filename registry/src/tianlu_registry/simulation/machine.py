"""The production state machine of a simulated member, and its position in the log.

`node.machine.StateMachine` does no I/O, so it is what runs here: commands as a node encodes them,
on the cores of keys, leases and watches. Only the database beneath is simulated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

from google.protobuf.message import Message as ProtobufMessage

from tianlu._proto.etcd.rpc_pb2 import RangeRequest
from tianlu_registry.auth import AuthStore
from tianlu_registry.errors import InputError
from tianlu_registry.lease import Lessor
from tianlu_registry.mvcc import Change, MvccStore, WatchHub
from tianlu_registry.mvcc.restore import rebuild
from tianlu_registry.mvcc.revision import REVISION_KEY_BYTES
from tianlu_registry.node import command
from tianlu_registry.node.cluster_state import ClusterState
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.identity import Identity
from tianlu_registry.node.machine import StateMachine
from tianlu_registry.node.membership import Membership
from tianlu_registry.raft import ConfState, Entry, EntryType, MemberId
from tianlu_registry.simulation.backend import MemoryBackend, Saved

CLUSTER_ID: Final = 1
REQUEST_SHOWN_MAX: Final = 120
ALL_KEYS: Final = RangeRequest(key=b"\0", range_end=b"\0")


@dataclass(frozen=True)
class Outcome:
    """What came of an entry.

    Attributes:
        kind, request: the command; None for an entry that is none.
        response: the answer, or None and `error`.
        revision: the store's, afterwards.
        changes: told to the watchers.
    """

    revision: int
    kind: CommandKind | None = None
    request: Request | None = None
    response: Any = None
    error: InputError | None = None
    changes: Sequence[Change] = ()

    def __str__(self) -> str:
        if self.kind is None:
            return ""
        request = str(self.request).replace("\n", " ")[:REQUEST_SHOWN_MAX]
        error = f" -> {type(self.error).__name__}" if self.error else ""
        return f" {self.kind.name} {request}{error} (revision {self.revision})"

    def digest(self, entry: Entry, before: int) -> int:
        """Return a digest of the entry, of this, and of all before."""
        answer = b"" if self.response is None else _without_member(self.response)
        head = (
            f"{entry.term} {entry.index} {entry.type} {type(self.error)} {self.revision}".encode()
        )
        digest = crc32(entry.data, crc32(answer, crc32(head, before)))
        for change in self.changes:
            digest = crc32(change.record, crc32(b"%d" % change.packed, digest))
        return digest


class Machine:
    """A state machine at a log position.

    Args:
        saved: what it is restored from.
        member_id: whose it is.
        seconds: its member's monotonic clock.
        on_lagging: see `WatchHub`.

    Attributes:
        index, term, conf_state: the position, and the membership as of it.
        chain: digest of all that was applied up to there.
    """

    def __init__(
        self,
        saved: Saved,
        member_id: MemberId,
        seconds: Callable[[], float],
        *,
        lease_ttl_seconds_min: int,
        on_lagging: Callable[[], None],
    ) -> None:
        self._take_position(saved)
        self._backend = MemoryBackend(saved)
        self.lessor = Lessor(self._backend, ttl_seconds_min=lease_ttl_seconds_min)
        self.mvcc = MvccStore(self._backend, self.lessor)
        self.hub = _ObservedHub(self.mvcc, on_lagging)
        self._core = StateMachine(
            self.mvcc,
            self.lessor,
            self.hub,
            ClusterState(self._backend, Membership()),  # the simulation's members have no names
            Identity(CLUSTER_ID, member_id),
            seconds,
            auth=AuthStore(self._backend),
        )

    def replace(self, saved: Saved) -> None:
        """Go on with the state of a raft_snapshot."""
        self._backend.replace(saved)
        self._core.reload(rebuild(self._backend.scan(b"", b"\xff" * REVISION_KEY_BYTES)))
        self._take_position(saved)

    def _take_position(self, saved: Saved) -> None:
        self.index = saved.index
        self.term = saved.term
        self.conf_state = saved.conf_state
        self.chain = saved.chain

    def apply(self, entry: Entry, conf_state: ConfState) -> Outcome:
        """Apply the next entry.

        Args:
            conf_state: the membership after it.
        """
        outcome = Outcome(self.mvcc.revision)
        if entry.data and entry.type is EntryType.NORMAL:
            outcome = self._apply_command(entry.data)
        self.chain = outcome.digest(entry, self.chain)
        self.index, self.term, self.conf_state = entry.index, entry.term, conf_state
        return outcome

    def _apply_command(self, data: bytes) -> Outcome:
        kind, request = command.decode(data)
        self.hub.published = ()
        try:
            response = self._core.apply(kind, request)
        except InputError as error:
            return Outcome(self.mvcc.revision, kind, request, error=error)
        return Outcome(self.mvcc.revision, kind, request, response, changes=self.hub.published)

    def freeze(self) -> Saved:
        """Return the state as a copy to be saved or sent."""
        return self._backend.freeze(self.conf_state, self.index, self.term, self.chain)

    def digest(self) -> int:
        """Return a digest of what every member at this position must hold alike.

        Records that a compaction has yet to remove are no part of it: that is each member's own
        work.
        """
        mvcc = self.mvcc
        digest = crc32(f"{mvcc.revision} {mvcc.compact_revision}".encode())
        for kv in mvcc.range(ALL_KEYS).kvs:
            digest = crc32(kv.SerializeToString(), digest)
        first = max(mvcc.compact_revision, 0) + 1
        changes, _ = mvcc.changes_since(first, mvcc.revision, sys.maxsize, sys.maxsize)
        for change in changes:
            digest = crc32(change.record, crc32(b"%d" % change.packed, digest))
        for lease_id in sorted(self.lessor.ids()):
            lease = self.lessor.lookup(lease_id)
            held = lease and (lease.ttl_seconds, lease.remaining_seconds, sorted(lease.keys))
            digest = crc32(f"{lease_id} {held}".encode(), digest)
        return digest


class _ObservedHub(WatchHub):
    """A hub that keeps what was last published.

    Attributes:
        published: those changes.
    """

    published: Sequence[Change] = ()

    def publish(self, revision: int, changes: Sequence[Change]) -> None:
        self.published = changes
        super().publish(revision, changes)


def _without_member(response: ProtobufMessage) -> bytes:
    """Return an answer's bytes but for who gave it."""
    copy = type(response)()
    copy.CopyFrom(response)
    header = copy.header  # type: ignore[attr-defined]  # every answer has one
    header.ClearField("member_id")
    header.ClearField("raft_term")
    return copy.SerializeToString(deterministic=True)
