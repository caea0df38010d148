"""A writer that remembers what was acknowledged, for killing the registry under it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import grpc

from tianlu._proto.etcd import rpc_pb2

IN_FLIGHT = 16


class AcknowledgedWriter:
    """Puts numbered keys through gRPC, several at a time."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.acknowledged: dict[bytes, int] = {}

    def write_until_broken(self, kill: Callable[[], None], seed: int) -> None:
        """Write until the registry, killed at a random moment within 150 ms, stops answering."""
        killer = threading.Timer(random.Random(seed).uniform(0.0, 0.15), kill)
        with grpc.insecure_channel(self._target) as channel:
            grpc.channel_ready_future(channel).result(timeout=20)
            put = channel.unary_unary(
                "/etcdserverpb.KV/Put",
                request_serializer=rpc_pb2.PutRequest.SerializeToString,
                response_deserializer=rpc_pb2.PutResponse.FromString,
            )
            killer.start()
            number = 0
            try:
                while True:
                    batch = []
                    for _ in range(IN_FLIGHT):
                        key = b"%d/%d" % (seed, number)
                        request = rpc_pb2.PutRequest(key=key, value=key)
                        batch.append((key, put.future(request, timeout=10)))
                        number += 1
                    self._note(batch)
            except grpc.RpcError:
                self._note(batch, ignore_failures=True)
        killer.join()

    def _note(
        self, batch: list[tuple[bytes, grpc.Future]], *, ignore_failures: bool = False
    ) -> None:
        for key, future in batch:
            if ignore_failures and future.exception() is not None:
                continue
            self.acknowledged[key] = future.result().header.revision

    def missing(self) -> list[bytes]:
        """Return acknowledged keys that are not there, or not at the revision that was answered."""
        options = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(self._target, options) as channel:
            read = channel.unary_unary(
                "/etcdserverpb.KV/Range",
                request_serializer=rpc_pb2.RangeRequest.SerializeToString,
                response_deserializer=rpc_pb2.RangeResponse.FromString,
            )
            answer = read(rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0"), timeout=30)
        found = {kv.key: (kv.value, kv.mod_revision) for kv in answer.kvs}
        return [
            key for key, revision in self.acknowledged.items() if found.get(key) != (key, revision)
        ]
