"""What a member does for clients: proposals, reads, keep-alives and watches.

This is the shell's part beyond the consensus core. Where a rule matters to safety it is said here,
and `tests/simulation/mutations_service.py` breaks it:

1. A proposal is answered by the entry that carries its number, when that is applied.
2. It is made again only when it cannot have become an entry: an entry of a later term than that
   in which it was made is applied. Once a raft_snapshot was installed nobody can know: its outcome
   is unknown. The leader's own revocations are never made again (the id may be in use anew).
3. A read is served when the state machine is as far as the index that the core has confirmed.
4. A keep-alive is answered by a leader that has confirmed, after it came, that it still leads (a
   read index), and is as far. If the lease has a checkpoint then, or one on its way, another that
   clears it is applied first, and all begins again.
5. A leader counts leases only when an entry of its own term is applied: before, it may not know
   of grants, revocations and checkpoints that count.
6. A raft_snapshot replaces the store under the watchers: they read on in its history.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from tianlu._proto.etcd.rpc_pb2 import (
    LeaseCheckpoint,
    LeaseCheckpointRequest,
    RangeRequest,
    RangeResponse,
)
from tianlu_registry.errors import (
    LeaseNotFound,
    NoLeader,
    RegistryError,
    RequestTimeout,
)
from tianlu_registry.mvcc import Watcher, WatchSink, WatchSpec
from tianlu_registry.node import command
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.leases import LeaseKeeper, Propose
from tianlu_registry.raft import Entry, ReadState, Role, SoftState
from tianlu_registry.simulation.machine import Outcome

if TYPE_CHECKING:
    from tianlu_registry.simulation.member import SimulatedMember

PUMP_UNITS_MAX: Final = 15
"""Units of time between two steps of catching up, or of a compaction."""

STEP_MAX: Final = 5
"""Events, or keys, of such a step."""

Answered = Callable[[Outcome], None]


@dataclass
class _Proposal:
    """One that waits for its entry.

    Attributes:
        term: the member's when it was made.
        answered: told the outcome; never, if nobody can know it.
        is_repeated: whether it may be made again.
    """

    data: bytes
    term: int
    answered: Answered
    is_repeated: bool


@dataclass
class _Read:
    served: Callable[[], None]
    index: int | None = None


class Service:
    """What one incarnation of a member has promised and not done yet."""

    def __init__(self, member: SimulatedMember) -> None:
        self._member = member
        self._cluster = member.cluster
        self._proposals: dict[int, _Proposal] = {}
        self._reads: dict[int, _Read] = {}
        self._own: list[tuple[float, Future[Any]]] = []  # with the time by which it has failed
        self._pumping: set[str] = set()
        self._keeper = LeaseKeeper(member.machine.lessor, cast("Propose", self._propose_own))
        self._remove_compacted()

    # Writes

    def propose(
        self, kind: CommandKind, request: Request, answered: Answered, *, is_repeated: bool = True
    ) -> int | None:
        """Put a command into the log. Returns its number, or None if it will not be there."""
        number = self._cluster.next_number()
        data = command.encode(kind, number, request.SerializeToString())
        repeats = is_repeated and self._cluster.plan.retries
        term = self._member.node._raft.term
        self._proposals[number] = _Proposal(data, term, answered, repeats)
        if not self._member.call(lambda node: node.propose(data)):
            self._proposals.pop(number, None)
            return None
        self._cluster.seen["proposals taken"] += 1
        return number

    def on_outcome(self, entry: Entry, outcome: Outcome) -> None:
        """An entry is applied (rule 1)."""
        if outcome.kind is not None:
            proposal = self._proposals.pop(command.proposal_id_of(entry.data), None)
            if proposal is not None and proposal.data == entry.data:
                proposal.answered(outcome)
        if outcome.kind is CommandKind.COMPACTION and outcome.error is None:
            self._remove_compacted()
        if not self._keeper.leads and entry.term == self._leading_term():
            self._promote()

    def on_applied(self) -> None:
        """Some entries are applied, and the core knows."""
        self._serve_reads()
        self._propose_again()

    def _propose_again(self) -> None:
        """Rule 2."""
        applied_term = self._member.machine.term
        for proposal in list(self._proposals.values()):
            if not proposal.is_repeated or proposal.term >= applied_term:
                continue
            term, data = self._member.node._raft.term, proposal.data
            if self._member.call(lambda node, data=data: node.propose(data)):  # type: ignore[misc]
                proposal.term = term
                self._cluster.seen["proposals made again"] += 1

    def on_installed(self) -> None:
        """Another state machine is in the place of the one before (rules 2 and 6)."""
        self._forget_proposals()
        self._remove_compacted()
        self._serve_reads()

    def _forget_proposals(self) -> None:
        self._proposals.clear()

    # Reads

    def read(self, request: RangeRequest, served: Callable[[RangeResponse], None]) -> None:
        """Read at the newest state (rule 3)."""

        def serve() -> None:
            response = self._member.machine.mvcc.range(request)
            response.header.revision = self._member.machine.mvcc.revision
            served(response)

        self._confirm(serve)

    def _confirm(self, served: Callable[[], None]) -> None:
        """Call back when the state machine knows of all that was committed by now. Perhaps
        never."""
        context = self._cluster.next_number()
        self._cluster.checker.on_ask(context)
        self._reads[context] = _Read(served)
        if not self._member.call(lambda node: node.read_index(context)):
            self._reads.pop(context, None)

    def on_read_state(self, state: ReadState) -> None:
        self._cluster.checker.on_read(self._member, state.context, state.index)
        read = self._reads.get(state.context)
        if read is not None:
            read.index = state.index
            self._member.later(0, self._serve_reads)

    def _serve_reads(self) -> None:
        applied = self._member.machine.index
        for context, read in list(self._reads.items()):
            if read.index is not None and read.index <= applied:
                del self._reads[context]
                read.served()

    # Leases

    def keep_alive(self, lease_id: int, answered: Callable[[int], None]) -> None:
        """Renew a lease, if this member leads (rule 4).

        Args:
            answered: told the TTL, 0 if there is no such lease. Not called if this member cannot.
        """
        if self._keeper.leads:
            self._confirm(lambda: self._renew(lease_id, answered))

    def _renew(self, lease_id: int, answered: Callable[[int], None]) -> None:
        lessor = self._member.machine.lessor
        if lessor.is_checkpointed(lease_id):
            self._clear_checkpoint(lease_id, lambda: self.keep_alive(lease_id, answered))
            return
        try:
            answered(lessor.renew(lease_id, self._member.clock.seconds()))
        except LeaseNotFound:
            answered(0)
        except NoLeader:
            return

    def _clear_checkpoint(self, lease_id: int, then: Callable[[], None]) -> None:
        self._cluster.seen["checkpoints cleared"] += 1
        request = LeaseCheckpointRequest(checkpoints=[LeaseCheckpoint(ID=lease_id)])
        kind = CommandKind.LEASE_CHECKPOINT
        self.propose(kind, request, lambda _: then(), is_repeated=False)

    def on_soft_state(self, state: SoftState) -> None:
        if state.role is not Role.LEADER and self._keeper.leads:
            self._keeper.become_follower()

    def _leading_term(self) -> int | None:
        return self._member.node._raft.term if self._member.is_leader else None

    def _promote(self) -> None:
        """Rule 5."""
        plan = self._cluster.plan
        extend_seconds = plan.election_timeout_ticks * plan.tick_seconds
        self._keeper.become_leader(self._member.clock.seconds(), extend_seconds)

    def tick(self) -> None:
        now = self._member.clock.seconds()
        while self._own and self._own[0][0] <= now:
            _fail(self._own.pop(0)[1], RequestTimeout())
        self._keeper.tick(now)

    def _propose_own(self, kind: CommandKind, request: Request) -> Future[Any]:
        """Propose what the leader decides by itself."""
        answer = _Answer(self._member)

        def succeed(outcome: Outcome) -> None:
            if not answer.done():
                answer.set_result(outcome)

        number = self.propose(kind, request, succeed, is_repeated=False)
        if number is None:
            raise NoLeader
        if kind is CommandKind.LEASE_REVOKE:
            self._cluster.leases.on_expired(number)
        else:
            self._cluster.seen["checkpoints"] += 1
        plan = self._cluster.plan
        timeout_seconds = 2 * plan.election_timeout_ticks * plan.tick_seconds
        self._own.append((self._member.clock.seconds() + timeout_seconds, answer))
        return answer

    # Watches

    def watch(self, spec: WatchSpec, sink: WatchSink) -> Watcher:
        return self._member.machine.hub.watch(spec, sink)

    def on_lagging(self) -> None:
        """A watcher wants history."""
        self._pump("watchers", lambda step: not self._member.machine.hub.catch_up(step))

    def _remove_compacted(self) -> None:
        self._pump("compaction", self._member.machine.mvcc.compaction_step)

    def _pump(self, what: str, step: Callable[[int], bool]) -> None:
        """Call `step` between other work until it returns True."""
        if what in self._pumping:
            return
        self._pumping.add(what)

        def again() -> None:
            self._pumping.discard(what)
            if not step(self._member.chance.randint(1, STEP_MAX)):
                self._pump(what, step)

        self._member.later(self._member.chance.randint(1, PUMP_UNITS_MAX), again)


class _Answer(Future[Any]):
    """A future that calls back in a later turn, as those of an event loop do."""

    def __init__(self, member: SimulatedMember) -> None:
        super().__init__()
        self._member = member

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        def call() -> None:
            fn(self)

        super().add_done_callback(lambda _: self._member.later(0, call))


def _fail(answer: Future[Any], error: RegistryError) -> None:
    if not answer.done():
        answer.set_exception(error)
