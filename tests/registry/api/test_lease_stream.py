"""LeaseKeepAlive: renewals that arrive together are answered together, and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from registry.api.asgi_fakes import FakeCall, framed
from registry.api.store_fakes import FakeStore

from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu_registry.api.errors import error_status
from tianlu_registry.api.etcd_lease import RENEWALS_AT_ONCE_MAX, LeaseServicer
from tianlu_registry.api.grpc_asgi import PACE, GrpcApp, StatusCode
from tianlu_registry.errors import LeaseNotFound, PermissionDenied

PATH = "/etcdserverpb.Lease/LeaseKeepAlive"
MISSING, FORBIDDEN = 404, 403


class Leases(FakeStore):
    """Leases of which those with odd ids take longer to renew.

    Attributes:
        asked_together: how many renewals came at once, each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked_together: list[int] = []

    async def lease_keep_alive(self, lease_id: int) -> Any:
        for _ in range(3 if lease_id % 2 else 1):
            await asyncio.sleep(0)
        if lease_id == MISSING:
            raise LeaseNotFound
        if lease_id == FORBIDDEN:
            raise PermissionDenied
        return etcd.LeaseKeepAliveResponse(header=self.header(), ID=lease_id, TTL=9)

    async def lease_keep_alives(self, lease_ids: Sequence[int]) -> list[Any]:
        self.asked_together.append(len(lease_ids))
        if MISSING in lease_ids or FORBIDDEN in lease_ids:
            raise PermissionDenied
        return [await self.lease_keep_alive(lease_id) for lease_id in lease_ids]


async def renew(store: Leases, *chunks: bytes, pace: Callable[[], float] | None = None) -> FakeCall:
    app = GrpcApp(error_status)
    app.add(etcd.DESCRIPTOR.services_by_name["Lease"], LeaseServicer(store))  # type: ignore[arg-type]
    call = FakeCall(PATH, chunks)
    if pace is not None:
        call.scope[PACE] = pace
    return await call.run(app)


def request(lease_id: int) -> bytes:
    return framed(etcd.LeaseKeepAliveRequest(ID=lease_id))


def answers(call: FakeCall) -> list[tuple[int, int]]:
    found = [etcd.LeaseKeepAliveResponse.FromString(data) for _, data in call.frames]
    assert all(answer.header.revision == 10 for answer in found)
    return [(answer.ID, answer.TTL) for answer in found]


def bodies(call: FakeCall) -> int:
    """How many pieces with content the answer has."""
    return sum(bool(event.get("body")) for event in call.events)


async def test_what_arrives_together_is_renewed_together_and_answered_in_order() -> None:
    store = Leases()
    ids = [1, 2, MISSING, 3, 4]
    call = await renew(store, b"".join(request(one) for one in ids))
    assert answers(call) == [(1, 9), (2, 9), (MISSING, 0), (3, 9), (4, 9)]
    assert (call.code, bodies(call)) == (StatusCode.OK, 1)
    assert store.asked_together == [len(ids)]


async def test_renewals_at_once_are_bounded() -> None:
    store = Leases()
    ids = range(1, RENEWALS_AT_ONCE_MAX + 101)
    call = await renew(store, b"".join(request(one) for one in ids))
    assert [one for one, _ in answers(call)] == list(ids)
    assert store.asked_together == [RENEWALS_AT_ONCE_MAX, 100]
    assert bodies(call) == 2


async def test_a_renewal_does_not_wait_for_those_that_a_rate_puts_off() -> None:
    store = Leases()
    waits = iter([0.0, 0.0, 0.001, 0.001, 0.001, 0.0, 0.0])
    await renew(store, b"".join(request(one) for one in range(1, 8)), pace=lambda: next(waits))
    assert store.asked_together == [3, 1, 1, 2]


async def test_a_renewal_that_is_cut_waits_for_its_rest() -> None:
    both = request(1) + request(2)
    call = await renew(Leases(), both[:-3], both[-3:])
    assert answers(call) == [(1, 9), (2, 9)]
    assert call.code == StatusCode.OK


async def test_those_before_a_refusal_are_answered() -> None:
    ids = [1, 2, FORBIDDEN, 3]
    call = await renew(Leases(), b"".join(request(one) for one in ids))
    assert answers(call) == [(1, 9), (2, 9)]
    assert call.code == StatusCode.PERMISSION_DENIED
    call = await renew(Leases(), request(FORBIDDEN))
    assert (answers(call), call.code) == ([], StatusCode.PERMISSION_DENIED)


async def test_those_before_what_cannot_be_read_are_answered() -> None:
    broken = b"\0\0\0\0\x02\xff\xff"
    call = await renew(Leases(), request(1) + broken + request(2))
    assert answers(call) == [(1, 9)]
    assert call.code == StatusCode.INTERNAL
    assert "failed to unmarshal" in call.message
