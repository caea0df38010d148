"""Segments: their names, how one is made, and how one is read and judged.

A frame that is not valid has one of three causes, and the bytes tell which:

    the end      nothing but zeros follows: nothing was ever written there
    torn         the last write before a crash, whose sync never returned: some of its sectors never
                 reached the disk, so a sector of it is still zero, or its end is missing
    damaged      anything else: every sector is there and yet it is not what was written; or valid
                 frames follow, which were only written after this one was durable

A torn frame was never acknowledged to anybody and is cut off. Damage is never repaired by
guessing: what it hit was promised. In every segment but the last a torn frame is damage too.
Source: etcd, server/storage/wal/decoder.go (isTornEntry), for judging by zero sectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tianlu_registry.errors import Corrupt
from tianlu_registry.raft import Index
from tianlu_registry.storage.wal_files import FileSystem, WalFile
from tianlu_registry.storage.wal_format import (
    ALIGNMENT,
    FORMAT_VERSION,
    FRAME_HEADER_BYTES,
    MAGIC,
    FormatError,
    FrameHeader,
    SegmentHeader,
    decode_frame_header,
    decode_segment_header,
    encode_frame,
    encode_segment_header,
    frame_payload,
    frame_seed,
)

SECTOR_BYTES = 512
"""What a disk writes whole or not at all. Larger real ones are multiples of it."""

TEMPORARY_SUFFIX = ".tmp"
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.wal")
_READ_BYTES = 1024 * 1024
_ZEROS = bytes(_READ_BYTES)


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """A segment's file name: its number, and the first index that is in it or a later one."""

    sequence: int
    first_index: Index

    def __str__(self) -> str:
        return f"{self.sequence:016x}-{self.first_index:016x}.wal"

    @classmethod
    def parse(cls, name: str) -> SegmentName | None:
        match = _NAME.fullmatch(name)
        return cls(int(match[1], 16), Index(int(match[2], 16))) if match else None


