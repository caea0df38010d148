"""The bytes of a WAL segment.

    segment  := magic frame*  zeros            the first frame holds the segment's header
    magic    := "TLWAL" 0 0 version            8 bytes
    frame    := length u32  previous_crc u32  crc u32  header_crc u32   payload   end mark
    payload  := record*                        all that one sync made durable
    record   := HARD_STATE term u64  vote u64  commit u64
              | ENTRIES first_index u64  term u64  type u8  count u32  length u32 * count  data
              | BASE index u64  term u64       the log holds nothing up to this position

Integers are little-endian. A frame is padded with its end mark, one to eight bytes of 0xA5, to a
multiple of 8, so that its last byte is never zero.

A frame is what one sync wrote, so at most one frame, the last, can be incomplete after a crash, and
a frame is there whole or not at all.

`crc` covers length, previous_crc and payload; `previous_crc` is the frame's before, which makes a
chain through all segments. `header_crc` covers the 12 bytes before it, so that the length of a
frame whose payload is damaged can still be trusted. Both begin from a seed that depends on the
log's secret nonce, the segment and the frame's place in it: no value that a user stores can pass
for a frame, and a frame cannot be valid in another place.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, groupby
from typing import TypeAlias
from zlib import crc32

from tianlu_registry.raft import Entry, EntryType, HardState, Index, MemberId, Term

FORMAT_VERSION = 1
MAGIC = b"TLWAL\0\0" + bytes([FORMAT_VERSION])
ALIGNMENT = 8
NONCE_BYTES = 8

_END_MARK = b"\xa5"
_FRAME_HEADER = struct.Struct("<IIII")
FRAME_HEADER_BYTES = _FRAME_HEADER.size
_FRAME_COVERED = struct.Struct("<II")
_PLACE = struct.Struct("<QQ")
_SEGMENT_HEADER = struct.Struct("<QQ8sI")
_HARD_STATE = struct.Struct("<BQQQ")
_ENTRIES = struct.Struct("<BQQBI")
_BASE = struct.Struct("<BQQ")


class FormatError(ValueError):
    """A payload whose checksum is right does not follow the format."""


class RecordKind(IntEnum):
    """Stored: never reuse a number."""

    HARD_STATE = 1
    ENTRIES = 2
    BASE = 3


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What each segment says of itself and of the whole log.

    Attributes:
        sequence: counts segments from 0.
        first_index: entries from here on are in this segment or a later one.
        nonce: the log's own secret, NONCE_BYTES long.
        metadata: the log's owner's, the same in all segments.
    """

    sequence: int
    first_index: Index
    nonce: bytes
    metadata: bytes


@dataclass(frozen=True, slots=True)
class FrameHeader:
    length: int
    previous_crc: int
    crc: int

    @property
    def frame_bytes(self) -> int:
        """Size of the whole frame, its end mark included."""
        return padded_bytes(self.length)


def padded_bytes(payload_length: int) -> int:
    return (FRAME_HEADER_BYTES + payload_length) // ALIGNMENT * ALIGNMENT + ALIGNMENT


def frame_seed(nonce: bytes, sequence: int, offset: int) -> int:
    """Return where a frame's checksums begin. The first frame of a segment, which tells the nonce,
    has the nonce b""."""
    return crc32(_PLACE.pack(sequence, offset), crc32(nonce))


def encode_frame(payload: bytes, previous_crc: int, seed: int) -> tuple[bytes, int]:
    """Return the frame's bytes and its crc."""
    length = len(payload)
    crc = crc32(payload, crc32(_FRAME_COVERED.pack(length, previous_crc), seed))
    covered = _FRAME_HEADER.pack(length, previous_crc, crc, 0)[:12]
    header = covered + crc32(covered, seed).to_bytes(4, "little")
    return b"".join((header, payload, _end_mark(length))), crc


def decode_frame_header(data: bytes, seed: int) -> FrameHeader | None:
    """Return the header at the start of `data`, or None if there is no valid one."""
    if len(data) < FRAME_HEADER_BYTES:
        return None
    length, previous_crc, crc, header_crc = _FRAME_HEADER.unpack_from(data)
    if crc32(data[:12], seed) != header_crc:
        return None
    return FrameHeader(length, previous_crc, crc)


def frame_payload(header: FrameHeader, frame: bytes, seed: int) -> bytes | None:
    """Return the payload of a whole frame, or None if it is not valid to its last byte."""
    end = FRAME_HEADER_BYTES + header.length
    payload = frame[FRAME_HEADER_BYTES:end]
    if len(frame) != header.frame_bytes or frame[end:] != _end_mark(header.length):
        return None
    covered = _FRAME_COVERED.pack(header.length, header.previous_crc)
    return payload if crc32(payload, crc32(covered, seed)) == header.crc else None


