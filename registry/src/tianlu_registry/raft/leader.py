"""What a leader does with others' proposals. Its replication is in `replication`, its reads in
`reads`."""

from __future__ import annotations

import contextlib

from tianlu_registry.errors import Unavailable
from tianlu_registry.raft.messages import ForwardedProposal
from tianlu_registry.raft.raft import Raft


def on_forwarded_proposal(raft: Raft, message: ForwardedProposal) -> None:
    """Append a follower's proposal. Where it cannot be taken it is dropped, and its proposer
    times out."""
    with contextlib.suppress(Unavailable):
        raft.append(message.data)
