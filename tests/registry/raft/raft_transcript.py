"""A small language for whole exchanges of a cluster, and the text that they make.

A transcript is a file of commands (lines that begin with "> ") and what each printed. Running it
again must print the same. Election timeouts are not random: member i waits i - 1 ticks longer
than the minimum. A member does everything in the order of its number.

    cluster 1,2,3 [learners=4] [joining=5] [setting=number ...]
    elect 1                make a member leader, without a word about it
    campaign 1             propose 1 text           read 1 context
    transfer 1 to=2        change 1 simple|joint|explicit|leave [+4] [~5] [-1]   (~ is a learner)
    tick 1 [times]         advance time at one member
    ready 1                take a Ready: what is to be written stays under way
    persist 1              complete the writes under way
    deliver 2 [from=1]     deliver what was sent to a member
    drop 2 [from=1]        lose it
    cut 3 / join 3         lose everything to and from a member / no longer
    settle                 take, persist and deliver until nothing is left to do
    compact 1 to=5         let a log forget
    report 1 to=3 installed|failed        how the sending of a snapshot went
    restart 1              forget what was not persisted
    status 1 / log 1       print the state / the durable log
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tianlu_registry.errors import RegistryError
from tianlu_registry.raft import (
    ConfChange,
    Config,
    ConfState,
    EntryType,
    HardState,
    Index,
    MemberId,
    Message,
    RawNode,
    Ready,
    conf_change,
)
from tianlu_registry.simulation.describe import (
    CHANGE_SIGNS,
    TRANSITIONS,
    conf_text,
    entries_text,
    message_text,
    ready_text,
)
from tianlu_registry.storage.log import MemoryLog

ROUNDS_MAX = 200


class SteadySource:
    """Election timeouts that follow from the member's number."""

    def __init__(self, member: int) -> None:
        self._extra = member - 1

    def randrange(self, stop: int) -> int:
        return min(self._extra, stop - 1)


@dataclass
class Member:
    """A core and what its shell keeps."""

    id: MemberId
    conf_state: ConfState
    settings: dict[str, int]
    hard_state: HardState = field(default_factory=HardState)
    applied: int = 0
    writing: list[Ready] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = MemoryLog(self.conf_state)
        self.start()

    def start(self) -> None:
        log = self.log
        before = Index(log.first_index - 1)
        self.log = MemoryLog(
            self.conf_state,
            hard_state=self.hard_state,
            compacted_index=before,
            compacted_term=log.term(before),
            entries=log.entries(log.first_index, Index(log.last_index + 1), 1 << 30)
            if log.last_index >= log.first_index
            else (),
        )
        self.writing.clear()
        config = Config(
            id=self.id,
            random=SteadySource(self.id),
            applied=Index(self.applied),
            **{"election_timeout_ticks": 3, **self.settings},
        )
        self.node = RawNode(config, self.log)

    def take(self) -> Ready:
        ready = self.node.ready()
        if ready.must_sync:
            self.writing.append(ready)
        for entry in ready.committed_entries:
            self.applied = entry.index
            if entry.type is EntryType.CONF_CHANGE:
                change = ConfChange.decode(entry.data)
                self.conf_state = self.node.apply_conf_change(entry.index, change)
        if ready.committed_entries:
            self.node.on_applied(ready.committed_entries[-1].index)
        return ready

    def persist(self) -> int:
        for ready in self.writing:
            self.hard_state = ready.hard_state or self.hard_state
            if ready.snapshot is not None:
                self.log.restore(ready.snapshot)
                self.applied = ready.snapshot.index
                self.conf_state = ready.snapshot.conf_state
            self.log.append(ready.entries)
        done = len(self.writing)
        if done:
            number = self.writing[-1].number
            self.writing.clear()
            self.node.on_persisted(number)
        return done


