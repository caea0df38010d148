"""At their limits both say the same: of room, of sizes and of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from interop.interop_calls import Caller, compare
from interop.interop_servers import Server
from registry.etcd_process import EtcdProcess
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd import rpc_pb2 as pb

MIB = 1024 * 1024
FLAGS = ("--quota-backend-bytes=33554432", "--max-txn-ops=3", "--max-request-bytes=3000000")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two servers of little room."""
    etcd = EtcdProcess(tmp_path_factory.mktemp("small-etcd"), *FLAGS)
    tianlu = RegistryProcess(tmp_path_factory.mktemp("small-tianlu"), *FLAGS, "--log-level=warn")
    try:
        etcd.start()
        tianlu.start()
        yield Server("etcd", etcd.endpoint.removeprefix("http://")), Server("tianlu", tianlu.target)
    finally:
        etcd.kill()
        tianlu.kill()


def put(key: bytes, value: bytes = b"") -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


def test_same_sizes(small: tuple[Server, Server]) -> None:
    def script(caller: Caller) -> Iterator[Any]:
        for size in (2_999_900, 3_000_000, 4 * MIB):
            answer = caller.call("KV/Put", pb.PutRequest(key=b"s", value=bytes(size)))
            yield size, answer if isinstance(answer, tuple) else "taken"
        halves = [put(b"a", bytes(1_600_000)), put(b"b", bytes(1_600_000))]
        yield caller.call("KV/Txn", pb.TxnRequest(success=halves))
        for count in (3, 4):
            several = [put(b"%d" % number) for number in range(count)]
            answer = caller.call("KV/Txn", pb.TxnRequest(success=several))
            yield count, answer if isinstance(answer, tuple) else "taken"
        yield caller.call("KV/Txn", pb.TxnRequest(compare=[pb.Compare(key=b"a")] * 4))

    compare(small, script)


def test_same_without_room(small: tuple[Server, Server]) -> None:
    """After the last write that found room: what is refused, and what is not."""

    def script(caller: Caller) -> Iterator[Any]:
        for number in range(64):
            try:
                caller.answer("KV/Put", pb.PutRequest(key=b"n%d" % (number % 4), value=bytes(MIB)))
            except grpc.RpcError as error:
                yield error.code().name, error.details()
                break
        large = put(b"x", bytes(MIB))
        yield caller.call("KV/Txn", pb.TxnRequest(success=[large]))
        # Not in the branch that is taken, and refused all the same.
        yield caller.call("KV/Txn", pb.TxnRequest(failure=[large]))
        nested = pb.RequestOp(request_txn=pb.TxnRequest(success=[large]))
        yield caller.call("KV/Txn", pb.TxnRequest(success=[nested]))
        # Not a transaction that only reads: etcd 3.5.1 refuses that too, later releases do not.
        for method, request in (
            ("KV/Range", pb.RangeRequest(key=b"n0", count_only=True)),
            ("KV/DeleteRange", pb.DeleteRangeRequest(key=b"n0")),
            ("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=9)),
        ):
            answer = caller.call(method, request)
            yield method, answer if isinstance(answer, tuple) else "done"

    compare(small, script)
