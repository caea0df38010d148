"""Ways to break what stands on the consensus core: the state machine, leases, watches, and what a
shell must see to. Registered among `mutations.MUTATIONS`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from simulation.mutations import MUTATIONS, handler_mutation, mutation

from tianlu_registry.errors import InputError, Unavailable
from tianlu_registry.lease.lessor import Lessor
from tianlu_registry.mvcc.key_index import KeyIndex
from tianlu_registry.mvcc.types import WatchSpec
from tianlu_registry.mvcc.watch import WatchHub
from tianlu_registry.node.leases import LeaseKeeper
from tianlu_registry.raft import ForwardedProposal, Role, SoftState
from tianlu_registry.raft.raft import Raft
from tianlu_registry.simulation.backend import MemoryBackend, Saved
from tianlu_registry.simulation.network import Network
from tianlu_registry.simulation.service import Service
from tianlu_registry.simulation.storage import MemberStorage

__all__ = ["MUTATIONS"]

# Proposals


@mutation((Service, "_forget_proposals"))
def propose_again_what_a_snapshot_may_hold(self: Service) -> None:
    pass


@handler_mutation(ForwardedProposal, Role.LEADER)
def append_a_forwarded_proposal_in_a_later_term(raft: Raft, message: Any) -> None:
    with contextlib.suppress(Unavailable, InputError):
        raft.append(message.data, message.type)


_send = Network.send


@mutation((Network, "send"))
def repeat_a_forwarded_proposal(self: Network, message: Any) -> None:
    _send(self, message)
    if isinstance(message, ForwardedProposal):
        _send(self, message)


@mutation((Service, "_serve_reads"))
def serve_a_read_before_the_state_is_as_far(self: Service) -> None:
    for context, read in list(self._reads.items()):
        if read.index is not None:
            del self._reads[context]
            read.served()


# The state machine over crashes


@mutation((MemberStorage, "end_save"))
def apply_twice_after_a_restart(self: MemberStorage) -> None:
    """The database's content and its log position are not of one commit."""
    if self.saving is not None:
        before, self.saved, self.saving = self.saved, self.saving, None
        self.saved = replace(
            self.saved,
            index=before.index,
            term=before.term,
            chain=before.chain,
            conf_state=before.conf_state,
        )


_install = MemberStorage.install


@mutation((MemberStorage, "install"))
def begin_the_log_anew_before_the_state_is_there(
    self: MemberStorage, state: Saved, ready: Any
) -> None:
    self._wal.restart_after(state.index, state.term, ready.hard_state)
    _install(self, state, ready)


_freeze = MemoryBackend.freeze


@mutation((MemoryBackend, "freeze"))
def save_keys_without_their_leases(self: MemoryBackend, *position: Any) -> Saved:
    return replace(_freeze(self, *position), leases={})


_compact_key = KeyIndex.compact_key


@mutation((KeyIndex, "compact_key"))
def compact_a_revision_too_many(self: KeyIndex, key: bytes, revision: int) -> Any:
    return _compact_key(self, key, revision + 1)


# Leases


_promote = Lessor.promote


@mutation((Lessor, "promote"))
def expire_leases_early_on_a_new_leader(
    self: Lessor, now: float, extend_seconds: float = 0.0
) -> None:
    """As if a third of each lease's time were what is left of it."""
    _promote(self, now, extend_seconds)
    for lease_id in self.ids():
        lease = self.lookup(lease_id)
        assert lease is not None
        lease.expiry = now + lease.ttl_seconds / 3
        self._expiries.schedule(lease_id, lease.expiry)


@mutation((Service, "keep_alive"))
def keep_alive_by_a_deposed_leader(
    self: Service, lease_id: int, answered: Callable[[int], None]
) -> None:
    self._renew(lease_id, answered)


@mutation((Lessor, "is_checkpointed"))
def keep_alive_over_a_checkpoint(self: Lessor, lease_id: int) -> bool:
    return False


_on_soft_state = Service.on_soft_state


@mutation((Service, "on_soft_state"))
def count_leases_before_the_log_is_applied(self: Service, state: SoftState) -> None:
    _on_soft_state(self, state)
    if state.role is Role.LEADER and not self._keeper.leads:
        self._promote()


_propose = Service.propose


@mutation((Service, "propose"))
def end_a_lease_again_in_a_later_term(
    self: Service, kind: Any, request: Any, answered: Any, *, is_repeated: bool = True
) -> int | None:
    return _propose(self, kind, request, answered, is_repeated=True)


_revoke = Lessor.revoke


@mutation((Lessor, "revoke"))
def end_a_lease_and_keep_a_key(self: Lessor, lease_id: int) -> list[bytes]:
    return _revoke(self, lease_id)[1:]


@mutation((LeaseKeeper, "_revoke"))
def never_end_a_lease(self: LeaseKeeper, expired: list[int]) -> None:
    pass


# Watches


_watch = WatchHub.watch


@mutation((WatchHub, "watch"))
def skip_a_revision_after_a_reconnect(self: WatchHub, spec: WatchSpec, sink: Any) -> Any:
    later = spec.start_revision + 1 if spec.start_revision else 0
    return _watch(self, replace(spec, start_revision=later), sink)


@mutation((WatchHub, "resync"))
def install_a_snapshot_without_resync(self: WatchHub) -> None:
    self.revision = self._history.revision


@mutation((WatchHub, "_end_compacted"))
def say_nothing_of_a_compaction(self: WatchHub) -> None:
    pass


_block = WatchHub._block


@mutation((WatchHub, "_block"))
def tell_again_what_was_told(self: WatchHub, watcher: Any, first_missed: int) -> None:
    _block(self, watcher, max(1, first_missed - 1))


@mutation((WatchHub, "_resume"))
def never_resume_a_watcher(self: WatchHub, watcher: Any) -> None:
    pass
