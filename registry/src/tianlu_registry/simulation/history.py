"""What the cluster has done for its clients, and whether that is what it promised.

One true history is kept: of each log index, what the first member to apply it made of it. Every
other member must make the same of it, restarts and raft_snapshots included, and the model agrees.

    state machine safety     equal outcome and, where two are looked at, equal state at each index;
                             each proposal applied once at most; the state is what the model says
    acknowledged writes      stand in the log as they were answered, for good
    linearizable             an answer knows of all that was answered before it was asked for
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu._proto.etcd.rpc_pb2 import RangeResponse
from tianlu_registry.errors import Compacted
from tianlu_registry.mvcc import Change
from tianlu_registry.mvcc.revision import is_tombstone, main_of
from tianlu_registry.node import command
from tianlu_registry.raft import Entry, EntryType
from tianlu_registry.simulation.machine import Machine, Outcome
from tianlu_registry.simulation.model import Model, ModelEvent, error_of
from tianlu_registry.simulation.violation import require

if TYPE_CHECKING:
    from tianlu_registry.simulation.member import SimulatedMember

DIGEST_EVERY: Final = 16
"""Entries between two looks at a member's whole state."""


class History:
    """The true history.

    Attributes:
        model: keys and leases after the newest index that anybody has applied.
        events: all that ever happened to keys, in order.
        floor: the newest revision that any client has been told.
    """

    def __init__(self, seen: Counter[str]) -> None:
        self.model = Model()
        self.events: list[ModelEvent] = []
        self.floor = 1
        self._seen = seen
        self._chains = [0]
        self._digests: dict[int, int] = {}
        self._index_of: dict[int, int] = {}  # by proposal
        self._outcomes: dict[int, Outcome] = {}  # by index

    @property
    def applied_index(self) -> int:
        """The newest index that anybody has applied."""
        return len(self._chains) - 1

    # What members do

    def on_apply(self, member: SimulatedMember, entry: Entry, outcome: Outcome) -> bool:
        """See an entry applied. Returns whether this is the first time."""
        machine = member.machine
        is_first = entry.index == len(self._chains)
        if is_first:
            self._chains.append(machine.chain)
            self._learn(entry, outcome)
        self.check_chain(member, entry.index, machine.chain)
        if entry.index % DIGEST_EVERY == 0:
            self.check_digest(member, machine)
        return is_first

    def check_chain(self, member: SimulatedMember, index: int, chain: int) -> None:
        """Compare all that led to a state with what led to the others' at its index."""
        require(
            index < len(self._chains) and self._chains[index] == chain,
            f"state machine safety: {member.id} differs at {index}",
        )

    def check_digest(self, member: SimulatedMember, machine: Machine) -> None:
        """Compare a whole state with what others held at its index."""
        known = self._digests.setdefault(machine.index, machine.digest())
        require(
            known == machine.digest(),
            f"state machine safety: {member.id}'s state differs at {machine.index}",
        )
        self._seen["states compared"] += 1

    def check_restored(self, member: SimulatedMember) -> None:
        """Look at a state that has come from a disk or a raft_snapshot."""
        machine = member.machine
        self.check_chain(member, machine.index, machine.chain)
        self.check_digest(member, machine)

    def _learn(self, entry: Entry, outcome: Outcome) -> None:
        if not entry.data or entry.type is not EntryType.NORMAL:
            return
        proposal = command.proposal_id_of(entry.data)
        require(
            proposal not in self._index_of,
            f"state machine safety: proposal {proposal} is applied at "
            f"{self._index_of.get(proposal)} and {entry.index}",
        )
        self._index_of[proposal] = entry.index
        self._outcomes[entry.index] = outcome
        assert outcome.request is not None
        error, events = error_of(self.model, outcome.request)
        found = outcome.error and type(outcome.error)
        require(
            found is error,
            f"state machine safety: {entry.index} ends with {found}, not {error}",
        )
        require(
            _told(outcome.changes) == [(event.is_delete, event.kv) for event in events]
            and outcome.revision == self.model.revision,
            f"state machine safety: {entry.index} does {_keys(outcome.changes)}, "
            f"not {', '.join(map(str, events)) or 'nothing'}",
        )
        self.events += events
        self._seen["commands applied"] += 1
        self._seen["commands refused"] += error is not None

    # What clients are told

    def on_acknowledged(self, proposal: int, outcome: Outcome, floor: int) -> None:
        """See the answer to a write.

        Args:
            floor: what `floor` was when it was asked for.
        """
        index = self._index_of.get(proposal)
        require(index is not None, f"acknowledged writes: {proposal} is not in the log")
        assert index is not None
        true = self._outcomes[index]
        require(
            (outcome.revision, type(outcome.error)) == (true.revision, type(true.error)),
            f"acknowledged writes: {proposal} was answered otherwise than it was applied",
        )
        require(
            outcome.revision >= floor + bool(outcome.changes),
            f"linearizable: the write {proposal} has revision {outcome.revision}, but {floor} was "
            "known before it was asked for",
        )
        self.floor = max(self.floor, outcome.revision)
        self._seen["writes acknowledged"] += 1

    def on_read(self, key: bytes, response: RangeResponse, floor: int) -> None:
        """See the answer to a linearizable read of one key."""
        revision = response.header.revision
        require(
            revision >= floor,
            f"linearizable: a read of {key!r} at {revision}, but {floor} was known before it was "
            "asked for",
        )
        true = [event for event in self.events if event.key == key and event.revision <= revision]
        expected = [true[-1].kv] if true and not true[-1].is_delete else []
        require(
            list(response.kvs) == expected,
            f"linearizable: {key!r} at {revision} reads {_revisions(response.kvs)}, not "
            f"{_revisions(expected)}",
        )
        self.floor = max(self.floor, revision)
        self._seen["reads served"] += 1

    def check_compacted(self, next_revision: int, error: Compacted) -> None:
        """See a watcher told that what it needs next is gone."""
        require(
            next_revision < error.compact_revision <= self.model.compact_revision,
            f"watch completeness: revision {next_revision} is said to be compacted at "
            f"{error.compact_revision}, but {self.model.compact_revision} is",
        )


def _told(changes: Sequence[Change]) -> list[tuple[bool, KeyValue]]:
    for change in changes:
        kv = KeyValue.FromString(change.record)
        require(
            kv.mod_revision == main_of(change.packed),
            f"state machine safety: a record of revision {kv.mod_revision} at {change.packed}",
        )
    return [(is_tombstone(change.packed), KeyValue.FromString(change.record)) for change in changes]


def _keys(changes: Sequence[Change]) -> str:
    """Return changes in words."""
    return ", ".join(f"{main_of(c.packed)}: {c.key.decode()}" for c in changes) or "nothing"


def _revisions(kvs: Iterable[KeyValue]) -> str:
    return " ".join(f"revision {kv.mod_revision}" for kv in kvs) or "nothing"
