"""Comparing the members' state hashes all the time, and acting on what comes out.

Each second the leader asks every other member for its report and sends its own along, so both
sides see at once whether they differ. Whoever sees a difference asks all members, and `judge`
decides:

    this member has diverged    it says so and stops itself (exit status 75), leader or not
    another one has             the CORRUPT alarm is raised for it, until that has succeeded
    nobody knows who            everybody says so, in the log and the metrics, and goes on

A member that has diverged never repairs itself: what it holds is evidence, and a replacement
takes minutes. docs/operations/replace-a-member.md is what the message names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Final, NamedTuple

from tianlu_registry.errors import Corrupt, InvalidArgument, RegistryError
from tianlu_registry.node.state_hash import HashReport
from tianlu_registry.node.state_verdict import Verdict, differ, judge
from tianlu_registry.raft.types import NO_INDEX, Index, MemberId

_log = logging.getLogger(__name__)

METHOD: Final = "state_hash"
"""Name of the call between members."""

INTERVAL_SECONDS: Final = 1.0
CALL_TIMEOUT_SECONDS: Final = 2.0

REPORT_SECONDS_MAX: Final = 10.0
"""A report counts so long: one that diverged and stopped has been heard shortly before."""

_SENDER: Final = Struct(">Q")

Call = Callable[[MemberId, str, bytes, float], Awaitable[bytes]]
"""Asks a member: (to, method, payload, timeout in seconds). Raises a RegistryError."""


class Audited(NamedTuple):
    """Who is compared.

    Attributes:
        voters: all voters, this member included if it votes.
        learners: the others; judged, but their word does not count.
    """

    voters: frozenset[MemberId]
    learners: frozenset[MemberId] = frozenset()


@dataclass(slots=True)
class AuditCounts:
    """Figures for metrics.

    Attributes:
        rounds: times that all members were asked.
        mismatches: reports of another member that differed from ours.
        agreed_index: newest index at which a majority was seen to agree.
        incomparable: other members whose chain began elsewhere, so that nothing can be said.
        disputed_index: first index at which members differ and nobody knows who is right; 0 for
            none.
        diverged: other members found to have diverged.
    """

    rounds: int = 0
    mismatches: int = 0
    agreed_index: int = 0
    incomparable: int = 0
    disputed_index: int = 0
    diverged: int = 0


class _Heard(NamedTuple):
    at: float
    report: HashReport


class StateAuditor:
    """Compares this member's state with the others'.

    Everything runs on the event loop; `tick` and `on_call` never wait for another member.

    Args:
        loop: where everything runs, and its clock.
        own_id: this member.
        report: what this member says of its state now: `StateHash.report` at the applied index.
        members: who is in the cluster now.
        leads: whether this member leads: if so it begins a round each second.
        call: asks another member for `METHOD`.
        raise_alarm: puts a CORRUPT alarm for a member into the log, if it is not up already.
            A RegistryError is taken as "try again at the next round".
        fail: stops the node: with `Corrupt` if its state has diverged, with any other exception
            if the audit itself fails.

    Attributes:
        counts: for metrics.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        own_id: MemberId,
        *,
        report: Callable[[], HashReport],
        members: Callable[[], Audited],
        leads: Callable[[], bool],
        call: Call,
        raise_alarm: Callable[[MemberId], Awaitable[object]],
        fail: Callable[[Exception], None],
    ) -> None:
        self.counts: Final = AuditCounts()
        self._loop = loop
        self._own_id = own_id
        self._report = report
        self._members = members
        self._leads = leads
        self._call = call
        self._raise_alarm = raise_alarm
        self._fail = fail
        self._heard: dict[MemberId, _Heard] = {}
        self._mismatched: dict[MemberId, Index] = {}
        self._diverged: dict[MemberId, Index] = {}
        self._alarms_due: set[MemberId] = set()
        self._next_round = 0.0
        self._poll_due = False
        self._round: asyncio.Task[None] | None = None
        self._stopped = False

    def tick(self, now: float) -> None:
        """Begin a round if one is due and none is under way; call at every tick of the node.

        Args:
            now: the loop's time in seconds.
        """
        if self._stopped or self._round is not None or now < self._next_round:
            return
        if self._poll_due or self._alarms_due or self._leads():
            self._next_round = now + INTERVAL_SECONDS
            self._poll_due = False
            self._round = self._loop.create_task(self._ask_all())
            self._round.add_done_callback(self._round_done)

    async def on_call(self, payload: bytes) -> bytes:
        """Answer another member's `METHOD`: compare its report with ours, and return ours.

        Raises:
            InvalidArgument: it is no report.
        """
        sender, report = _decode(payload)
        self._hear(sender, report)
        return self._payload()

    async def stop(self) -> None:
        """Ask nobody any more."""
        self._stopped = True
        if self._round is not None:
            self._round.cancel()
            await asyncio.wait([self._round])

    async def _ask_all(self) -> None:
        await self._exchange()
        self.counts.rounds += 1
        verdict = self._judge(self._members())
        if self._own_id in verdict.diverged:
            # What convicts this member may have come with the answers alone: before it goes, the
            # others hear it too, so that they can raise the alarm.
            self._stopped = True
            await self._exchange()
            self._step_out(verdict.diverged[self._own_id])
        else:
            await self._raise_alarms()

    async def _exchange(self) -> None:
        """Tell all others what this member holds, and hear what they do."""
        members = self._members()
        others = sorted((members.voters | members.learners) - {self._own_id})
        await asyncio.gather(*(self._ask(member) for member in others))

    async def _ask(self, member: MemberId) -> None:
        try:
            answer = await self._call(member, METHOD, self._payload(), CALL_TIMEOUT_SECONDS)
            self._hear(*_decode(answer))
        except RegistryError as error:
            # It is away, or older than this call: it is asked again in a second.
            _log.debug("state_audit.no_answer member=%x reason=%s", member, error)

    def _hear(self, member: MemberId, report: HashReport) -> None:
        """Keep a report; have all members asked if it differs from ours."""
        self._heard[member] = _Heard(self._loop.time(), report)
        index = differ(self._report(), report)
        if index == NO_INDEX:
            return
        self.counts.mismatches += 1
        self._poll_due = self._poll_due or member not in self._diverged
        if member not in self._mismatched:
            self._mismatched[member] = index
            _log.warning("state_audit.mismatch member=%x index=%d", member, index)

    def _judge(self, members: Audited) -> Verdict:
        """Draw the consequences of what was heard for others, and return all of it."""
        everybody = members.voters | members.learners
        since = self._loop.time() - REPORT_SECONDS_MAX
        self._heard = {
            member: heard
            for member, heard in self._heard.items()
            if member in everybody and heard.at >= since
        }
        reports = {member: heard.report for member, heard in self._heard.items()}
        own = reports[self._own_id] = self._report()
        self.counts.incomparable = sum(
            (report.format, report.chain) != (own.format, own.chain) for report in reports.values()
        )
        verdict = judge(reports, members.voters)
        self.counts.agreed_index = max(self.counts.agreed_index, verdict.agreed)
        self._note_dispute(verdict)
        if self._own_id not in verdict.diverged:
            self._note_diverged(verdict, everybody)
        return verdict

    def _note_dispute(self, verdict: Verdict) -> None:
        if verdict.disputed not in (NO_INDEX, self.counts.disputed_index):
            _log.error(
                "state_audit.disputed index=%d members=%s: these members hold different states and "
                "no majority says which is right; none stops. Compare a snapshot of each, and "
                "replace those that are wrong",
                verdict.disputed,
                _names(verdict.disputants),
            )
        self.counts.disputed_index = verdict.disputed

    def _note_diverged(self, verdict: Verdict, everybody: Collection[MemberId]) -> None:
        for member, index in verdict.diverged.items():
            if member not in self._diverged:
                _log.error("state_audit.diverged member=%x index=%d", member, index)
                self._diverged[member] = index
                self._alarms_due.add(member)
        for known in (self._diverged, self._mismatched):
            for member in known.keys() - everybody:
                del known[member]
        self._alarms_due &= self._diverged.keys()
        self.counts.diverged = len(self._diverged)

    def _step_out(self, index: Index) -> None:
        message = (
            f"state diverges from the majority at index {index}: what this member "
            f"({self._own_id:x}) holds is not what the log says, so it takes itself out of "
            "service. Keep its data directory for examination, and replace the member: "
            "docs/operations/replace-a-member.md"
        )
        _log.error("state_audit.stepping_out index=%d: %s", index, message)
        self._fail(Corrupt(message))

    async def _raise_alarms(self) -> None:
        for member in sorted(self._alarms_due):
            try:
                await self._raise_alarm(member)
            except RegistryError as error:
                _log.warning("state_audit.alarm_postponed member=%x reason=%s", member, error)
                return
            self._alarms_due.discard(member)

    def _round_done(self, task: asyncio.Task[None]) -> None:
        self._round = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._fail(error)

    def _payload(self) -> bytes:
        return _SENDER.pack(self._own_id) + self._report().encode()


def _decode(payload: bytes) -> tuple[MemberId, HashReport]:
    try:
        (sender,) = _SENDER.unpack_from(payload)
    except StructError as error:
        raise InvalidArgument("state_hash", f"{len(payload)} bytes name no sender") from error
    return MemberId(sender), HashReport.decode(payload[_SENDER.size :])


def _names(members: Collection[MemberId]) -> str:
    return ",".join(f"{member:x}" for member in sorted(members))
