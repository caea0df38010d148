"""What the raw key-value API answers: values of etcd v3's messages, frozen."""

from __future__ import annotations

from dataclasses import dataclass

from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._view import ChangeKind


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key as it stands at a revision.

    Attributes:
        version: how often it was written since it was made; 1 at first.
        lease: the lease that it ends with; 0 for none.
    """

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The answer of `get`.

    Attributes:
        count: how many keys the range has, beyond any limit.
        more: whether the limit left some out.
        revision: the store's revision when it answered.
    """

    items: tuple[KeyValue, ...]
    count: int
    more: bool
    revision: int


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One change of one key. For a removal `item` has the key and the revision only."""

    kind: ChangeKind
    item: KeyValue
    previous: KeyValue | None = None


@dataclass(frozen=True, slots=True)
class TxnResult:
    """The answer of `txn`: which branch was taken, and the raw answers of its operations."""

    succeeded: bool
    responses: tuple[etcd.ResponseOp, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease. `remaining_seconds` is -1 once it has ended."""

    id: int
    ttl_seconds: int
    remaining_seconds: int
    keys: tuple[bytes, ...] = ()
