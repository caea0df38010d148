"""How long puts take while something else happens: one at a time, at a steady pace.

A put that stalls stands for those that would have been made meanwhile: for each of them, what it
would have waited is counted too. So a stall is not counted once only, and a server that is slower
than the pace is not blamed for a queue that grows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import grpc
from report import Report, percentile
from servers import SERVERS

from tianlu._proto.etcd.rpc_pb2 import PutRequest, PutResponse

INTERVAL_SECONDS = 0.005

Add = Callable[[str, float], None]
"""Takes a figure's name and the figure."""


def add_puts(add: Add, before: Sequence[float], during: Sequence[float]) -> None:
    """Report puts before something happened, and while it did."""
    for name, latencies in (("before", before), ("during", during)):
        add(f"put {name}, p99 ms", percentile(latencies, 0.99) * 1000)
        add(f"put {name}, max ms", max(latencies) * 1000)


def alternate(rounds: int, disk: Path | None, measure: Callable[[int, Add], None]) -> None:
    """Measure new servers of each program in turn, by their ports, and print the report."""
    report = Report("etcd")
    for _ in range(rounds):
        for name, server in SERVERS.items():
            with server(disk) as running:
                measure(running.port, lambda what, value, name=name: report.add(what, name, value))
    report.print()


class PutProbe:
    """Puts from a thread of its own for the length of a block.

    Attributes:
        latencies: seconds, of all puts so far, made and stood for.
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
        while not self._stop.is_set():
            started = time.monotonic()
            self._put(PutRequest(key=b"probe", value=b"x"), timeout=30)
            latency = time.monotonic() - started
            time.sleep(max(0.0, INTERVAL_SECONDS - latency))
            while latency > 0:
                self.latencies.append(latency)
                latency -= INTERVAL_SECONDS
