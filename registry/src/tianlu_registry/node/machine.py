"""The replicated state machine: what each kind of command does to keys, leases, users and cluster.

Everything here is decided by the log alone, so that every member and every replay comes to the
same state. The one exception is said where it stands: a lease's expiry time belongs to the leader
and is never stored.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from tianlu._proto.etcd.rpc_pb2 import (
    AlarmRequest,
    AlarmResponse,
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseCheckpointRequest,
    LeaseCheckpointResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    Member,
    MemberUpdateRequest,
    MemberUpdateResponse,
    PutRequest,
    PutResponse,
    ResponseHeader,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.auth import AuthCommand, AuthStore, Checker
from tianlu_registry.auth.apply import AuthResponse
from tianlu_registry.auth.apply import apply as apply_auth
from tianlu_registry.auth.commands import AuthRequest
from tianlu_registry.auth.envelope import Claimed
from tianlu_registry.lease import Lessor
from tianlu_registry.mvcc import Change, MvccStore, WatchHub
from tianlu_registry.mvcc.record import varint
from tianlu_registry.mvcc.restore import Restored
from tianlu_registry.mvcc.types import Clock
from tianlu_registry.node.cluster_state import ClusterState
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.identity import Identity
from tianlu_registry.node.membership import Membership
from tianlu_registry.storage.backend import LmdbBackend

FREEZE_KEYS_MIN: Final = 50_000
"""With more keys restored than this, they are taken out of the sight of Python's garbage collector,
which would otherwise look through all of them again and again: a pause of 130 ms at 200,000 keys
of two revisions each."""

_HEADER_FIELD: Final = b"\x0a"  # header = 1, in every answer


class StateMachine:
    """Keys, leases, watchers, members, alarms and users, changed by commands in log order.

    Args:
        mvcc, lessor, hub, cluster, auth: the parts, restored and joined by whoever builds the node.
        identity: for the headers of answers.
        clock: starts a granted lease's time on this member.

    Attributes:
        term: the newest, for the headers of answers.
        checker: judges by users and roles what is done on behalf of somebody.
        on_compacted: called when there is history to remove from the database.
    """

    def __init__(
        self,
        mvcc: MvccStore,
        lessor: Lessor,
        hub: WatchHub,
        cluster: ClusterState,
        identity: Identity,
        clock: Clock,
        *,
        auth: AuthStore,
    ) -> None:
        self.mvcc: Final = mvcc
        self.lessor: Final = lessor
        self.hub: Final = hub
        self.cluster: Final = cluster
        self.auth: Final = auth
        self.checker: Final = Checker(auth, lessor)
        self.term = 0
        self.on_compacted: Callable[[], None] = _nothing
        self._identity = identity
        self.clock: Final = clock
        self._encoded_header_at = (0, 0)
        self._encoded_header = b""
        self._apply_of: dict[CommandKind, Callable[[Any], Any]] = {
            CommandKind.PUT: self._put,
            CommandKind.DELETE_RANGE: self._delete_range,
            CommandKind.TXN: self._txn,
            CommandKind.COMPACTION: self._compact,
            CommandKind.LEASE_GRANT: self._lease_grant,
            CommandKind.LEASE_REVOKE: self._lease_revoke,
            CommandKind.LEASE_CHECKPOINT: self._lease_checkpoint,
            CommandKind.MEMBER_PUBLISH: self._member_publish,
            CommandKind.MEMBER_UPDATE: self._member_update,
            CommandKind.ALARM: self._alarm,
            CommandKind.CLAIMED: self._claimed,
            **{CommandKind(kind): partial(self._auth, kind) for kind in AuthCommand},
        }

    @classmethod
    def restore(
        cls,
        backend: LmdbBackend,
        identity: Identity,
        clock: Clock,
        *,
        founders: Membership,
        on_lagging: Callable[[], None],
    ) -> StateMachine:
        """Rebuild what a database holds: leases, then the keys that hang on them.

        Args:
            founders: the members, if the database does not hold them yet.
            on_lagging: called when a watcher wants history: see `WatchHub.catch_up`.
        """
        lessor = Lessor(backend)
        mvcc = MvccStore(backend, lessor)
        if mvcc.key_count >= FREEZE_KEYS_MIN:
            gc.collect()
            gc.freeze()
        hub = WatchHub(mvcc, on_lagging=on_lagging)
        cluster, auth = ClusterState(backend, founders), AuthStore(backend)
        return cls(mvcc, lessor, hub, cluster, identity, clock, auth=auth)

    def reload(self, restored: Restored) -> None:
        """Go on with the state of a raft_snapshot, which the backend holds already.

        Args:
            restored: the keys, from the backend's records.
        """
        self.lessor.reload()
        self.mvcc.reload(restored)
        self.hub.resync()
        self.cluster.reload()
        self.auth.reload()
        self.on_compacted()  # the copy may have been made in the middle of a compaction

    def apply(self, kind: CommandKind, request: Request) -> object:
        """Apply one command and tell the watchers: at once, or after `gather` when `deliver` is
        called.

        Returns:
            The answer, complete with its header; it belongs to the caller.

        Raises:
            InputError: the command cannot be, in the state it met. Nothing was changed, and every
                member finds the same.
            Broken: this member cannot go on.
        """
        return self._apply_of[kind](request)

    def header(self) -> ResponseHeader:
        """Return a new header at the present revision."""
        identity = self._identity
        return ResponseHeader(
            cluster_id=identity.cluster_id,
            member_id=identity.member_id,
            revision=self.mvcc.revision,
            raft_term=self.term,
        )

    def gather(self) -> None:
        """Keep the events of the commands that follow, so that a watcher gets them together."""
        self.hub.gather()

    def deliver(self) -> None:
        """Deliver the events gathered. Nothing else may happen before."""
        self.hub.deliver()

    def encoded_header(self) -> bytes:
        """Return a header at the present revision as an answer's first field, encoded."""
        at = (self.mvcc.revision, self.term)
        if at != self._encoded_header_at:
            header = self.header().SerializeToString()
            self._encoded_header = _HEADER_FIELD + varint(len(header)) + header
            self._encoded_header_at = at
        return self._encoded_header

    def complete(self, header: ResponseHeader) -> None:
        """Fill in what the core left out of an answer's header: who answers, and in which term."""
        identity = self._identity
        header.cluster_id = identity.cluster_id
        header.member_id = identity.member_id
        header.raft_term = self.term

    def _put(self, request: PutRequest) -> PutResponse:
        response, changes = self.mvcc.put(request)
        self._publish(changes)
        self.complete(response.header)
        return response

    def _delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        response, changes = self.mvcc.delete_range(request)
        self._publish(changes)
        self.complete(response.header)
        return response

    def _txn(self, request: TxnRequest) -> TxnResponse:
        response, changes = self.mvcc.txn(request)
        self._publish(changes)
        self.complete(response.header)
        return response

    def _compact(self, request: CompactionRequest) -> CompactionResponse:
        self.hub.flush()  # values before the changes gathered may be compacted
        self.mvcc.compact(request.revision)
        self.on_compacted()
        return CompactionResponse(header=self.header())

    def _lease_grant(self, request: LeaseGrantRequest) -> LeaseGrantResponse:
        ttl_seconds = self.lessor.grant(request.ID, request.TTL, self.clock())
        return LeaseGrantResponse(header=self.header(), ID=request.ID, TTL=ttl_seconds)

    def _lease_revoke(self, request: LeaseRevokeRequest) -> LeaseRevokeResponse:
        keys = self.lessor.revoke(request.ID)
        self._publish(self.mvcc.delete_keys(keys))
        return LeaseRevokeResponse(header=self.header())

    def _lease_checkpoint(self, request: LeaseCheckpointRequest) -> LeaseCheckpointResponse:
        for checkpoint in request.checkpoints:
            self.lessor.checkpoint(checkpoint.ID, checkpoint.remaining_TTL)
        return LeaseCheckpointResponse(header=self.header())

    def _member_publish(self, attributes: Member) -> None:
        self.cluster.publish(attributes)

    def _member_update(self, request: MemberUpdateRequest) -> MemberUpdateResponse:
        self.cluster.move(request)
        return MemberUpdateResponse(
            header=self.header(), members=self.cluster.membership.messages()
        )

    def _alarm(self, request: AlarmRequest) -> AlarmResponse:
        changed = self.cluster.change_alarm(request)
        return AlarmResponse(header=self.header(), alarms=changed)

    def _claimed(self, command: Claimed) -> object:
        self.checker.command(command.claim, command.request)
        return self._apply_of[CommandKind(command.kind)](command.request)

    def _auth(self, kind: AuthCommand, request: AuthRequest) -> AuthResponse:
        response = apply_auth(self.auth, kind, request)
        response.header.CopyFrom(self.header())
        return response

    def _publish(self, changes: Sequence[Change]) -> None:
        if changes:
            self.hub.publish(self.mvcc.revision, changes)


def _nothing() -> None: ...
