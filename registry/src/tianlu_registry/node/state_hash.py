"""The rolling state hash: one number that says what applying the log has done so far.

Every effect of an applied entry on replicated state (records put, leases put and deleted, members,
alarms, the compact revision) is chained into a CRC-32. Members that have applied the same entries
have the same number; one whose state went another way, by a bug, a bad disk or bad memory, never
comes back to it: given the same further effects, different CRCs stay different. What a member does
in its own time (removing what compaction made useless) is not part of it.

The number is kept with the state: it is stored with each commit's log position, so that a restart
and a raft_snapshot carry on the chain. A database that holds none for its position (an older
program wrote it) begins a new chain there, and chains that began at different positions are not
compared.

The ledger remembers the number at indexes that all members pass, multiples of
`LEDGER_STRIDE`, so that two members can compare even while one lags. Why CRC-32 and what all this
costs: docs/adr/0015.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Final, Protocol
from zlib import crc32

from tianlu_registry.auth.records import NAMES as AUTH_NAMES
from tianlu_registry.errors import Corrupt, InvalidArgument
from tianlu_registry.raft.types import Index
from tianlu_registry.storage.write_observer import WriteObserver

LEDGER_STRIDE: Final = 256
"""The ledger has an entry at every multiple of this: a power of two."""

LEDGER_ENTRIES: Final = 64
"""Newest entries kept: 16,384 log entries back. A member that lags more can be compared when it
has caught up: a chain that differs goes on differing."""

REPORTED_ENTRIES: Final = 16
"""Newest indexes between the strides at which this member has reported, kept so that what one
report said is also in the next ones."""

FORMAT: Final = 1
"""What is chained, and how. Members that chain otherwise are not compared."""

REPLICATED_NAMES: Final = AUTH_NAMES | {b"compact_scheduled", b"membership", b"alarms"}
"""Named values that are changed by entries alone."""

_META: Final = b"state_hash"
_STORED: Final = Struct(">BQQI")  # format, chain, index, hash
_HEAD: Final = Struct(">BQH")  # format, chain, number of points
_POINT: Final = Struct(">QI")  # index, hash


class HashedBackend(Protocol):
    """What the hash needs of the backend."""

    observer: WriteObserver

    def get_meta(self, name: bytes) -> bytes | None: ...

    def put_meta(self, name: bytes, value: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class HashReport:
    """What one member says of its state.

    Attributes:
        chain: log index at which its chain began; 0 is the beginning of the log.
        points: the hash at log indexes.
        format: see `FORMAT`.
    """

    chain: Index
    points: Mapping[Index, int]
    format: int = FORMAT

    def encode(self) -> bytes:
        head = _HEAD.pack(self.format, self.chain, len(self.points))
        return head + b"".join(_POINT.pack(*point) for point in self.points.items())

    @classmethod
    def decode(cls, data: bytes) -> HashReport:
        """Read what another member has encoded; points of another format are left out.

        Raises:
            InvalidArgument: it is no report.
        """
        try:
            written_as, chain, count = _HEAD.unpack_from(data)
            if written_as != FORMAT:
                return cls(Index(chain), {}, written_as)
            points = dict(_POINT.iter_unpack(data[_HEAD.size :]))
        except StructError as error:
            raise InvalidArgument("state_hash", f"{len(data)} bytes are no report") from error
        if len(points) != count:
            raise InvalidArgument("state_hash", f"{len(points)} points where {count} are announced")
        return cls(Index(chain), {Index(index): value for index, value in points.items()})


class StateHash:
    """Implements `WriteObserver`: the chain of one member's state.

    Effects wait in a list and are chained together at the next stride or commit, which is cheaper
    than one by one and gives the same number. At most the effects of `LEDGER_STRIDE` entries
    wait; the backend holds the same bytes for its next commit.

    Args:
        backend: whose writes are chained from now on. Nothing was applied since its last commit.
        applied: the log index of that commit.
    """

    def __init__(self, backend: HashedBackend, applied: Index) -> None:
        self._backend = backend
        self._effects: list[bytes] = []
        self.wrote_record: Callable[[bytes], object] = self._effects.append
        self._ledger: deque[tuple[Index, int]] = deque(maxlen=LEDGER_ENTRIES)
        self._reported: deque[tuple[Index, int]] = deque(maxlen=REPORTED_ENTRIES)
        self._hash = 0
        self.chain = applied
        backend.observer = self
        self.replaced(applied)

    def mark(self, index: Index) -> None:
        """Put the hash into the ledger. The entry at `index` has just been applied, no later one:
        called for every multiple of `LEDGER_STRIDE`."""
        self._ledger.append((index, self.value()))

    def value(self) -> int:
        """Return the hash of everything applied so far."""
        if self._effects:
            self._hash = crc32(b"".join(self._effects), self._hash)
            self._effects.clear()
        return self._hash

    def report(self, applied: Index) -> HashReport:
        """Return what can be compared with others: the ledger, the hash at present, and what the
        last reports said.

        Args:
            applied: the newest entry applied.
        """
        now = (applied, self.value())
        if now not in self._reported:
            self._reported.append(now)
        return HashReport(self.chain, dict([*self._ledger, *self._reported]))

    # What the backend tells

    def wrote_lease(self, key: bytes, record: bytes | None) -> None:
        self._effects.append(b"-" + key if record is None else b"+" + key + record)

    def wrote_named(self, name: bytes, value: bytes) -> None:
        if name in REPLICATED_NAMES:
            self._effects.append(name + value)

    def freezing(self, index: int) -> None:
        self._backend.put_meta(_META, _STORED.pack(FORMAT, self.chain, index, self.value()))

    def replaced(self, index: int) -> None:
        """Go on with the chain that the backend holds now."""
        self._effects.clear()
        self._ledger.clear()
        self._reported.clear()
        self.chain, self._hash = Index(index), 0
        stored = self._backend.get_meta(_META)
        if stored is None:
            return
        try:
            written_as, chain, at, value = _STORED.unpack(stored)
        except StructError as error:
            raise Corrupt(f"the record of the state hash cannot be read: {stored!r}") from error
        if written_as == FORMAT and at == index:
            self.chain, self._hash = Index(chain), value
