"""What the MVCC core needs from others: a table of revisions, and the book of leases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class RevisionBackend(Protocol):
    """Where the bytes of every revision live, in revision order.

    Keys are 12-byte revision keys (`mvcc.revision`), values serialized `mvccpb.KeyValue`s. A
    write is visible to every later read of the same thread; when it becomes durable is the
    backend's affair. Blocking: at most a read of a mapped page. Threading: all calls from the one
    applying thread.

    Raises (all calls): StorageFailed.
    """

    def get(self, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""
        ...

    def get_many(self, keys: list[bytes]) -> list[bytes]:
        """Return the values at `keys`, in that order.

        Raises:
            Corrupt: one of them is not there.
        """
        ...

    def put(self, key: bytes, value: bytes) -> None: ...

    def put_many(self, keys: list[bytes], values: list[bytes]) -> None:
        """Write values at keys that ascend, beyond all others."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove `key`; harmless if it is not there."""
        ...

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) for start <= key < end in order. Nothing may be written meanwhile."""
        ...

    def get_meta(self, name: bytes) -> bytes | None:
        """Return a small named value that is committed with the revisions."""
        ...

    def put_meta(self, name: bytes, value: bytes) -> None: ...


class LeaseBook(Protocol):
    """Which key hangs on which lease. `tianlu_registry.lease.Lessor` is one."""

    def has(self, lease_id: int) -> bool: ...

    def lease_of(self, key: bytes) -> int:
        """Return the lease that `key` is attached to, 0 for none."""
        ...

    def attach(self, lease_id: int, keys: Iterable[bytes]) -> None:
        """Attach keys to a lease that exists, leaving whatever lease they were attached to."""
        ...

    def detach(self, lease_id: int, keys: Iterable[bytes]) -> None: ...