def list_segments(files: FileSystem, directory: Path) -> list[SegmentName]:
    """Return a directory's segments in order."""
    names = (SegmentName.parse(name) for name in files.names(directory))
    return sorted(name for name in names if name is not None)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next frame goes.

    Attributes:
        offset: in the segment.
        crc: of the frame before.
    """

    offset: int
    crc: int


def create_segment(
    files: FileSystem,
    directory: Path,
    header: SegmentHeader,
    records: bytes,
    *,
    previous_crc: int,
    segment_bytes: int,
) -> tuple[WalFile, Position]:
    """Make a segment, durably, and open it. It appears under its name only when it is complete.

    Args:
        records: what its first frame holds beside the header.
        previous_crc: of the last frame of the segment before; 0 in the first one.
        segment_bytes: disk space to reserve, so that writes do not change the file's size.
    """
    name = SegmentName(header.sequence, header.first_index)
    temporary = directory / f"{name}{TEMPORARY_SUFFIX}"
    payload = encode_segment_header(header) + records
    seed = frame_seed(b"", header.sequence, len(MAGIC))
    frame, crc = encode_frame(payload, previous_crc, seed)
    file = files.create(temporary)
    try:
        file.allocate(segment_bytes)
        file.write(0, MAGIC + frame)
        file.sync_data()
        files.rename(temporary, directory / str(name))
        files.sync_directory(directory)
    except BaseException:
        file.close()
        raise
    return file, Position(len(MAGIC) + len(frame), crc)


class SegmentReader:
    """Reads a segment's frames from front to back, a part of the file at a time.

    Args:
        file: stays the caller's.
        path: for messages.
        name: what the segment's header must agree with.

    Attributes:
        header: the segment's.
        position: after the last valid frame read so far.
        torn_bytes: once `payloads` has ended: what lies beyond the last valid frame.
    """

    def __init__(self, file: WalFile, path: Path, name: SegmentName) -> None:
        self._file = file
        self._path = path
        self._size = file.size()
        self._window = b""
        self._window_offset = 0
        self.torn_bytes = 0
        self._check_magic()
        first = self._frame_header(len(MAGIC), b"", name.sequence)
        payload = self._payload(len(MAGIC), first, b"", name.sequence)
        if first is None or payload is None:
            raise self.corrupt(len(MAGIC), "its first frame is not valid")
        try:
            self.header, self._first_records = decode_segment_header(payload)
        except FormatError as error:
            raise self.corrupt(len(MAGIC), str(error)) from error
        if (self.header.sequence, self.header.first_index) != (name.sequence, name.first_index):
            raise self.corrupt(len(MAGIC), "its header and its name disagree")
        self.previous_crc = first.previous_crc
        self.position = Position(len(MAGIC) + first.frame_bytes, first.crc)

    def payloads(self, *, may_be_torn: bool) -> Iterator[bytes]:
        """Yield each frame's records.

        Args:
            may_be_torn: whether this is the log's last segment.

        Raises:
            Corrupt: the segment is damaged.
        """
        yield self._first_records
        nonce, sequence = self.header.nonce, self.header.sequence
        while True:
            offset = self.position.offset
            header = self._frame_header(offset, nonce, sequence)
            payload = self._payload(offset, header, nonce, sequence)
            if header is None or payload is None:
                self._judge_end(offset, header, may_be_torn=may_be_torn)
                return
            if header.previous_crc != self.position.crc:
                raise self.corrupt(offset, "a frame does not follow the one before it")
            self.position = Position(offset + header.frame_bytes, header.crc)
            yield payload

    def corrupt(self, offset: int, problem: str) -> Corrupt:
        return Corrupt(
            f"{self._path}: damaged at byte {offset}: {problem}. Nothing was changed. Restore this "
            "member from a backup, or remove its data and let it join again"
        )

    def _check_magic(self) -> None:
        magic = self._read(0, len(MAGIC))
        if magic == MAGIC:
            return
        if magic[:-1] == MAGIC[:-1]:
            raise Corrupt(
                f"{self._path}: written in format {magic[-1]}; this release reads format "
                f"{FORMAT_VERSION}"
            )
        raise self.corrupt(0, "not a WAL segment")

    def _frame_header(self, offset: int, nonce: bytes, sequence: int) -> FrameHeader | None:
        data = self._read(offset, FRAME_HEADER_BYTES)
        return decode_frame_header(data, frame_seed(nonce, sequence, offset))

    def _payload(
        self, offset: int, header: FrameHeader | None, nonce: bytes, sequence: int
    ) -> bytes | None:
        """Return a frame's payload, or None if it is not valid."""
        if header is None or offset + header.frame_bytes > self._size:
            return None
        frame = self._read(offset, header.frame_bytes)
        return frame_payload(header, frame, frame_seed(nonce, sequence, offset))

    def _judge_end(self, offset: int, header: FrameHeader | None, *, may_be_torn: bool) -> None:
        """Tell why there is no valid frame at `offset`; see the module."""
        end = self._written_end(offset)
        if end == offset:
            return
        if not may_be_torn:
            raise self.corrupt(offset, "a frame is not valid, and a later segment follows")
        following = self._find_frame(offset + ALIGNMENT, end)
        if following is not None:
            raise self.corrupt(offset, f"a frame is not valid, but the one at {following} is")
        frame_end = offset + header.frame_bytes if header else end
        if not self._is_torn(offset, frame_end):
            raise self.corrupt(offset, "the last frame was written whole, but is not valid")
        self.torn_bytes = end - offset

    def _written_end(self, offset: int) -> int:
        """Return the end of what is not zero from `offset` on; `offset` if nothing is."""
        end = offset
        for start in range(offset, self._size, _READ_BYTES):
            data = self._file.read(start, _READ_BYTES)
            # Comparing is some fifty times faster than stripping, and nearly all of it is zeros.
            if data != _ZEROS[: len(data)]:
                end = start + len(data.rstrip(b"\0"))
        return end

    def _find_frame(self, start: int, end: int) -> int | None:
        """Return where the first valid frame in [start, end) begins."""
        nonce, sequence = self.header.nonce, self.header.sequence
        for offset in range(start, end - FRAME_HEADER_BYTES, ALIGNMENT):
            header = self._frame_header(offset, nonce, sequence)
            if header and self._payload(offset, header, nonce, sequence) is not None:
                return offset
        return None

    def _is_torn(self, start: int, end: int) -> bool:
        """Whether a sector's part of [start, end) is all zeros, or its last byte is missing."""
        if end > self._size or not self._read(end - 1, 1).strip(b"\0"):
            return True
        offset = start
        while offset < end:
            piece_end = min(end, (offset // SECTOR_BYTES + 1) * SECTOR_BYTES)
            if not self._read(offset, piece_end - offset).strip(b"\0"):
                return True
            offset = piece_end
        return end - start < FRAME_HEADER_BYTES

    def _read(self, offset: int, size: int) -> bytes:
        start = offset - self._window_offset
        if start < 0 or start + size > len(self._window):
            self._window = self._file.read(offset, max(size, _READ_BYTES))
            self._window_offset = offset
            start = 0
        return self._window[start : start + size]
