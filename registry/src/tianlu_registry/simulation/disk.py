"""A disk that forgets and tears what was not synced, for running the production WAL on.

What a crash leaves:

- of each sector that was written and not synced, the old or the new content, each by chance;
- of a size that was changed and not synced, the old or the new one;
- of the directory changes that were not synced, some first part of them, in order.

A sector is whole: a write to a part of it keeps the other part, as on a real disk.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 512


class SimulatedCrash(BaseException):
    """The power went off. Not an Exception, so that nothing handles it."""


@dataclass
class Inode:
    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)

    def resize(self, size: int) -> None:
        if size < len(self.content):
            del self.content[size:]
        else:
            self.content += bytes(size - len(self.content))

    def touch(self, offset: int, size: int) -> None:
        self.dirty.update(range(offset // SECTOR_BYTES, (offset + size - 1) // SECTOR_BYTES + 1))

    def sync(self) -> None:
        self.durable = bytearray(self.content)
        self.dirty.clear()

    def lose(self, chance: random.Random) -> None:
        """Become what a crash leaves."""
        survivor = bytearray(self.durable)
        size = len(self.content) if chance.random() < 0.5 else len(self.durable)
        survivor = survivor[:size].ljust(size, b"\0")
        for sector in self.dirty:
            if chance.random() < 0.5:
                start, end = sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES
                survivor[start:end] = self.content[start:end]
                survivor = survivor[:size].ljust(size, b"\0")
        self.content = survivor
        self.sync()


class SimulatedFile:
    def __init__(self, disk: SimulatedDisk, inode: Inode) -> None:
        self._disk = disk
        self._inode = inode

    def write(self, offset: int, data: bytes) -> None:
        self._disk.operation("write")
        inode = self._inode
        if offset + len(data) > len(inode.content):
            inode.resize(offset + len(data))
        inode.content[offset : offset + len(data)] = data
        inode.touch(offset, len(data))

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self._inode.content[offset : offset + size])

    def size(self) -> int:
        return len(self._inode.content)

    def allocate(self, size: int) -> None:
        self._disk.operation("allocate")
        self._disk.take_space(size - len(self._inode.content))
        if size > len(self._inode.content):
            self._inode.resize(size)

    def truncate(self, size: int) -> None:
        self._disk.operation("truncate")
        self._inode.resize(size)

    def sync_data(self) -> None:
        self._disk.operation("sync_data", before=lambda: self._inode.lose(self._disk.chance))
        self._inode.sync()

    def close(self) -> None:
        pass


class SimulatedDisk:
    """A `FileSystem` of one directory.

    Args:
        chance: decides what a crash leaves.
        capacity_bytes: beyond it allocation fails with ENOSPC.

    Attributes:
        operations: how many changing operations were made.
        crash_at: the operation, counted from 1, at which the power goes off; 0 for never.
        failures: errors by the name of the operation that is to fail, once each.
    """

    def __init__(self, chance: random.Random, capacity_bytes: int = 1 << 40) -> None:
        self.chance = chance
        self.operations = 0
        self.crash_at = 0
        self.failures: dict[str, OSError] = {}
        self._free_bytes = capacity_bytes
        self._names: dict[Path, Inode] = {}
        self._durable_names: dict[Path, Inode] = {}
        self._changes: list[Callable[[dict[Path, Inode]], object]] = []

    def operation(self, name: str, *, before: Callable[[], None] = lambda: None) -> None:
        """Count a changing operation, and fail or crash if it is to. A failing one has done
        `before`."""
        self.operations += 1
        if self.operations == self.crash_at:
            raise SimulatedCrash
        if error := self.failures.pop(name, None):
            before()
            raise error

    def take_space(self, size: int) -> None:
        if size > self._free_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._free_bytes -= max(size, 0)

    def crash(self) -> None:
        """Lose what was not synced; then the disk may be used again."""
        kept = self.chance.randint(0, len(self._changes))
        names = dict(self._durable_names)
        for change in self._changes[:kept]:
            change(names)
        for inode in {id(inode): inode for inode in names.values()}.values():
            inode.lose(self.chance)
        self._names, self._durable_names, self._changes = names, dict(names), []
        self.crash_at = 0

    # What the WAL calls

    def make_directory(self, path: Path) -> None:
        pass

    def names(self, directory: Path) -> list[str]:
        return sorted(path.name for path in self._names)

    def create(self, path: Path) -> SimulatedFile:
        self.operation("create")
        if path in self._names:
            raise FileExistsError(path)
        inode = Inode()
        self._change(lambda names: names.__setitem__(path, inode))
        return SimulatedFile(self, inode)

    def open(self, path: Path) -> SimulatedFile:
        return SimulatedFile(self, self._names[path])

    def rename(self, source: Path, target: Path) -> None:
        self.operation("rename")
        self._change(lambda names: names.__setitem__(target, names.pop(source)))

    def remove(self, path: Path) -> None:
        self.operation("remove")
        self._free_bytes += len(self._names[path].content)
        self._change(lambda names: names.pop(path))

    def sync_directory(self, directory: Path) -> None:
        self.operation("sync_directory")
        self._durable_names = dict(self._names)
        self._changes.clear()

    def _change(self, change: Callable[[dict[Path, Inode]], object]) -> None:
        change(self._names)
        self._changes.append(change)

    # What tests call

    def content(self, name: str) -> bytearray:
        """Return a file's bytes, to be looked at or damaged."""
        return next(inode.content for path, inode in self._names.items() if path.name == name)
