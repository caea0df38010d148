"""A range in pieces: merged, the pieces are what one answer would have been."""

from __future__ import annotations

from typing import Any

import pytest
from registry.engine.calls import delete, end_of, get, op_put, put, txn

from tianlu._proto.etcd.rpc_pb2 import CompactionRequest, RangeRequest, RangeResponse
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import Compacted, EmptyKey, FutureRevision

COUNT = 75  # several pieces: 10, 20, 40, ...


async def fill(store: Store, prefix: bytes) -> int:
    """Put COUNT keys in one revision, which is returned."""
    made = await txn(store, success=[op_put(prefix + b"%03d" % n, b"1") for n in range(COUNT)])
    return made.header.revision


async def pieces_of(store: Store, key: bytes, **fields: Any) -> list[RangeResponse]:
    request = RangeRequest(key=key, **{"range_end": end_of(key), **fields})
    return [piece async for piece in store.range_stream(request)]


def merged(pieces: list[RangeResponse]) -> RangeResponse:
    whole = RangeResponse()
    for piece in pieces:
        whole.MergeFrom(piece)
    return whole


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"limit": 1},
        {"limit": 30},
        {"limit": 31},
        {"limit": COUNT},
        {"limit": COUNT + 1},
        {"limit": -1},
        {"keys_only": True},
        {"count_only": True},
        {"serializable": True},
        {"range_end": b""},
        {"range_end": b"\0", "limit": 40},
    ],
)
async def test_pieces_are_the_range(store: Store, prefix: bytes, fields: dict[str, Any]) -> None:
    past = await fill(store, prefix)
    for number in range(0, COUNT, 2):
        await delete(store, prefix + b"%03d" % number)
    for revision in (0, past, past + 9):
        asked = fields | {"revision": revision}
        pieces = await pieces_of(store, prefix, **asked)
        for piece in pieces[:-1]:
            assert piece.kvs
            assert not piece.HasField("header")
        expected = await get(store, prefix, asked.pop("range_end", end_of(prefix)), **asked)
        assert merged(pieces) == expected


async def test_all_pieces_are_of_one_revision(store: Store, prefix: bytes) -> None:
    """What is written between two pieces is not seen, and stops none of them."""
    await fill(store, prefix)
    expected = await get(store, prefix, end_of(prefix))
    whole = RangeResponse()
    request = RangeRequest(key=prefix, range_end=end_of(prefix))
    async for piece in store.range_stream(request):
        whole.MergeFrom(piece)
        await put(store, prefix + b"%03d+" % len(whole.kvs), b"new")
        await put(store, prefix + b"050", b"changed")
        await delete(store, prefix + b"070")
    assert whole == expected


async def test_a_compaction_between_two_pieces(store: Store, prefix: bytes) -> None:
    await fill(store, prefix)
    pieces = store.range_stream(RangeRequest(key=prefix, range_end=end_of(prefix)))
    await anext(pieces)
    newer = (await put(store, prefix + b"x")).header.revision
    await store.compact(CompactionRequest(revision=newer))
    with pytest.raises(Compacted):
        await anext(pieces)


async def test_refused(store: Store, prefix: bytes) -> None:
    with pytest.raises(EmptyKey):
        await anext(store.range_stream(RangeRequest()))
    with pytest.raises(FutureRevision):
        await pieces_of(store, prefix, revision=1 << 40)