class Transcript:
    """Runs commands, one line each, and returns what they print."""

    def __init__(self) -> None:
        self._members: dict[int, Member] = {}
        self._sent: list[Message] = []
        self._cut: set[int] = set()
        self._lines: list[str] = []

    def run(self, command: str) -> list[str]:
        """Run a command; a refusal of the core is part of what it prints."""
        self._lines = []
        words = [word for word in command.split() if "=" not in word]
        named = dict(word.split("=", 1) for word in command.split() if "=" in word)
        handler: Callable[..., None] = getattr(self, f"_do_{words[0]}")
        try:
            handler(*words[1:], **named)
        except RegistryError as error:
            self._lines.append(f"{type(error).__name__}: {error}")
        return self._lines

    def _do_cluster(
        self, voters: str, learners: str = "", joining: str = "", **settings: str
    ) -> None:
        conf_state = ConfState(_ids(voters), _ids(learners))
        numbers = {name: int(value) for name, value in settings.items()}
        for member in (*conf_state.voters, *conf_state.learners):
            self._members[member] = Member(member, conf_state, numbers)
        for member in _ids(joining):
            self._members[member] = Member(member, ConfState(), numbers)

    def _do_elect(self, member: str) -> None:
        self._do_campaign(member)
        self._do_settle()
        self._lines.clear()

    def _do_campaign(self, member: str) -> None:
        self._node(member).campaign()

    def _do_propose(self, member: str, data: str) -> None:
        self._node(member).propose(data.encode())

    def _do_read(self, member: str, context: str) -> None:
        self._node(member).read_index(int(context))

    def _do_transfer(self, member: str, to: str) -> None:
        self._node(member).transfer_leadership(MemberId(int(to)))

    def _do_change(self, member: str, transition: str, *changes: str) -> None:
        wanted = [(CHANGE_SIGNS[change[0]], int(change[1:])) for change in changes]
        self._node(member).propose_conf_change(conf_change(TRANSITIONS[transition], *wanted))

    def _do_tick(self, member: str, times: str = "1") -> None:
        for _ in range(int(times)):
            self._node(member).tick()

    def _do_ready(self, member: str) -> None:
        if self._node(member).has_ready():
            self._take(self._members[int(member)])

    def _do_persist(self, member: str) -> None:
        count = self._members[int(member)].persist()
        self._lines.append(f"{count} durable")

    def _do_deliver(self, to: str, **named: str) -> None:
        for message in self._take_sent(to, named):
            self._members[message.to].node.step(message)

    def _do_drop(self, to: str, **named: str) -> None:
        self._lines.append(f"{len(self._take_sent(to, named))} lost")

    def _do_cut(self, member: str) -> None:
        self._cut.add(int(member))

    def _do_join(self, member: str) -> None:
        self._cut.remove(int(member))

    def _do_settle(self) -> None:
        for _ in range(ROUNDS_MAX):
            busy = False
            for member in self._members.values():
                while member.node.has_ready() or member.writing:
                    if member.node.has_ready():
                        self._take(member)
                    member.persist()
                    busy = True
            sent, self._sent = self._sent, []
            for message in sent:
                busy = True
                self._members[message.to].node.step(message)
            if not busy:
                return
        raise AssertionError("the cluster does not come to rest")

    def _do_compact(self, member: str, to: str) -> None:
        self._members[int(member)].log.compact(Index(int(to)))

    def _do_report(self, member: str, outcome: str, to: str) -> None:
        self._node(member).report_snapshot(MemberId(int(to)), installed=outcome == "installed")

    def _do_restart(self, member: str) -> None:
        self._members[int(member)].start()

    def _do_status(self, member: str) -> None:
        status = self._node(member).status()
        self._lines.append(
            f"{status.role.name.lower()} term={status.term} leader={status.leader_id} "
            f"last={status.last_index} committed={status.committed} applied={status.applied} "
            f"members={conf_text(status.conf_state)}"
        )
        for peer, progress in status.peers.items():
            self._lines.append(
                f"  {peer}: {progress.state.value} match={progress.match} next={progress.next} "
                f"in-flight={progress.in_flight}"
            )

    def _do_log(self, member: str) -> None:
        log = self._members[int(member)].log
        if log.last_index >= log.first_index:
            entries = log.entries(log.first_index, Index(log.last_index + 1), 1 << 30)
            self._lines.append(entries_text(entries))

    def _node(self, member: str) -> RawNode:
        return self._members[int(member)].node

    def _take(self, member: Member) -> None:
        ready = member.take()
        if work := ready_text(ready):
            self._lines.append(f"{member.id}: {work}")
        for message in ready.messages:
            lost = self._cut & {message.to, message.sender}
            self._lines.append(f"  {message_text(message)}{' (lost)' if lost else ''}")
            if not lost:
                self._sent.append(message)

    def _take_sent(self, to: str, named: dict[str, str]) -> list[Message]:
        sender = named.get("from")
        taken = [
            message
            for message in self._sent
            if message.to == int(to) and sender in (None, str(message.sender))
        ]
        self._sent = [message for message in self._sent if message not in taken]
        return taken


def _ids(text: str) -> tuple[MemberId, ...]:
    return tuple(MemberId(int(member)) for member in text.split(",") if member)
