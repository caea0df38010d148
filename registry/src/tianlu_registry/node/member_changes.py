"""Changes of the members: proposed on the leader, awaited by their proposer, applied by all."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from tianlu._proto.etcd.rpc_pb2 import Member
from tianlu_registry.errors import InputError, RegistryError, RequestTimeout
from tianlu_registry.node.cluster_state import ClusterState
from tianlu_registry.node.membership import change_of, proposal_id_of
from tianlu_registry.raft import ChangeKind, ConfChange, ConfState, Entry, Index, MemberId

_log = logging.getLogger(__name__)

Propose = Callable[[ConfChange], None]
IntoForce = Callable[[Index, ConfChange], ConfState]


class MemberChanges:
    """Who waits for which change of the members.

    Args:
        loop: where everything runs.
        cluster: the replicated state that the changes are applied to.
        propose: puts a change into the log.
        into_force: puts a committed one into force in the consensus core.
        timeout_seconds: how long a proposer waits.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cluster: ClusterState,
        *,
        propose: Propose,
        into_force: IntoForce,
        timeout_seconds: float,
    ) -> None:
        self._loop = loop
        self._cluster = cluster
        self._propose = propose
        self._into_force = into_force
        self._timeout_seconds = timeout_seconds
        self._next_id = random.SystemRandom().getrandbits(63)
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def change(self, kind: ChangeKind, member: MemberId, added: Member | None = None) -> None:
        """Make a change, and return when it is in force here.

        Raises:
            InputError: it does not fit the members there are.
            RequestTimeout: it may yet be made.
            Unavailable: it will not be.
        """
        proposal_id, self._next_id = self._next_id, self._next_id + 1
        change = change_of(kind, member, proposal_id, added)
        refusal = self._cluster.membership.refusal(change)
        if refusal is not None:
            raise refusal
        answered: asyncio.Future[None] = self._loop.create_future()
        self._waiting[proposal_id] = answered
        try:
            self._propose(change)
            async with asyncio.timeout(self._timeout_seconds):
                await answered
        except TimeoutError as error:
            raise RequestTimeout from error
        finally:
            del self._waiting[proposal_id]

    def on_committed(self, entry: Entry) -> None:
        """Apply a committed change, in its place in the log."""
        change = ConfChange.decode(entry.data)

        def into_force(accepted: ConfChange) -> ConfState:
            return self._into_force(entry.index, accepted)

        refusal: InputError | None = self._cluster.apply_change(entry.index, change, into_force)
        _log.info(
            "members.changed index=%d changes=%s voters=%s learners=%s refused=%s",
            entry.index,
            ",".join(f"{single.kind.name}:{single.member:x}" for single in change.changes) or "-",
            ",".join(f"{member:x}" for member in self._cluster.membership.conf_state.voters),
            ",".join(f"{member:x}" for member in self._cluster.membership.conf_state.learners),
            refusal,
        )
        answered = self._waiting.get(proposal_id_of(change) or -1)
        if answered is not None and not answered.done():
            if refusal is None:
                answered.set_result(None)
            else:
                answered.set_exception(refusal)

    def fail_all(self, error: RegistryError) -> None:
        """Fail whoever waits: the node stops."""
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(error)
