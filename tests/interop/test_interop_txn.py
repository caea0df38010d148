"""Transactions: compares, nesting, duplicates and what a put may leave as it is, as from etcd."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from interop.interop_calls import Caller, compare
from interop.interop_servers import Server

from tianlu._proto.etcd import rpc_pb2 as pb

ALL = pb.RangeRequest(key=b"tx/", range_end=b"tx0")
LEASE = 31_337


def put(key: bytes, value: bytes = b"", **options: Any) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=b"tx/" + key, value=value, **options))


def delete(key: bytes, end: bytes = b"", **options: Any) -> pb.RequestOp:
    range_end = b"tx/" + end if end else b""
    request = pb.DeleteRangeRequest(key=b"tx/" + key, range_end=range_end, **options)
    return pb.RequestOp(request_delete_range=request)


def get(key: bytes, **options: Any) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=b"tx/" + key, **options))


def nested(*success: pb.RequestOp, failure: Any = (), compare: Any = ()) -> pb.RequestOp:
    return pb.RequestOp(request_txn=txn(*success, failure=failure, compare=compare))


def txn(*success: pb.RequestOp, failure: Any = (), compare: Any = ()) -> pb.TxnRequest:
    return pb.TxnRequest(success=success, failure=failure, compare=compare)


def fill(caller: Caller) -> int:
    """Make a few keys, one with a lease; returns the revision of the first."""
    caller.answer("KV/DeleteRange", pb.DeleteRangeRequest(key=ALL.key, range_end=ALL.range_end))
    caller.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=LEASE))
    caller.answer("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=LEASE, TTL=600))
    start: int = caller.answer("KV/Put", put(b"a", b"1").request_put).header.revision
    caller.server.base_revision = start
    for each in (put(b"b", b"5"), put(b"b", b"6"), put(b"c", b"5", lease=LEASE)):
        caller.answer("KV/Put", each.request_put)
    return start


def test_same_compares(servers: tuple[Server, Server]) -> None:
    """Every target with every result, on a key, on none, and on ranges with and without keys."""

    def script(caller: Caller) -> Iterator[Any]:
        start = fill(caller)
        operands: list[dict[str, Any]] = [
            *({"target": pb.Compare.VERSION, "version": version} for version in (0, 1, 2)),
            *({"target": pb.Compare.CREATE, "create_revision": at} for at in (0, start, start + 1)),
            *({"target": pb.Compare.MOD, "mod_revision": at} for at in (0, start, start + 2)),
            *({"target": pb.Compare.VALUE, "value": value} for value in (b"", b"1", b"5", b"6")),
            *({"target": pb.Compare.LEASE, "lease": lease} for lease in (0, LEASE)),
            {"target": pb.Compare.VERSION, "value": b"1"},  # an operand of another target
            {"target": pb.Compare.VALUE},
            {"target": 9, "version": 1},
        ]
        ranges = [(b"a", b""), (b"none", b""), (b"a", b"tx/c"), (b"x", b"tx/z"), (b"b", b"\0")]
        for operand, (key, end), result in product(operands, ranges, range(5)):
            condition = pb.Compare(key=b"tx/" + key, range_end=end, result=result, **operand)
            answer = caller.call("KV/Txn", pb.TxnRequest(compare=[condition]))
            yield operand["target"], key, end, result, answer

    compare(servers, script)


REFUSED_OR_NOT = [
    txn(put(b"d"), put(b"d")),
    txn(put(b"d"), delete(b"d")),
    txn(delete(b"d"), put(b"d")),
    txn(delete(b"a", b"z"), put(b"d")),
    txn(delete(b"a", b"d"), put(b"d")),
    txn(delete(b"d"), delete(b"d")),
    txn(delete(b"a", b"e"), delete(b"c", b"z")),
    txn(put(b"d"), failure=[put(b"d")]),
    txn(put(b"d"), get(b"d"), put(b"e")),
    txn(nested(put(b"d")), put(b"d")),
    txn(nested(put(b"d")), nested(put(b"d"))),
    txn(nested(put(b"d"), failure=[put(b"d")])),
    txn(nested(put(b"d"), failure=[delete(b"d")])),
    txn(nested(delete(b"a", b"z")), put(b"d")),
    txn(put(b"d"), nested(delete(b"d"))),
    txn(nested(nested(put(b"d"))), put(b"d")),
    txn(nested(nested(put(b"d")), put(b"e")), put(b"f")),
    txn(nested()),
    txn(nested(nested(nested(get(b"a"))))),
    txn(failure=[put(b"")]),
    txn(failure=[pb.RequestOp(request_put=pb.PutRequest())]),
    txn(nested(pb.RequestOp(request_delete_range=pb.DeleteRangeRequest()))),
    txn(nested(compare=[pb.Compare()])),
    txn(put(b"d", b"x", ignore_value=True)),
    txn(put(b"d", ignore_value=True)),
    txn(put(b"a", ignore_value=True, prev_kv=True)),
    txn(put(b"c", b"9", ignore_lease=True, prev_kv=True), get(b"c")),
    txn(put(b"c", b"9", lease=LEASE, ignore_lease=True)),
    txn(put(b"d", ignore_lease=True)),
    txn(put(b"d", lease=4242)),
    txn(nested(put(b"d", lease=4242)), put(b"e")),
    txn(delete(b"a", b"z", prev_kv=True), get(b"a")),
    txn(get(b"a", revision=1 << 40)),
    txn(get(b"a", revision=1)),
    txn(put(b"d"), get(b"d"), get(b"d", count_only=True), delete(b"e")),
    txn(delete(b"none")),
    txn(get(b"a", serializable=True)),
    txn(*[put(b"%d" % number) for number in range(128)]),
    txn(*[put(b"%d" % number) for number in range(127)], nested(*[get(b"a")] * 2)),
    txn(*[put(b"%d" % number) for number in range(127)], nested(get(b"a"))),
    txn(failure=[get(b"a")] * 129),
    txn(compare=[pb.Compare(key=b"a")] * 129),
]


def test_same_transactions(servers: tuple[Server, Server]) -> None:
    def script(caller: Caller) -> Iterator[Any]:
        for number, request in enumerate(REFUSED_OR_NOT):
            fill(caller)
            yield number, caller.call("KV/Txn", request), caller.call("KV/Range", ALL)

    compare(servers, script)


def test_same_puts(servers: tuple[Server, Server]) -> None:
    """What a put leaves as it was, and what it says of before."""

    def script(caller: Caller) -> Iterator[Any]:
        for each in (
            put(b"a", b"2", prev_kv=True),
            put(b"none", b"2", prev_kv=True),
            put(b"c", ignore_value=True),  # loses its lease
            put(b"c", b"x", ignore_lease=True),
            put(b"c", ignore_lease=True, ignore_value=True, prev_kv=True),
            put(b"c", b"x", ignore_value=True),
            put(b"c", lease=LEASE, ignore_lease=True),
            put(b"none", ignore_lease=True),
            put(b"none", lease=-1),
            put(b"none", lease=LEASE + 1),
        ):
            fill(caller)
            yield caller.call("KV/Put", each.request_put)
            yield caller.call("KV/Range", ALL)
            answer = caller.answer(
                "Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=LEASE, keys=True)
            )
            yield answer.grantedTTL, sorted(answer.keys)

    compare(servers, script)
