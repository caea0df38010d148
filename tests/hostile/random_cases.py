"""Random frames, headers, messages and JSON, for a real node. A case is made of its seed alone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

from hostile import http2 as h2
from hostile.calls import PUT, RANGE, SNAPSHOT, TXN, WATCH, framed, grpc_headers
from hostile.wire import dial

from tianlu._proto.etcd.rpc_pb2 import (
    PutRequest,
    RangeRequest,
    TxnRequest,
    WatchCreateRequest,
    WatchRequest,
)

SECONDS_MAX: Final = 3.0

_PATHS = (PUT, RANGE, TXN, WATCH, SNAPSHOT, b"/etcdserverpb.Lease/LeaseKeepAlive", b"/v3/watch")
_MESSAGES = (
    PutRequest(key=b"fuzz", value=b"x" * 50),
    RangeRequest(key=b"fuzz", limit=1),
    TxnRequest(),
    WatchRequest(create_request=WatchCreateRequest(key=b"fuzz")),
)
_NUMBERS = (0, 1, 2, 3, 5, 7, 2**15, 2**31 - 1)


async def run_case(target: str, seed: str) -> None:
    """Attack a node once, and wait for what it says to it. Whether it is well is for the caller."""
    chance = random.Random(seed)
    data = chance.choice(_KINDS)(chance)
    async with dial(target) as wire:
        for start in range(0, len(data), size := chance.choice([7, 100, 5_000, 1 << 20])):
            if wire.closed or not await wire.send(data[start : start + size], SECONDS_MAX):
                break
            if size <= 100 and start > 50 * size:
                await wire.send(data[start + size :], SECONDS_MAX)
                break
        if chance.random() < 0.3:
            wire.reset()
        elif chance.random() < 0.5:
            wire.half_close()
            await wire.receive(0.05)
        else:
            await wire.receive(0.05)


def _frames(chance: random.Random) -> bytes:
    """Frames that are well formed, in no sensible order, some of them damaged."""
    frames = [_frame(chance) for _ in range(chance.randint(1, 60))]
    start = h2.PREFACE + h2.settings({chance.randint(1, 9): chance.choice(_NUMBERS)})
    data = bytearray((start if chance.random() < 0.9 else b"") + b"".join(frames))
    if chance.random() < 0.5:
        for _ in range(chance.randint(1, 10)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _frame(chance: random.Random) -> bytes:
    stream = chance.choice([0, *(1 + 2 * number for number in range(6))])
    match chance.randrange(8):
        case 0 | 1 | 2:
            head = grpc_headers(chance.choice(_PATHS))
            if chance.random() < 0.2:
                chance.shuffle(head)
            if chance.random() < 0.2:
                head.append((chance.randbytes(5), chance.randbytes(20)))
            return h2.headers(stream, head, end_stream=chance.random() < 0.3)
        case 3 | 4:
            body = bytearray(framed(chance.choice(_MESSAGES)))
            if chance.random() < 0.5:
                body[chance.randrange(len(body))] = chance.randrange(256)
            return h2.data(stream, bytes(body), end=chance.random() < 0.5)
        case 5:
            return h2.rst_stream(stream, chance.randrange(20))
        case 6:
            return h2.window_update(stream, chance.choice(_NUMBERS))
        case _:
            payload = chance.randbytes(chance.choice([0, 4, 5, 6, 8, 100]))
            return h2.frame(chance.randrange(12), chance.randrange(256), stream, payload)


def _json(chance: random.Random) -> bytes:
    """A JSON request of random content, perhaps damaged, perhaps of a wrong length."""
    path = chance.choice(
        ["kv/put", "kv/range", "kv/txn", "watch", "lease/keepalive", "lease/grant"]
    )
    body = bytearray(json.dumps(_value(chance, 0)).encode() * chance.randint(1, 3))
    if chance.random() < 0.4:
        body[chance.randrange(len(body))] = chance.randrange(256)
    length = len(body) + chance.choice([0, 0, 0, -1, 1])
    head = f"POST /v3/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()
    data = bytearray(head + body)
    if chance.random() < 0.1:
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


_NAMES = ("key", "value", "lease", "compare", "success", "create_request", "request_put", "ID", "x")
_SCALARS = ("", "YQ==", "!", 0, -1, 2**63, 1e300, 0.5, True, None, "\ud800", "é")


def _value(chance: random.Random, depth: int) -> Any:
    kind = chance.random()
    if depth > 4 or kind < 0.3:
        return chance.choice(_SCALARS)
    if kind < 0.5:
        return [_value(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    return {chance.choice(_NAMES): _value(chance, depth + 1) for _ in range(chance.randint(0, 4))}


def _noise(chance: random.Random) -> bytes:
    start = chance.choice([b"", h2.PREFACE, h2.PREFACE + h2.settings(), b"POST / HTTP/1.1\r\n"])
    return start + chance.randbytes(chance.choice([1, 30, 1000, 20_000]))


_KINDS: Final[tuple[Callable[[random.Random], bytes], ...]] = (_frames, _frames, _json, _noise)
