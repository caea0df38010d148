"""Who sees what is written to the backend: the seam of the state hash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class WriteObserver(Protocol):
    """Told of every write as it is made, on the loop. It keeps what it is given and changes
    nothing.

    Removing a revision is not told: that is compaction, which every member does in its own time.
    """

    @property
    def wrote_record(self) -> Callable[[bytes], object]:
        """Called with each record put under a revision. An attribute, so that it can be a
        built-in: this is the hottest call there is."""
        ...

    def wrote_lease(self, key: bytes, record: bytes | None) -> None:
        """A lease was put, or deleted (None)."""
        ...

    def wrote_named(self, name: bytes, value: bytes) -> None:
        """A named value was put."""
        ...

    def freezing(self, index: int) -> None:
        """The writes so far are about to be frozen as the state at this log index: the last
        moment for named values to go with them."""
        ...

    def replaced(self, index: int) -> None:
        """All that was written is gone: the backend now holds another state, at this log index."""
        ...


class NoObserver:
    """Sees nothing."""

    def wrote_record(self, record: bytes) -> None: ...

    def wrote_lease(self, key: bytes, record: bytes | None) -> None: ...

    def wrote_named(self, name: bytes, value: bytes) -> None: ...

    def freezing(self, index: int) -> None: ...

    def replaced(self, index: int) -> None: ...
