"""Every option of Range, alone and together, answers from Tianlu as from etcd."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from interop.interop_calls import Caller, callers, compare
from interop.interop_servers import Server

from tianlu._proto.etcd import rpc_pb2 as pb

RANGE = {"key": b"ra/", "range_end": b"ra0"}


def fill(caller: Caller) -> int:
    """Make keys that no order of which is that of another, and return the revision before."""
    caller.answer("KV/DeleteRange", pb.DeleteRangeRequest(**RANGE))
    start: int = caller.answer("KV/Put", pb.PutRequest(key=b"ra/gone")).header.revision
    caller.server.base_revision = start
    caller.answer("KV/DeleteRange", pb.DeleteRangeRequest(key=b"ra/gone"))
    for key, versions, value in (
        (b"d", 1, b"5"),
        (b"a", 4, b"2"),
        (b"c", 3, b"1"),
        (b"b", 2, b"9"),
    ):
        for version in range(versions):
            put = pb.PutRequest(key=b"ra/" + key, value=value + b"%d" % version)
            caller.answer("KV/Put", put)
    caller.answer("KV/Put", pb.PutRequest(key=b"ra/a", value=b"7"))
    return start


def test_same_orders_and_limits(servers: tuple[Server, Server]) -> None:
    def script(caller: Caller) -> Iterator[Any]:
        fill(caller)
        # Not beyond what the enumerations know: etcd 3.5.1 crashes on that.
        for order, target, limit in product(range(3), range(5), (0, 1, 3, 4, 9, -1)):
            request = pb.RangeRequest(**RANGE, sort_order=order, sort_target=target, limit=limit)
            yield caller.call("KV/Range", request)
        for options in (
            {"keys_only": True},
            {"count_only": True},
            {"keys_only": True, "count_only": True},
            {"keys_only": True, "sort_target": pb.RangeRequest.VALUE, "sort_order": 2},
            {"count_only": True, "limit": 2},
            {"count_only": True, "sort_target": pb.RangeRequest.VALUE, "sort_order": 2},
            {"serializable": True, "limit": 2},
        ):
            yield caller.call("KV/Range", pb.RangeRequest(**RANGE, **options))
            yield caller.call("KV/Range", pb.RangeRequest(key=b"ra/a", **options))

    compare(servers, script)


def test_same_revision_filters(servers: tuple[Server, Server]) -> None:
    def script(caller: Caller) -> Iterator[Any]:
        start = fill(caller)
        names = [
            f"{bound}_{which}_revision" for bound in ("min", "max") for which in ("mod", "create")
        ]
        for name, distance, limit in product(names, (-1, 2, 5, 7, 100), (0, 1)):
            request = pb.RangeRequest(**RANGE, limit=limit)
            setattr(request, name, start + distance)
            yield caller.call("KV/Range", request)
        both = pb.RangeRequest(
            **RANGE,
            min_mod_revision=start + 3,
            max_create_revision=start + 8,
            limit=1,
            sort_order=2,
        )
        yield caller.call("KV/Range", both)
        both.count_only = True
        yield caller.call("KV/Range", both)
        yield caller.call("KV/Range", pb.RangeRequest(key=b"ra/a", min_mod_revision=start + 1000))

    compare(servers, script)


def test_streams_are_what_etcd_answers_at_once(servers: tuple[Server, Server]) -> None:
    """RangeStream is not in etcd 3.5: what it says in pieces is compared with etcd's Range."""
    requests = [
        pb.RangeRequest(**RANGE, **options)
        for options in (
            {},
            {"limit": 2},
            {"keys_only": True},
            {"count_only": True},
            {"revision": 1},
        )
    ]
    requests += [pb.RangeRequest(), pb.RangeRequest(key=b"ra/a"), pb.RangeRequest(key=b"none")]
    with callers(servers) as (etcd, tianlu):
        fill(etcd)
        fill(tianlu)
        for request in requests:
            whole = tianlu.streamed("KV/RangeStream", request)
            if isinstance(whole, list):
                merged = pb.RangeResponse()
                for piece in whole:
                    merged.MergeFrom(piece.range_response)
                whole = tianlu.server.comparable(merged)
            assert whole == etcd.call("KV/Range", request), request
        for options, what in (
            ({"sort_order": 2}, "custom sort orders"),
            ({"sort_target": 1, "sort_order": 1}, "custom sort orders"),
            ({"min_mod_revision": 1}, "revision filters"),
        ):
            refused = tianlu.streamed("KV/RangeStream", pb.RangeRequest(**RANGE, **options))
            assert refused == ("UNIMPLEMENTED", f"RangeStream does not support {what}")


def test_same_past_and_future(servers: tuple[Server, Server]) -> None:
    def script(caller: Caller) -> Iterator[Any]:
        start = fill(caller)
        for distance in (0, 1, 2, 3, 6, 12, 13, 100):
            for options in ({}, {"limit": 1}, {"count_only": True}, {"sort_order": 2}):
                request = pb.RangeRequest(**RANGE, revision=start + distance, **options)
                yield caller.call("KV/Range", request)
            yield caller.call(
                "KV/Range", pb.RangeRequest(key=b"ra/gone", revision=start + distance)
            )
        yield caller.call("KV/Range", pb.RangeRequest(**RANGE, revision=-5))
        yield caller.call("KV/Compact", pb.CompactionRequest(revision=start + 6))
        for distance in (5, 6, 7):
            yield caller.call("KV/Range", pb.RangeRequest(**RANGE, revision=start + distance))
        yield caller.call("KV/Compact", pb.CompactionRequest(revision=start + 6))
        yield caller.call("KV/Compact", pb.CompactionRequest(revision=start + 8, physical=True))
        yield caller.call("KV/Compact", pb.CompactionRequest(revision=start + 7))
        yield caller.call("KV/Compact", pb.CompactionRequest(revision=-1))
        yield caller.call("KV/Compact", pb.CompactionRequest())

    compare(servers, script)


def test_same_ranges(servers: tuple[Server, Server]) -> None:
    """The ends of ranges: empty, reversed, to the end of all keys, and keys of odd bytes."""

    def script(caller: Caller) -> Iterator[Any]:
        fill(caller)
        for key in (b"ra/\x00", b"ra/\xff", b"ra/\xff\xff", b"ra/b\x00"):
            yield caller.call("KV/Put", pb.PutRequest(key=key, value=key))
        ends = (b"", b"\0", b"ra/a", b"ra/b", b"ra/b\0", b"ra/z", b"ra/\xff", b"a")
        for key, end in product((b"ra/", b"ra/b", b"ra/\xff"), ends):
            if end == b"\0":  # what else stands behind is not of this test
                continue
            yield caller.call("KV/Range", pb.RangeRequest(key=key, range_end=end, count_only=True))
            yield caller.call("KV/Range", pb.RangeRequest(key=key, range_end=end, keys_only=True))
        yield caller.call("KV/Range", pb.RangeRequest(key=b"ra/b", range_end=b"\0", limit=1))["kvs"]
        yield caller.call("KV/DeleteRange", pb.DeleteRangeRequest(key=b"ra/c", range_end=b"ra/a"))
        yield caller.call(
            "KV/DeleteRange", pb.DeleteRangeRequest(key=b"ra/b", range_end=b"ra/c", prev_kv=True)
        )

    compare(servers, script)
