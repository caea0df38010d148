"""How a key-value is stored, and how stored bytes become answers and events without re-encoding.

A record is the serialized `mvccpb.KeyValue`. A message that contains it (a RangeResponse, an
Event) is parsed from the record with the field's tag and length before it, which costs a fraction
of building the message field by field.
"""

from __future__ import annotations

from collections.abc import Iterable

from tianlu._proto.etcd.kv_pb2 import Event, KeyValue
from tianlu_registry.mvcc.revision import TOMBSTONE, Change

# Tags of the length-delimited fields that hold a KeyValue.
_KV = 0x12  # RangeResponse.kvs = 2, Event.kv = 2
_EVENT_PREV_KV = 0x1A  # Event.prev_kv = 3
_KEY = b"\x0a"  # KeyValue.key = 1
_MOD_REVISION = b"\x18"  # KeyValue.mod_revision = 3
_EVENT_DELETE = b"\x08\x01"  # Event.type = 1: DELETE

_SHORT_LENGTHS = 2048


def varint(number: int) -> bytes:
    """Return a non-negative integer in protobuf's base-128 encoding."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_KV_HEADS = tuple(bytes((_KV,)) + varint(length) for length in range(_SHORT_LENGTHS))
_PREV_KV_HEADS = tuple(
    bytes((_EVENT_PREV_KV,)) + varint(length) for length in range(_SHORT_LENGTHS)
)

_KEY_HEADS = tuple(_KEY + varint(length) for length in range(_SHORT_LENGTHS))


def kv_field(record: bytes) -> bytes:
    """Return a record as a field 2: RangeResponse.kvs or Event.kv."""
    length = len(record)
    if length < _SHORT_LENGTHS:
        return _KV_HEADS[length] + record
    return bytes((_KV,)) + varint(length) + record


def _prev_kv_field(record: bytes) -> bytes:
    length = len(record)
    if length < _SHORT_LENGTHS:
        return _PREV_KV_HEADS[length] + record
    return bytes((_EVENT_PREV_KV,)) + varint(length) + record


def kv_fields(records: Iterable[bytes]) -> bytes:
    """Return records as repeated fields 2, ready to parse as a RangeResponse."""
    parts: list[bytes] = []
    append = parts.append
    for record in records:  # `kv_field`, without a call for each
        length = len(record)
        if length < _SHORT_LENGTHS:
            append(_KV_HEADS[length])
        else:
            append(bytes((_KV,)) + varint(length))
        append(record)
    return b"".join(parts)


def encode_put(
    key: bytes, value: bytes, lease: int, created: int, main: int, version: int
) -> bytes:
    """Return the record of a put."""
    return KeyValue(
        key=key,
        create_revision=created,
        mod_revision=main,
        version=version,
        value=value,
        lease=lease,
    ).SerializeToString()


def encode_tombstone(key: bytes, main: int) -> bytes:
    """Return the record of a deletion: what its event says."""
    return KeyValue(key=key, mod_revision=main).SerializeToString()


def encode_tombstones(keys: list[bytes], main: int) -> list[bytes]:
    """Return the records of deletions in one revision, without a message for each."""
    tail = _MOD_REVISION + varint(main)
    return [
        (_KEY_HEADS[len(key)] if len(key) < _SHORT_LENGTHS else _KEY + varint(len(key)))
        + key
        + tail
        for key in keys
    ]


def key_of(record: bytes) -> bytes:
    """Return the key of a record without parsing all of it: it comes first (tag 0x0a, length,
    key)."""
    length, position, shift = 0, 1, 0
    while True:
        byte = record[position]
        length |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return record[position : position + length]


def event_of(change: Change, previous: bytes | None = None) -> Event:
    """Return the event of a change.

    Args:
        previous: record of the value before, if the event shall carry it.
    """
    encoded = kv_field(change.record)
    if change.packed & TOMBSTONE:
        encoded = _EVENT_DELETE + encoded
    if previous is not None:
        encoded += _prev_kv_field(previous)
    return Event.FromString(encoded)
