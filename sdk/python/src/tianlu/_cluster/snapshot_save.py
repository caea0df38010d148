"""Saves a member's snapshot to a file that is either whole or not there.

The file is the member's database followed by the SHA-256 of it. It grows as FILE.part, and gets its
name once the digest has been compared and the disk has it all.
Source: etcd client/v3/snapshot/v3_snapshot.go.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tianlu._cluster.node import SNAPSHOT, STATUS, Nodes
from tianlu._endpoint import Endpoint
from tianlu._errors import Conflict, ProtocolError
from tianlu._proto.etcd import rpc_pb2 as etcd

DIGEST_BYTES: Final = hashlib.sha256().digest_size

Progress = Callable[[int, int], None]
"""Called with the bytes written so far and the bytes expected in all."""


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """A snapshot on disk.

    Attributes:
        bytes: size of the file, its digest included.
        sha256: of the database in it, hexadecimal.
        revision: of the member just before it began.
    """

    file: str
    endpoint: str
    bytes: int
    sha256: str
    revision: int


async def save_snapshot(
    nodes: Nodes,
    endpoints: Sequence[Endpoint],
    file: Path,
    *,
    replace: bool = False,
    progress: Progress = lambda done, total: None,
) -> SavedSnapshot:
    """Save the snapshot of the first endpoint that answers.

    Args:
        replace: whether a file of that name may be overwritten.

    Raises:
        Conflict: there is a file of that name, or it cannot be written.
        ProtocolError: what came does not match its digest, or ended early. No file is left.
        TianluError: the registry broke off. No file is left.
    """
    if not replace:
        _check_free(file)
    endpoint, status = await nodes.call_any(endpoints, STATUS, etcd.StatusRequest())
    part = file.with_name(file.name + ".part")
    try:
        with _open_private(part) as target:
            writer = _DigestedFile(target)
            await _receive(nodes, endpoint, writer, progress)
            target.flush()
            os.fsync(target.fileno())
        _rename(part, file)
    except OSError as error:
        raise Conflict(f"{error.filename or part}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    revision = status.header.revision
    return SavedSnapshot(str(file), str(endpoint), writer.size, writer.sha256, revision)


async def _receive(
    nodes: Nodes, endpoint: Endpoint, writer: _DigestedFile, progress: Progress
) -> None:
    """Write what the node streams, and compare the digest that it ends with."""
    complete = False
    async with aclosing(nodes.stream(endpoint, SNAPSHOT, etcd.SnapshotRequest())) as pieces:
        async for piece in pieces:
            writer.write(piece.blob)
            progress(writer.size, writer.size + piece.remaining_bytes)
            complete = piece.remaining_bytes == 0
    if not complete or writer.size <= DIGEST_BYTES:
        raise ProtocolError(f"registry at {endpoint}: the snapshot ended early")
    if not writer.matches:
        raise ProtocolError(
            f"registry at {endpoint}: the snapshot does not match its digest; nothing was saved"
        )


class _DigestedFile:
    """Writes to a file, and digests all but its last 32 bytes, which are to be the digest."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._digest = hashlib.sha256()
        self._held = b""
        self.size = 0

    def write(self, data: bytes) -> None:
        self._target.write(data)
        self.size += len(data)
        held = self._held + data
        self._digest.update(held[:-DIGEST_BYTES])
        self._held = held[-DIGEST_BYTES:]

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def matches(self) -> bool:
        """Whether the last bytes are the digest of those before."""
        return self._digest.digest() == self._held


def _check_free(file: Path) -> None:
    if file.exists():
        raise Conflict(f"{file} exists already; give --force to replace it")


def _open_private(file: Path) -> IO[bytes]:
    """Open a new file, or an old one emptied, that only its owner may read."""
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _rename(part: Path, file: Path) -> None:
    """Give a file its name, durably."""
    part.replace(file)
    handle = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
