"""Elections: campaigning, and voting.

A member first asks whether it would win (PreVote) and raises its term only then, so that one that
was cut off does not depose a working leader when it returns. And whoever hears from a leader
ignores all candidates, so that a member that has been removed cannot disturb either.

A member answers a vote only after its vote is durable. A candidate, too, sends its requests only
after its own vote and its log are durable: one that forgot them in a crash might stand in the
same term again, with a shorter log, and count votes that were given to the longer one.

Source: Raft, sections 5.2 and 5.4.1; dissertation, sections 3.10 (TimeoutNow), 4.2.3 and 9.6.
"""

from __future__ import annotations

from tianlu_registry.raft.messages import RequestVote, RequestVoteResponse, TimeoutNow
from tianlu_registry.raft.quorum import VoteResult
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.types import NO_MEMBER, Index, MemberId, Role, Term


def campaign(raft: Raft) -> None:
    """Seek leadership, beginning with a pre-vote. Leaders, and who may not lead, do nothing."""
    if raft.role is Role.LEADER or not _may_campaign(raft):
        return
    raft.become_pre_candidate()
    if not count_vote(raft, raft.id, granted=True):
        for peer in _voting_peers(raft):
            raft.messages.append(_vote_request(raft, peer, Term(raft.term + 1), pre_vote=True))


def on_timeout_now(raft: Raft, _message: TimeoutNow) -> None:
    """Stand for election at the leader's own wish. No pre-vote: the leader has seen to it that the
    log is complete, and those who still hear from it are told that it agrees."""
    if _may_campaign(raft):
        _start_election(raft, by_transfer=True)


def _may_campaign(raft: Raft) -> bool:
    """Whether this member is a voter, and knows of no newer membership than its own: it would
    count votes by the wrong one (see `membership`)."""
    log = raft.log
    return raft.tracker.is_promotable and not log.holds_conf_change(
        Index(log.applied + 1), log.committed
    )


def _start_election(raft: Raft, *, by_transfer: bool = False) -> None:
    raft.become_candidate()
    # Its own vote comes back like any other, once it is durable.
    raft.writes.hold(RequestVoteResponse(raft.id, raft.id, raft.term, granted=True))
    for peer in _voting_peers(raft):
        request = _vote_request(raft, peer, raft.term, pre_vote=False, by_transfer=by_transfer)
        raft.writes.hold(request)


def count_vote(raft: Raft, voter: MemberId, *, granted: bool) -> bool:
    """Count a vote of the election under way. Returns whether that decided it."""
    result = raft.tracker.record_vote(voter, granted)
    if result is VoteResult.WON and raft.role is Role.PRE_CANDIDATE:
        _start_election(raft)
    elif result is VoteResult.WON:
        raft.become_leader()
    elif result is VoteResult.LOST:
        raft.become_follower(raft.term, NO_MEMBER)
    return result is not VoteResult.PENDING


def on_request_vote(raft: Raft, request: RequestVote) -> None:
    """Answer a candidate of this term, or a pre-candidate of any. The caller has seen to it that
    no leader is being heard of and that the term is not stale."""
    granted = _may_vote(raft, request) and raft.log.is_up_to_date(
        request.last_index, request.last_term
    )
    if granted and not request.pre_vote:
        raft.vote = request.sender
        raft.election_elapsed = 0
    if granted:
        raft.writes.hold(
            RequestVoteResponse(
                request.sender, raft.id, request.term, granted, pre_vote=request.pre_vote
            )
        )
    else:
        refuse(raft, request)


def refuse(raft: Raft, request: RequestVote) -> None:
    """Refuse a vote, and tell what is committed.

    A change of membership is in force once a member knows that it is committed. If only members
    that it removed knew, then those that remain might need their votes for ever, and not get
    them. Source: raft-rs, which sends its commit index with votes for the same reason.
    """
    log = raft.log
    raft.writes.hold(
        RequestVoteResponse(
            request.sender,
            raft.id,
            raft.term,
            granted=False,
            pre_vote=request.pre_vote,
            commit=log.committed,
            commit_term=log.term(log.committed),
        )
    )


def learn_commit(raft: Raft, response: RequestVoteResponse) -> None:
    """Take from a refusal what is committed, if this log has it. Whoever thereby learns of a
    membership change that it has not applied gives up its candidacy."""
    log = raft.log
    if response.commit <= log.committed or not log.matches(response.commit, response.commit_term):
        return
    log.commit_to(response.commit)
    if raft.role is not Role.FOLLOWER and not _may_campaign(raft):
        raft.become_follower(raft.term, NO_MEMBER)


def _may_vote(raft: Raft, request: RequestVote) -> bool:
    if request.pre_vote:
        return request.term > raft.term
    if raft.vote == request.sender:
        return True
    return raft.vote == NO_MEMBER and raft.leader_id == NO_MEMBER


def _voting_peers(raft: Raft) -> list[MemberId]:
    voters = raft.tracker.quorum.members
    return [peer for peer in raft.tracker.peers if peer in voters]


def _vote_request(
    raft: Raft, peer: MemberId, term: Term, *, pre_vote: bool, by_transfer: bool = False
) -> RequestVote:
    log = raft.log
    return RequestVote(peer, raft.id, term, log.last_index, log.last_term, pre_vote, by_transfer)
