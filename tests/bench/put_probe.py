"""How long puts take while something else happens: one at a time, at a steady pace.

Each put is due at a fixed time, and its latency counts from there: one that stalls makes those
after it late too, and is not counted once only.
"""

from __future__ import annotations

import threading
import time
from typing import Self

import grpc

from tianlu._proto.etcd.rpc_pb2 import PutRequest, PutResponse

INTERVAL_SECONDS = 0.005


class PutProbe:
    """Puts from a thread of its own for the length of a block.

    Attributes:
        latencies: seconds, of all puts so far.
    """

    def __init__(self, port: int) -> None:
        self.latencies: list[float] = []
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._put = self._channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=PutRequest.SerializeToString,
            response_deserializer=PutResponse.FromString,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._put(PutRequest(key=b"probe"), timeout=10)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._channel.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._put(PutRequest(key=b"probe", value=b"x"), timeout=30)
            self.latencies.append(time.monotonic() - due)
            due += INTERVAL_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))
