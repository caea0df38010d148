"""What the lessor needs from others: somewhere to keep its records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class LeaseBackend(Protocol):
    """A table of lease records. What is written is committed with the revisions, atomically."""

    def leases(self) -> Iterator[tuple[int, bytes]]:
        """Yield (lease id, record) of all leases. Nothing may be written meanwhile."""
        ...

    def put_lease(self, lease_id: int, record: bytes) -> None: ...

    def delete_lease(self, lease_id: int) -> None: ...
