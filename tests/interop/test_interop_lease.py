"""Leases: ids of the client's choice, keys that hang on them, renewals, ends, as from etcd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from interop.interop_calls import Caller, compare
from interop.interop_servers import Server

from tianlu._proto.etcd import rpc_pb2 as pb

IDS = (5, 6, 1 << 62)


def without_time(answer: Any) -> Any:
    """Return an answer without what is left of a lease, which a slow machine may change."""
    if isinstance(answer, dict) and "grantedTTL" in answer:
        assert 0 < int(answer.pop("TTL")) <= int(answer["grantedTTL"])
        answer["keys"] = sorted(answer.get("keys", ()))
    return answer


def test_same_leases(servers: tuple[Server, Server]) -> None:
    def script(caller: Caller) -> Iterator[Any]:
        caller.server.base_revision = caller.answer(
            "KV/Range", pb.RangeRequest(key=b"x")
        ).header.revision
        for lease_id, ttl in ((5, 600), (5, 600), (6, 60), (1 << 62, 9_000_000_000), (-7, 60)):
            yield caller.call("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=lease_id, TTL=ttl))
        for ttl in (9_000_000_001, 1 << 62):
            yield caller.call("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=ttl))
        for key, lease in ((b"a", 5), (b"b", 5), (b"c", 6), (b"d", 0), (b"a", 6)):
            put = pb.PutRequest(key=b"le/" + key, lease=lease)
            yield caller.call("KV/Put", put)
        for lease_id in (*IDS, 0, 99):
            for keys in (False, True):
                request = pb.LeaseTimeToLiveRequest(ID=lease_id, keys=keys)
                yield without_time(caller.call("Lease/LeaseTimeToLive", request))
        leases = caller.answer("Lease/LeaseLeases", pb.LeaseLeasesRequest()).leases
        yield [lease_id for lease_id in IDS if any(lease_id == each.ID for each in leases)]
        yield caller.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=6))
        yield caller.call("KV/Range", pb.RangeRequest(key=b"le/", range_end=b"le0"))
        for lease_id in (5, 6, -7, 1 << 62, 0):
            yield caller.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=lease_id))
        yield caller.call("KV/Range", pb.RangeRequest(key=b"le/", range_end=b"le0"))

    compare(servers, script)


def test_same_renewals(servers: tuple[Server, Server]) -> None:
    """Renewals of several leases on one stream, of none, and of one that goes meanwhile."""

    def script(caller: Caller) -> Iterator[Any]:
        for lease_id in (5, 6):
            caller.answer("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=lease_id, TTL=600))
        caller.server.base_revision = caller.answer(
            "KV/Range", pb.RangeRequest(key=b"x")
        ).header.revision
        with caller.stream("Lease/LeaseKeepAlive") as stream:
            for lease_id in (5, 6, 99, 0, 5):
                stream.say(pb.LeaseKeepAliveRequest(ID=lease_id))
                yield stream.hear()
            caller.answer("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=5))
            for lease_id in (5, 6):
                stream.say(pb.LeaseKeepAliveRequest(ID=lease_id))
                yield stream.hear()
        caller.answer("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=6))

    compare(servers, script)


def test_same_end_of_a_lease(servers: tuple[Server, Server]) -> None:
    """A lease that runs out takes its keys with it, in one revision."""

    def script(caller: Caller) -> Iterator[Any]:
        caller.answer("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=5, TTL=1))
        with caller.stream("Watch/Watch") as stream:
            watch = pb.WatchCreateRequest(key=b"le/", range_end=b"le0", filters=[0])
            stream.say(pb.WatchRequest(create_request=watch))
            assert stream.hear_raw().created
            for key in (b"le/b", b"le/a"):
                put = caller.answer("KV/Put", pb.PutRequest(key=key, lease=5))
                caller.server.base_revision = put.header.revision
            yield stream.hear()
        yield caller.call("Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=5))
        yield caller.call("KV/Put", pb.PutRequest(key=b"le/c", lease=5))

    compare(servers, script)
