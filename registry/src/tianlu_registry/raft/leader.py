"""What a leader does with others' proposals. Its replication is in `replication`, its reads in
`reads`."""

from __future__ import annotations

import contextlib

from tianlu_registry.errors import InputError, Unavailable
from tianlu_registry.raft import membership
from tianlu_registry.raft.confchange import ConfChange
from tianlu_registry.raft.messages import ForwardedProposal
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.types import EntryType


def on_forwarded_proposal(raft: Raft, message: ForwardedProposal) -> None:
    """Append a follower's proposal. Where it cannot be taken it is dropped, and its proposer
    times out."""
    if message.term != raft.term:
        return
    with contextlib.suppress(Unavailable, InputError):
        if message.type is EntryType.CONF_CHANGE:
            membership.propose(raft, ConfChange.decode(message.data))
        else:
            raft.append(message.data)