def _end_mark(length: int) -> bytes:
    return _END_MARK * (padded_bytes(length) - FRAME_HEADER_BYTES - length)


def encode_segment_header(header: SegmentHeader) -> bytes:
    fields = _SEGMENT_HEADER.pack(
        header.sequence, header.first_index, header.nonce, len(header.metadata)
    )
    return fields + header.metadata


def decode_segment_header(payload: bytes) -> tuple[SegmentHeader, bytes]:
    """Return the header and the records that follow it.

    Raises:
        FormatError: it is cut short.
    """
    try:
        sequence, first_index, nonce, length = _SEGMENT_HEADER.unpack_from(payload)
    except struct.error as error:
        raise FormatError("segment header cut short") from error
    start = _SEGMENT_HEADER.size
    metadata = payload[start : start + length]
    if len(metadata) < length:
        raise FormatError("metadata cut short")
    return (
        SegmentHeader(sequence, Index(first_index), nonce, metadata),
        payload[start + length :],
    )


def encode_hard_state(state: HardState) -> bytes:
    return _HARD_STATE.pack(RecordKind.HARD_STATE, state.term, state.vote, state.commit)


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """Return one record for each run of entries of one term and type. Indexes are consecutive."""
    first = entries[0]
    last = entries[-1]
    # Terms never fall along a log, so equal ends mean one term throughout: the common case.
    if first.term == last.term and len({entry.type for entry in entries}) == 1:
        return _encode_run(entries)
    runs = groupby(entries, key=lambda entry: (entry.term, entry.type))
    return b"".join([_encode_run(list(run)) for _, run in runs])


def _encode_run(entries: Sequence[Entry]) -> bytes:
    first, count = entries[0], len(entries)
    data = [entry.data for entry in entries]
    header = _ENTRIES.pack(RecordKind.ENTRIES, first.index, first.term, first.type, count)
    lengths = struct.pack(f"<{count}I", *map(len, data))
    return b"".join((header, lengths, *data))


def encode_base(base: Base) -> bytes:
    return _BASE.pack(RecordKind.BASE, base.index, base.term)


@dataclass(frozen=True, slots=True)
class Base:
    """The log begins anew after this position: of what came before nothing counts any more.

    A raft_snapshot stands there. A log without one begins after (0, 0).
    """

    index: Index
    term: Term


@dataclass(frozen=True, slots=True)
class EntryRun:
    """Consecutive entries of one term and type.

    Attributes:
        entries: those of [first_index, last_index] that were asked for.
    """

    first_index: Index
    last_index: Index
    term: Term
    entries: list[Entry]


Record: TypeAlias = "HardState | EntryRun | Base"


def decode_records(payload: bytes, after: Index) -> Iterator[Record]:
    """Read a payload's records. Entries at or before `after` are not made.

    Raises:
        FormatError: the payload does not follow the format.
    """
    offset = 0
    try:
        while offset < len(payload):
            kind = payload[offset]
            if kind == RecordKind.HARD_STATE:
                _, term, vote, commit = _HARD_STATE.unpack_from(payload, offset)
                offset += _HARD_STATE.size
                yield HardState(Term(term), MemberId(vote), Index(commit))
            elif kind == RecordKind.ENTRIES:
                run, offset = _decode_run(payload, offset, after)
                yield run
            elif kind == RecordKind.BASE:
                _, index, base_term = _BASE.unpack_from(payload, offset)
                offset += _BASE.size
                yield Base(Index(index), Term(base_term))
            else:
                raise FormatError(f"record of unknown kind {kind}")
    except (struct.error, ValueError) as error:
        raise FormatError(f"record at {offset}: {error}") from error


def _decode_run(payload: bytes, offset: int, after: Index) -> tuple[EntryRun, int]:
    _, first_index, term, type_number, count = _ENTRIES.unpack_from(payload, offset)
    offset += _ENTRIES.size
    lengths = struct.unpack_from(f"<{count}I", payload, offset)
    bounds = list(accumulate(lengths, initial=offset + 4 * count))
    if not count or bounds[-1] > len(payload):
        raise FormatError("entries cut short")
    entry_type = EntryType(type_number)
    entries = [
        Entry(term, Index(first_index + i), payload[bounds[i] : bounds[i + 1]], entry_type)
        for i in range(max(after + 1 - first_index, 0), count)
    ]
    return EntryRun(first_index, Index(first_index + count - 1), term, entries), bounds[-1]
