"""What a leader does with others' proposals. Its replication is in `replication`, its reads in
`reads`."""

from __future__ import annotations

import contextlib

from tianlu_registry.errors import TooManyRequests
from tianlu_registry.raft.messages import ForwardedProposal
from tianlu_registry.raft.raft import Raft


def on_forwarded_proposal(raft: Raft, message: ForwardedProposal) -> None:
    """Append a follower's proposal. Beyond the limit it is dropped, and its proposer times out."""
    with contextlib.suppress(TooManyRequests):
        raft.append(message.data)
