"""The directory of copies of the state: for members that lag, and for those who save a snapshot.

A copy may serve several holders: two members that lag need one pause of the commits, not two. It
stays while it is held; after that the newest few stay for the next who asks, within a number and a
size, and never so that the log could find no room. Copies are only ever worth the time of making
them again: after a restart none is left.

Incoming raft_snapshots are in the same directory, under names of the transport's own.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from tianlu_registry.errors import NoSpace, StorageFailed, check
from tianlu_registry.storage.environment import LogPosition, remove_file

logger = logging.getLogger(__name__)

FREE_BYTES_MIN = 256 << 20
"""What a copy leaves free on the disk: room for the log and the database to go on."""

_PREFIX = "copy-"


class Copy:
    """A copy of the state that somebody holds. Each holder releases it once.

    Attributes:
        path: the file; it does not change.
        position: the log position of the state in it.
    """

    def __init__(self, store: SnapshotStore, path: Path, position: LogPosition, size: int) -> None:
        """Use `SnapshotStore.add`."""
        self.path = path
        self.position = position
        self.size_bytes = size
        self.holders = 1
        self._store = store

    def release(self) -> None:
        """Let go of it; it may be removed now."""
        check(self.holders > 0, f"{self.path.name} was released more often than held")
        self.holders -= 1
        self._store.retain()


class SnapshotStore:
    """Copies of the state. Everything on the loop: no call waits for more than a directory entry.

    Args:
        directory: made if it is not there, for its owner only.
        copies_max: how many copies may be there, those that are held included.
        bytes_max: how much idle copies may take together.
        free_bytes_min: see FREE_BYTES_MIN.
    """

    def __init__(
        self,
        directory: Path,
        *,
        copies_max: int = 4,
        bytes_max: int = 1 << 30,
        free_bytes_min: int = FREE_BYTES_MIN,
    ) -> None:
        self._directory = directory
        self._copies_max = copies_max
        self._bytes_max = bytes_max
        self._free_bytes_min = free_bytes_min
        self._copies: list[Copy] = []
        self._made = 0

    @property
    def size_bytes(self) -> int:
        """Of all copies."""
        return sum(copy.size_bytes for copy in self._copies)

    def open(self) -> None:
        """Make the directory, and remove what the last run has left.

        Raises:
            StorageFailed: the file system refuses.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in self._directory.glob(f"{_PREFIX}*"):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFailed(f"{self._directory}: {error.strerror}") from error

    def reserve(self, size_bytes: int) -> Path:
        """Return the name for a new copy, for `LmdbBackend.hot_copy` and then `add`.

        Idle copies give way to it.

        Args:
            size_bytes: about how large it will be.

        Raises:
            NoSpace: it would leave too little room on the disk, or too many copies are held.
        """
        self._remove_idle(self._copies_max - 1, self._bytes_max)
        if len(self._copies) >= self._copies_max:
            raise NoSpace(f"tianlu: {len(self._copies)} copies of the state are in use already")
        if self._free_bytes() < size_bytes + self._free_bytes_min:
            self._remove_idle(0, 0)
        free = self._free_bytes()
        if free < size_bytes + self._free_bytes_min:
            raise NoSpace(
                f"tianlu: no room for a copy of the state in {self._directory}: {size_bytes} bytes "
                f"are needed and {self._free_bytes_min} are to stay free, of {free}"
            )
        self._made += 1
        return self._directory / f"{_PREFIX}{self._made:08d}"

    def add(self, path: Path, position: LogPosition) -> Copy:
        """Take over a copy that was made under a reserved name; the caller holds it."""
        copy = Copy(self, path, position, path.stat().st_size)
        self._copies.append(copy)
        return copy

    def newest(self, index_min: int) -> Copy | None:
        """Return the newest copy, held by the caller too, if it is of an index at least this.

        Args:
            index_min: the log must go on from it: first_index - 1.
        """
        newest = max(self._copies, key=lambda copy: copy.position.index, default=None)
        if newest is None or newest.position.index < index_min:
            return None
        newest.holders += 1
        return newest

    def retain(self) -> None:
        """Remove the oldest idle copies that are beyond the limits."""
        self._remove_idle(self._copies_max, self._bytes_max)

    def drop_idle(self) -> None:
        """Remove all copies that nobody holds: their room is needed, or their state is gone."""
        self._remove_idle(0, 0)

    def _remove_idle(self, copies_max: int, bytes_max: int) -> None:
        """Remove idle copies, the oldest first, until so many copies and bytes are left."""
        idle = sorted(
            (copy for copy in self._copies if not copy.holders),
            key=lambda copy: copy.position.index,
        )
        idle_bytes = sum(copy.size_bytes for copy in idle)
        for copy in idle:
            if len(self._copies) <= copies_max and idle_bytes <= bytes_max:
                return
            self._copies.remove(copy)
            idle_bytes -= copy.size_bytes
            try:
                remove_file(copy.path)
            except OSError as error:
                logger.warning("snapshot_copy_left path=%s reason=%s", copy.path, error.strerror)

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._directory).free
        except OSError as error:
            raise StorageFailed(f"{self._directory}: {error.strerror}") from error
