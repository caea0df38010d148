"""What commands mean, in the simplest way that can be written down: the judge of the state machine.

It knows nothing of revisions' storage, indexes or watchers, and shares no code with what it judges.
It covers what `clients` asks for, not all of etcd's API.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    LeaseCheckpointRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RequestOp,
    TxnRequest,
)
from tianlu_registry.errors import (
    Compacted,
    FutureRevision,
    InputError,
    LeaseExists,
    LeaseNotFound,
)
from tianlu_registry.node.command import Request


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """One key changed: what a watcher is told."""

    revision: int
    key: bytes
    is_delete: bool
    create_revision: int = 0
    key_version: int = 0
    value: bytes = b""
    lease: int = 0

    def __str__(self) -> str:
        return f"{self.revision}: {'delete' if self.is_delete else 'put'} {self.key.decode()}"

    @property
    def kv(self) -> KeyValue:
        return KeyValue(
            key=self.key,
            create_revision=self.create_revision,
            mod_revision=self.revision,
            version=self.key_version,
            value=self.value,
            lease=self.lease,
        )


@dataclass
class Model:
    """Keys and leases after some commands.

    Attributes:
        keys: the put that each key's value comes from.
        leases: the TTL asked for, by id.
        compact_revision: -1 for never.
    """

    revision: int = 1
    compact_revision: int = -1
    keys: dict[bytes, ModelEvent] = field(default_factory=dict)
    leases: dict[int, int] = field(default_factory=dict)

    def apply(self, request: Request) -> list[ModelEvent]:
        """Apply a command.

        Returns:
            The events, all of one revision.

        Raises:
            InputError: as the product must raise it; nothing has changed.
        """
        if isinstance(request, TxnRequest):
            return self._commit(self._txn(request))
        if isinstance(request, PutRequest):
            return self._commit([self._put(request)])
        if isinstance(request, DeleteRangeRequest):
            return self._commit(self._delete(request))
        if isinstance(request, LeaseRevokeRequest):
            return self._commit(self._revoke(request))
        if isinstance(request, LeaseGrantRequest):
            self._grant(request)
        elif isinstance(request, CompactionRequest):
            self._compact(request.revision)
        elif not isinstance(request, LeaseCheckpointRequest):
            raise TypeError(f"the model does not know {type(request).__name__}")
        return []

    def _commit(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """Let what was worked out happen, as the next revision."""
        if not events:
            return []
        self.revision += 1
        done = [replace(event, revision=self.revision) for event in events]
        for event in done:
            if event.is_delete:
                del self.keys[event.key]
            else:
                self.keys[event.key] = replace(
                    event, create_revision=event.create_revision or self.revision
                )
        return [self.keys[e.key] if not e.is_delete else e for e in done]

    def _put(self, request: PutRequest) -> ModelEvent:
        if request.lease and request.lease not in self.leases:
            raise LeaseNotFound
        before = self.keys.get(request.key)
        return ModelEvent(
            0,
            request.key,
            is_delete=False,
            create_revision=before.create_revision if before else 0,
            key_version=before.key_version + 1 if before else 1,
            value=request.value,
            lease=request.lease,
        )

    def _delete(self, request: DeleteRangeRequest) -> list[ModelEvent]:
        first, end = request.key, request.range_end or request.key + b"\0"
        found = sorted(key for key in self.keys if first <= key < end)
        return [ModelEvent(0, key, is_delete=True) for key in found]

    def _txn(self, request: TxnRequest) -> list[ModelEvent]:
        succeeds = all(self._holds(compare) for compare in request.compare)
        events: list[ModelEvent] = []
        for op in request.success if succeeds else request.failure:
            events += self._operation(op)
        return events

    def _operation(self, op: RequestOp) -> list[ModelEvent]:
        if op.HasField("request_put"):
            return [self._put(op.request_put)]
        if op.HasField("request_delete_range"):
            return self._delete(op.request_delete_range)
        return []

    def _holds(self, compare: Compare) -> bool:
        if compare.target != Compare.MOD or compare.result != Compare.EQUAL:
            raise TypeError("the model compares mod_revision for equality only")
        found = self.keys.get(compare.key)
        return (found.revision if found else 0) == compare.mod_revision

    def _grant(self, request: LeaseGrantRequest) -> None:
        if request.ID in self.leases:
            raise LeaseExists
        self.leases[request.ID] = request.TTL

    def _revoke(self, request: LeaseRevokeRequest) -> list[ModelEvent]:
        if request.ID not in self.leases:
            raise LeaseNotFound
        del self.leases[request.ID]
        held = sorted(key for key, put in self.keys.items() if put.lease == request.ID)
        return [ModelEvent(0, key, is_delete=True) for key in held]

    def _compact(self, revision: int) -> None:
        if revision <= self.compact_revision:
            raise Compacted
        if revision > self.revision:
            raise FutureRevision
        self.compact_revision = revision


def error_of(model: Model, request: Request) -> tuple[type[InputError] | None, list[ModelEvent]]:
    """Apply a command; return the error's type, if it is refused, and the events."""
    try:
        return None, model.apply(request)
    except InputError as error:
        return type(error), []
