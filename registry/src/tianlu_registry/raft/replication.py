"""A leader's side of replication: what it sends, and what it learns from the answers.

Appends are not sent for each proposal but when a Ready is taken: all proposals since the last one
travel together.

Source: Raft, section 5.3; etcd raft, raft.go (maybeSendAppend, stepLeader).
"""

from __future__ import annotations

from tianlu_registry.raft import transfer
from tianlu_registry.raft.entries import bytes_of
from tianlu_registry.raft.log_storage import LogCompacted
from tianlu_registry.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
)
from tianlu_registry.raft.progress import Progress, ProgressState
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.reads import answer_confirmed_reads, start_postponed_reads
from tianlu_registry.raft.types import Entry, Index, MemberId


def send_due(raft: Raft) -> None:
    """Put what a leader owes its peers into its messages."""
    if raft.appends_due:
        raft.appends_due = False
        for peer in raft.tracker.peers:
            _send_all(raft, peer)
    if raft.heartbeats_due:
        raft.heartbeats_due = False
        for peer in raft.tracker.peers:
            _send_heartbeat(raft, peer)


def _send_all(raft: Raft, peer: MemberId) -> None:
    """Send what the peer lacks, in as many messages as its window has room for."""
    progress = raft.tracker.progress[peer]
    while not progress.paused and progress.next <= raft.log.last_index:
        if not _send_append(raft, peer, progress):
            return
    if not progress.paused and progress.lacks_commit(raft.log.committed):
        _send_append(raft, peer, progress)


def _send_append(raft: Raft, peer: MemberId, progress: Progress) -> bool:
    """Send one message. Returns False if the entries it needs have been compacted away; the peer
    then gets a raft_snapshot."""
    log = raft.log
    previous = Index(progress.next - 1)
    try:
        previous_term = log.term(previous)
        # With a full window only a probe goes out. Should all that is in flight be lost, its
        # rejection is what tells.
        entries = (
            []
            if progress.window_full
            else log.entries_from(progress.next, raft.config.append_bytes_max)
        )
    except LogCompacted:
        _send_snapshot(raft, peer, progress)
        return False
    raft.messages.append(
        AppendEntries(
            peer, raft.id, raft.term, previous, previous_term, tuple(entries), log.committed
        )
    )
    progress.sent(_last_index(entries, previous), bytes_of(entries), log.committed)
    return True


def _send_snapshot(raft: Raft, peer: MemberId, progress: Progress) -> None:
    """Begin to send the state machine as it is now. One that does not answer is not sent any: much
    work for nobody."""
    if progress.recent_active and raft.log.applied:
        snapshot = raft.applied_snapshot
        progress.become_snapshot(snapshot.index)
        raft.messages.append(InstallSnapshot(peer, raft.id, raft.term, snapshot))


def _last_index(entries: list[Entry], previous: Index) -> Index:
    return entries[-1].index if entries else previous


def _send_heartbeat(raft: Raft, peer: MemberId) -> None:
    # A follower's log may not agree with the leader's beyond `match`: it must not commit there.
    progress = raft.tracker.progress[peer]
    commit = min(progress.match, raft.log.committed)
    raft.messages.append(Heartbeat(peer, raft.id, raft.term, commit, raft.read_only.newest_round))


def on_append_response(raft: Raft, response: AppendEntriesResponse) -> None:
    progress = raft.tracker.progress.get(response.sender)
    if progress is None:
        return  # no member any more
    progress.recent_active = True
    if response.rejected:
        _on_rejected(raft, progress, response)
    else:
        _on_accepted(raft, progress, response)


def _on_rejected(raft: Raft, progress: Progress, response: AppendEntriesResponse) -> None:
    if response.needs_snapshot:
        # Once it has acknowledged anything, this is an old answer.
        if not progress.match and progress.state is not ProgressState.SNAPSHOT:
            _send_snapshot(raft, response.sender, progress)
        return
    # The follower's entry at the hint is of hint_term or, if that is unknown, of any term. Where
    # this log's terms are higher they cannot agree, so all of those indexes are skipped at once.
    hint = response.hint_index
    if response.hint_term:
        hint, _ = raft.log.find_conflict(hint, response.hint_term)
    if progress.rejected(response.index, hint):
        _send_append(raft, response.sender, progress)


def _on_accepted(raft: Raft, progress: Progress, response: AppendEntriesResponse) -> None:
    advanced = progress.accepted(response.index)
    resumed = _may_resume(raft, progress, response.index)
    if resumed:
        progress.become_replicate()
    if advanced:
        commit_if_possible(raft)
    if advanced or resumed:
        _send_all(raft, response.sender)
    if response.sender == raft.transferee:
        transfer.finish_if_caught_up(raft)


def _may_resume(raft: Raft, progress: Progress, accepted: Index) -> bool:
    """Whether an answer says where replication can go on."""
    if progress.state is ProgressState.PROBE:
        return accepted == progress.match
    # Any position will do from which the log goes on, whichever raft_snapshot it came from.
    return progress.state is ProgressState.SNAPSHOT and not raft.log.lacks(
        Index(progress.match + 1)
    )


def on_heartbeat_response(raft: Raft, response: HeartbeatResponse) -> None:
    progress = raft.tracker.progress.get(response.sender)
    if progress is None:
        return
    progress.recent_active = True
    # What was in flight may have been lost. Even a paused follower is sent something now: its
    # answer tells where replication stands.
    behind = progress.match < raft.log.last_index or progress.state is ProgressState.PROBE
    if behind and progress.state is not ProgressState.SNAPSHOT:
        _send_append(raft, response.sender, progress)
    if response.read_round:
        raft.read_only.acknowledge(response.sender, response.read_round)
        answer_confirmed_reads(raft)


def commit_if_possible(raft: Raft) -> None:
    """Commit what a majority holds, and let the reads begin that waited for it."""
    if raft.maybe_commit():
        start_postponed_reads(raft)


def report_snapshot(raft: Raft, peer: MemberId, *, installed: bool) -> None:
    """Learn how the sending of a raft_snapshot ended."""
    progress = raft.tracker.progress.get(peer)
    if progress is not None and progress.state is ProgressState.SNAPSHOT:
        progress.snapshot_ended(installed=installed)


def report_unreachable(raft: Raft, peer: MemberId) -> None:
    """Learn that what was in flight to a peer has probably been lost: look where it stands."""
    progress = raft.tracker.progress.get(peer)
    if progress is not None and progress.state is ProgressState.REPLICATE:
        progress.become_probe()
