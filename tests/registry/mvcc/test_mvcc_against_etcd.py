"""The same random requests to our store and to a real etcd: answers and refusals are equal, byte
for byte.

Left out, because we differ on purpose (docs/adr/0003, mvcc/DESIGN.md): deletes without an end
beside puts in one transaction, and which error is told when a transaction has several.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from registry.etcd_process import EtcdProcess
from registry.mvcc.mvcc_fakes import StoreFixture

from tianlu._proto.etcd import rpc_pb2 as rpc
from tianlu_registry.errors import RegistryError
from tianlu_registry.mvcc import check_delete_range, check_put, check_range, check_txn

KEYS = (b"a", b"a/1", b"a/2", b"a0", b"b", b"b\xff", b"\xff\xff")
RANGE_ENDS = (b"", b"", b"\x00", b"a", b"a0", b"b", b"c", b"\xff")
LEASES = (5, 6)
REQUESTS = 1000


@pytest.fixture
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    process.start()
    with grpc.insecure_channel(process.endpoint.removeprefix("http://")) as channel:
        yield channel
    process.kill()


class Requests:
    """Random requests, mostly sensible ones."""

    def __init__(self, seed: int, fixture: StoreFixture) -> None:
        self._rng = random.Random(seed)
        self._store = fixture.store

    def any(self) -> Any:
        kinds = (self._put, self._delete, self._range, self._txn, self._compact)
        (make,) = self._rng.choices(kinds, (30, 10, 40, 50, 2))
        return make()

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _key(self) -> bytes:
        return self._rng.choice(KEYS) if self._chance(0.99) else b""

    def _near_revision(self) -> int:
        present = self._store.revision
        return self._rng.choice((0, 0, 0, present, present - 1, present - 5, present + 1, 1, -3))

    def _put(self) -> rpc.PutRequest:
        return rpc.PutRequest(
            key=self._key(),
            value=self._rng.choice((b"", b"x", b"y")),
            lease=self._rng.choice((0, 0, *LEASES, 99)) if self._chance(0.8) else 0,
            prev_kv=self._chance(0.5),
            ignore_value=self._chance(0.15),
            ignore_lease=self._chance(0.15),
        )

    def _delete(self) -> rpc.DeleteRangeRequest:
        range_end = self._rng.choice(RANGE_ENDS)
        return rpc.DeleteRangeRequest(
            key=self._key(), range_end=range_end, prev_kv=self._chance(0.5)
        )

    def _range(self) -> rpc.RangeRequest:
        request = rpc.RangeRequest(
            key=self._key(),
            range_end=self._rng.choice(RANGE_ENDS),
            limit=self._rng.choice((0, 0, 1, 2, -1)),
            revision=self._near_revision(),
            sort_order=self._rng.choice((0, 0, 0, 1, 2)),
            sort_target=self._rng.randrange(5),
            keys_only=self._chance(0.3),
            count_only=self._chance(0.2),
        )
        for name in ("mod", "create"):
            for bound in ("min", "max"):
                if self._chance(0.15):
                    revision = max(1, self._store.revision - self._rng.randrange(8))
                    setattr(request, f"{bound}_{name}_revision", revision)
        return request

    def _compare(self) -> rpc.Compare:
        target = self._rng.randrange(5)
        field = ("version", "create_revision", "mod_revision", "value", "lease")[target]
        if self._chance(0.1):
            field = "version"  # not what the target names: counts as nothing given
        present = self._store.revision
        operand = (
            self._rng.choice((b"", b"x"))
            if field == "value"
            else self._rng.choice((0, 1, 2, 5, present - 2, present))
        )
        return rpc.Compare(
            key=self._key(),
            range_end=self._rng.choice(RANGE_ENDS),
            target=target,
            result=self._rng.randrange(4),
            **{field: operand},
        )

    def _op(self, depth: int) -> rpc.RequestOp:
        kind = self._rng.randrange(4 if depth else 3)
        if self._chance(0.005):
            return rpc.RequestOp()
        if kind == 0:
            return rpc.RequestOp(request_put=self._put())
        if kind == 1:
            delete = self._delete()
            if delete.range_end == b"\x00":
                delete.range_end = b"\xff\xff\xff"
            return rpc.RequestOp(request_delete_range=delete)
        if kind == 2:
            return rpc.RequestOp(request_range=self._range())
        return rpc.RequestOp(request_txn=self._txn(depth - 1))

    def _txn(self, depth: int = 2) -> rpc.TxnRequest:
        return rpc.TxnRequest(
            compare=[self._compare() for _ in range(self._rng.randrange(3))],
            success=[self._op(depth) for _ in range(self._rng.randrange(4))],
            failure=[self._op(depth) for _ in range(self._rng.randrange(3))],
        )

    def _compact(self) -> rpc.CompactionRequest:
        back = self._rng.choice((0, 1, 3, 6, 9, -1))
        return rpc.CompactionRequest(revision=self._store.revision - back, physical=True)


def ours(fixture: StoreFixture, request: Any) -> Any:
    store = fixture.store
    if isinstance(request, rpc.RangeRequest):
        check_range(request)
        return store.range(request)
    if isinstance(request, rpc.PutRequest):
        check_put(request)
        return store.put(request).response
    if isinstance(request, rpc.DeleteRangeRequest):
        check_delete_range(request)
        return store.delete_range(request).response
    if isinstance(request, rpc.TxnRequest):
        check_txn(request)
        return store.txn(request).response
    fixture.compact_all(request.revision)
    return rpc.CompactionResponse(header=rpc.ResponseHeader(revision=store.revision))


def theirs(channel: grpc.Channel, request: Any) -> Any:
    service, method, response = {
        rpc.RangeRequest: ("KV", "Range", rpc.RangeResponse),
        rpc.PutRequest: ("KV", "Put", rpc.PutResponse),
        rpc.DeleteRangeRequest: ("KV", "DeleteRange", rpc.DeleteRangeResponse),
        rpc.TxnRequest: ("KV", "Txn", rpc.TxnResponse),
        rpc.CompactionRequest: ("KV", "Compact", rpc.CompactionResponse),
        rpc.LeaseGrantRequest: ("Lease", "LeaseGrant", rpc.LeaseGrantResponse),
    }[type(request)]
    call = channel.unary_unary(
        f"/etcdserverpb.{service}/{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=response.FromString,
    )
    answer = call(request)
    answer.header.ClearField("cluster_id")
    answer.header.ClearField("member_id")
    answer.header.ClearField("raft_term")
    return answer


def outcome(call: Callable[[], Any]) -> Any:
    """Return the answer, or the text of the refusal."""
    try:
        return call()
    except RegistryError as error:
        return str(error)
    except grpc.RpcError as error:
        return error.details()


@pytest.mark.parametrize("seed", [2026])
def test_random_requests(etcd: grpc.Channel, seed: int) -> None:
    fixture = StoreFixture()
    for lease_id in LEASES:
        theirs(etcd, rpc.LeaseGrantRequest(ID=lease_id, TTL=10_000))
        fixture.lessor.grant(lease_id, 10_000, now=0.0)
    requests = Requests(seed, fixture)
    answers = 0
    for number in range(REQUESTS):
        request = requests.any()
        expected = outcome(lambda: theirs(etcd, request))  # noqa: B023
        answer = outcome(lambda: ours(fixture, request))  # noqa: B023
        answers += not isinstance(answer, str)
        both_refuse = isinstance(answer, str) and isinstance(expected, str)
        if not (both_refuse and isinstance(request, rpc.TxnRequest)):
            assert answer == expected, f"seed {seed}, request {number}: {request}"
    assert answers > REQUESTS / 2
