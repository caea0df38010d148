"""A range in pieces: one of any size costs the memory of a piece, and its time in one turn.

Every piece is read at the revision at which the first one was, and the pieces, merged, are what
`Store.range` would have answered then. Pieces grow until one is about `PIECE_BYTES`.

Source: etcd server/etcdserver/v3_server.go, `rangeStream` (since 3.7).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from tianlu._proto.etcd.rpc_pb2 import RangeRequest, RangeResponse

FIRST_PIECE_KEYS: Final = 10
PIECE_KEYS_MAX: Final = 10_000
"""A piece of small keys is limited by the time that it takes: about 16 ms."""
PIECE_BYTES: Final = 1024 * 1024

Read = Callable[[RangeRequest], Awaitable[RangeResponse]]


async def pieces(request: RangeRequest, read: Read) -> AsyncGenerator[RangeResponse, None]:
    """Yield the answer to a range in pieces: keys in all of them, header, `more` and `count` in the
    last.

    Args:
        request: checked; in key order and without filters of revisions.
        read: answers a range. Only of the first piece, and of one that counts, the count is used.

    Raises:
        Compacted: the revision was compacted before the last piece was read.
    """
    if request.count_only:
        yield await read(request)
        return
    wanted = max(request.limit, 0)
    part = RangeRequest()
    part.CopyFrom(request)
    keys_max, sent, header = FIRST_PIECE_KEYS, 0, None
    while True:
        part.limit = min(keys_max, wanted - sent) if wanted else keys_max
        piece = await read(part)
        sent += len(piece.kvs)
        if header is None:
            header = piece.header
            # What follows reads the past, which every member has that has this revision.
            part.revision = part.revision if part.revision > 0 else header.revision
            part.serializable = True
        is_last = not piece.more or sent == wanted
        answer = RangeResponse(kvs=piece.kvs)
        if piece.kvs:
            part.key = piece.kvs[-1].key + b"\0"
        if is_last:
            answer.header.CopyFrom(header)
            answer.more = piece.more
            answer.count = sent + (await _count(part, read) if piece.more else 0)
        yield answer
        if is_last:
            return
        keys_max = _adjusted(keys_max, piece.ByteSize())


async def _count(rest: RangeRequest, read: Read) -> int:
    counting = RangeRequest()
    counting.CopyFrom(rest)
    counting.limit = 0
    counting.count_only = True
    return (await read(counting)).count


def _adjusted(keys_max: int, size: int) -> int:
    """Return how many keys the next piece may have, after one of `size` bytes."""
    if size < PIECE_BYTES // 2:
        return min(keys_max * 2, PIECE_KEYS_MAX)
    return max(keys_max // 2, 1) if size > PIECE_BYTES * 2 else keys_max
