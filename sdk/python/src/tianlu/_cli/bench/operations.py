"""What the key-value load asks: requests that are made once and filled in for each key."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from google.protobuf.message import Message

from tianlu._cli.bench.http2 import grpc_message
from tianlu._proto.etcd import rpc_pb2 as etcd

_DIGITS: Final = 12  # of a key, so that a key is longer than its stand-in's mark
_KEY_MARK: Final = b"\x01tianlu-key\x01"
_END_MARK: Final = b"\x02tianlu-end\x02"
MAKING_OPERATIONS: Final = 100
"""Puts in one transaction when keys are made before a load; etcd allows 128 by default."""

PUT: Final = "/etcdserverpb.KV/Put"
RANGE: Final = "/etcdserverpb.KV/Range"
TXN: Final = "/etcdserverpb.KV/Txn"
DELETE: Final = "/etcdserverpb.KV/DeleteRange"


class Kind(StrEnum):
    """What is asked of the server."""

    PUT = "put"
    GET = "get"
    RANGE = "range"
    TXN = "txn"
    DELETE = "delete"
    MIX = "mix"


class Consistency(StrEnum):
    """What a read may answer."""

    LINEARIZABLE = "linearizable"
    SERIALIZABLE = "serializable"


class Call(NamedTuple):
    """A call that is ready to be sent. (A tuple, as it is made for every request.)

    Attributes:
        path: of the method.
        message: with gRPC's prefix.
        name: under which its latency is counted.
    """

    path: str
    message: bytes
    name: str


@dataclass(frozen=True, slots=True)
class KeySpace:
    """Numbered keys under a prefix.

    Attributes:
        prefix: with its final slash.
        count: how many there are.
        value_bytes: size of each value.
    """

    prefix: bytes
    count: int
    value_bytes: int

    def key(self, number: int) -> bytes:
        return b"%b%0*d" % (self.prefix, _DIGITS, number)

    @property
    def value(self) -> bytes:
        return b"v" * self.value_bytes


@dataclass(frozen=True, slots=True)
class Operations:
    """What a key-value load is made of.

    Attributes:
        keys_per_request: of `range` and `delete`.
        read_ratio: share of reads in a mix, 0 to 1.
        seed: which keys are chosen, in which order.
    """

    kind: Kind
    keys: KeySpace
    consistency: Consistency
    keys_per_request: int
    read_ratio: float
    seed: int

    @property
    def needs_keys(self) -> bool:
        """Whether all keys have to be there first."""
        return self.kind is not Kind.PUT

    def calls(self, worker: int, workers: int) -> Iterator[Call]:
        """Yield the calls of one of several workers; only `delete` comes to an end."""
        chosen = random.Random(self.seed * 1_000_003 + worker)  # noqa: S311 - repeatable
        if self.kind is Kind.DELETE:
            return self._deletes(chosen, worker, workers)
        if self.kind is Kind.MIX:
            return self._mixed(chosen)
        make = self._maker(self.kind)
        count = self.keys.count
        if self.kind is Kind.RANGE:
            count = max(1, count - self.keys_per_request + 1)
        draw = chosen.random
        return (make(int(draw() * count)) for _ in iter(int, 1))

    def _mixed(self, chosen: random.Random) -> Iterator[Call]:
        read, write = self._maker(Kind.GET), self._maker(Kind.PUT)
        draw, count, ratio = chosen.random, self.keys.count, self.read_ratio
        while True:
            make = read if draw() < ratio else write
            yield make(int(draw() * count))

    def _deletes(self, chosen: random.Random, worker: int, workers: int) -> Iterator[Call]:
        """Delete each run of keys once: what is not there would cost next to nothing."""
        runs = list(range(self.keys.count // self.keys_per_request))[worker::workers]
        chosen.shuffle(runs)
        make = self._maker(Kind.DELETE)
        return (make(run * self.keys_per_request) for run in runs)

    def _maker(self, kind: Kind) -> Callable[[int], Call]:
        """Return what makes the call for the key of a number (for ranges: the first)."""
        path, template = self._template(kind)
        span = self.keys_per_request
        fill = _filler(template, self.keys, span)
        name = str(kind)

        def make(number: int) -> Call:
            return Call(path, fill(number), name)

        return make

    def _template(self, kind: Kind) -> tuple[str, Message]:
        key, end = _marks(self.keys)
        value = self.keys.value
        match kind:
            case Kind.PUT:
                return PUT, etcd.PutRequest(key=key, value=value)
            case Kind.TXN:
                return TXN, _transaction(key, value)
            case Kind.DELETE:
                return DELETE, etcd.DeleteRangeRequest(key=key, range_end=end)
            case _:
                serializable = self.consistency is Consistency.SERIALIZABLE
                request = etcd.RangeRequest(key=key, serializable=serializable)
                if kind is Kind.RANGE:
                    request.range_end = end
                return RANGE, request


@dataclass(frozen=True, slots=True)
class KeyMaking:
    """The transactions that put all keys of a key space."""

    keys: KeySpace

    @property
    def count(self) -> int:
        """How many transactions that takes."""
        return -(-self.keys.count // MAKING_OPERATIONS)

    def calls(self, worker: int, workers: int) -> Iterator[Call]:
        """Yield the transactions of one of several workers."""
        for part in range(worker, self.count, workers):
            start = part * MAKING_OPERATIONS
            end = min(start + MAKING_OPERATIONS, self.keys.count)
            puts = [self._put(number) for number in range(start, end)]
            message = grpc_message(etcd.TxnRequest(success=puts).SerializeToString())
            yield Call(TXN, message, "make")

    def _put(self, number: int) -> etcd.RequestOp:
        put = etcd.PutRequest(key=self.keys.key(number), value=self.keys.value)
        return etcd.RequestOp(request_put=put)


def _transaction(key: bytes, value: bytes) -> etcd.TxnRequest:
    """Return a transaction that writes a key if it exists, and reads it otherwise."""
    exists = etcd.Compare(
        key=key,
        target=etcd.Compare.VERSION,
        result=etcd.Compare.GREATER,
        version=0,
    )
    put = etcd.RequestOp(request_put=etcd.PutRequest(key=key, value=value))
    get = etcd.RequestOp(request_range=etcd.RangeRequest(key=key))
    return etcd.TxnRequest(compare=[exists], success=[put], failure=[get])


def _marks(keys: KeySpace) -> tuple[bytes, bytes]:
    """Return stand-ins for a key and for a range's end, each as long as a key."""
    size = len(keys.key(0))
    return _KEY_MARK.ljust(size, b"\x01"), _END_MARK.ljust(size, b"\x02")


def _filler(template: Message, keys: KeySpace, span: int) -> Callable[[int], bytes]:
    """Return what fills a template in. All keys have one length, so that the encoded request is the
    same but for the keys' own bytes."""
    key_mark, end_mark = _marks(keys)
    encoded = grpc_message(template.SerializeToString())
    parts = encoded.split(key_mark)
    prefix = keys.prefix
    if end_mark not in encoded:
        return lambda number: (b"%b%0*d" % (prefix, _DIGITS, number)).join(parts)
    head, (middle, tail) = parts[0], parts[1].split(end_mark)
    return lambda number: b"".join((head, keys.key(number), middle, keys.key(number + span), tail))
