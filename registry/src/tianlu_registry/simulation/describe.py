"""Messages and Readies as one line of text each, for traces and transcripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tianlu_registry.raft import (
    AppendEntries,
    AppendEntriesResponse,
    ChangeKind,
    ConfChange,
    ConfState,
    Entry,
    EntryType,
    ForwardedProposal,
    ForwardedTransfer,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    Message,
    ReadIndexRequest,
    ReadIndexResponse,
    Ready,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
    Transition,
)

DataText = Callable[[bytes], str]
"""What to show of a normal entry's data, with its own separator; empty for nothing."""

SHOWN_MAX: Final = 16
"""Characters of an entry's data."""

CHANGE_SIGNS: Final = {
    "+": ChangeKind.ADD_VOTER,
    "~": ChangeKind.ADD_LEARNER,
    "-": ChangeKind.REMOVE,
}
TRANSITIONS: Final = {
    "simple": Transition.SIMPLE,
    "joint": Transition.JOINT,
    "explicit": Transition.JOINT_EXPLICIT,
    "leave": Transition.LEAVE,
}
_SIGN_OF: Final = {kind: sign for sign, kind in CHANGE_SIGNS.items()}
_NAME_OF: Final = {transition: name for name, transition in TRANSITIONS.items()}


def quoted(data: bytes) -> str:
    """Show data that is text."""
    shown = data.decode()
    return f'"{shown}"' if len(shown) <= SHOWN_MAX else f'"{shown[:SHOWN_MAX]}"...'


def change_text(change: ConfChange) -> str:
    """Show a change of the membership: ``[joint +4 -1]``."""
    members = "".join(f" {_SIGN_OF[one.kind]}{one.member}" for one in change.changes)
    return f"[{_NAME_OF[change.transition]}{members}]"


def conf_text(conf: ConfState) -> str:
    """Show a membership: ``(1 2 3)&&(1 2) learners(4)``."""
    parts = [f"({' '.join(map(str, conf.voters))})"]
    if conf.voters_outgoing:
        parts.append(f"&&({' '.join(map(str, conf.voters_outgoing))})")
    if conf.learners:
        parts.append(f" learners({' '.join(map(str, conf.learners))})")
    if conf.learners_next:
        parts.append(f" next({' '.join(map(str, conf.learners_next))})")
    return "".join(parts)


def entries_text(entries: Iterable[Entry], data_text: DataText = quoted) -> str:
    """Show entries, each as term/index and data."""
    return " ".join(
        f"{entry.term}/{entry.index}{_data(entry.data, entry.type, data_text)}" for entry in entries
    )


def ready_text(ready: Ready, data_text: DataText = quoted) -> str:
    """Show the work in a Ready, without its messages."""
    parts = []
    if soft := ready.soft_state:
        parts.append(f"{soft.role.name.lower()} leader={soft.leader_id}")
    if state := ready.hard_state:
        parts.append(f"store term={state.term} vote={state.vote} commit={state.commit}")
    if meta := ready.snapshot:
        parts.append(f"restore {meta.term}/{meta.index} {conf_text(meta.conf_state)}")
    if ready.entries:
        parts.append(f"append {entries_text(ready.entries, data_text)}")
    if ready.committed_entries:
        parts.append(f"apply {entries_text(ready.committed_entries, data_text)}")
    parts += [f"read {read.context} at {read.index}" for read in ready.read_states]
    return "; ".join(parts)


def message_text(message: Message, data_text: DataText = quoted) -> str:
    """Show who says what to whom."""
    return f"{message.sender}->{message.to} {_content(message, data_text)}"


def _content(message: Message, data_text: DataText) -> str:
    match message:
        case RequestVote(_, _, term, index, last_term, pre_vote, by_transfer):
            kind = " pre-vote" if pre_vote else " by-transfer" if by_transfer else ""
            return f"RequestVote{kind} term={term} last={last_term}/{index}"
        case RequestVoteResponse(_, _, term, granted, pre_vote):
            answer = "granted" if granted else "refused"
            return f"RequestVoteResponse{' pre-vote' if pre_vote else ''} term={term} {answer}"
        case AppendEntries(_, _, term, index, prev_term, entries, commit):
            carried = f" [{entries_text(entries, data_text)}]" if entries else ""
            return f"AppendEntries term={term} after={prev_term}/{index} commit={commit}{carried}"
        case AppendEntriesResponse():
            return f"AppendEntriesResponse term={message.term} {_append_answer(message)}"
        case Heartbeat(_, _, term, commit, read_round):
            return f"Heartbeat term={term} commit={commit}{_round(read_round)}"
        case HeartbeatResponse(_, _, term, read_round):
            return f"HeartbeatResponse term={term}{_round(read_round)}"
        case InstallSnapshot(_, _, term, snapshot):
            members = conf_text(snapshot.conf_state)
            return f"InstallSnapshot term={term} {snapshot.term}/{snapshot.index} {members}"
        case TimeoutNow(_, _, term):
            return f"TimeoutNow term={term}"
        case ForwardedProposal():
            return f"ForwardedProposal {_data(message.data, message.type, data_text)}"
        case ForwardedTransfer():
            return f"ForwardedTransfer {message.transferee}"
        case ReadIndexRequest(_, _, context):
            return f"ReadIndexRequest context={context}"
        case ReadIndexResponse(_, _, term, index, context):
            return f"ReadIndexResponse term={term} context={context} index={index}"


def _append_answer(message: AppendEntriesResponse) -> str:
    if message.needs_snapshot:
        return "needs a snapshot"
    if message.rejected:
        return f"rejected={message.index} hint={message.hint_term}/{message.hint_index}"
    return f"accepted={message.index}"


def _data(data: bytes, kind: EntryType, data_text: DataText) -> str:
    if kind is EntryType.CONF_CHANGE:
        return change_text(ConfChange.decode(data))
    return data_text(data) if data else ""


def _round(read_round: int) -> str:
    return f" read-round={read_round}" if read_round else ""
