"""A node under attack: the real process, its memory, and an honest client beside the attackers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import grpc
import psutil
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd.rpc_pb2 import PutRequest, PutResponse

MIB = 1 << 20


PUT_SECONDS_MAX = 20.0
"""For one put of the honest client: generous to a busy machine, but not to a request that keeps the
node from all others."""


class Neighbour:
    """An honest client in a thread of its own: one put after another, each with a deadline.

    Leaving the block fails if any of them failed.

    Args:
        target: ``host:port``.
        seconds_max: for each put.
    """

    def __init__(self, target: str, seconds_max: float = PUT_SECONDS_MAX) -> None:
        self._channel = grpc.insecure_channel(target)
        self._seconds_max = seconds_max
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0
        self.slowest_seconds = 0.0
        self.failures: list[str] = []

    def _run(self) -> None:
        put = self._channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=PutRequest.SerializeToString,
            response_deserializer=PutResponse.FromString,
        )
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                put(PutRequest(key=b"neighbour", value=b"x" * 100), timeout=self._seconds_max)
                self.answered += 1
            except grpc.RpcError as error:
                self.failures.append(f"{error.code()}: {error.details()}")
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            self._stopping.wait(0.02)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + self._seconds_max
        while not self.answered and not self.failures and time.monotonic() < deadline:
            time.sleep(0.005)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        before = self.answered
        deadline = time.monotonic() + self._seconds_max
        while self.answered < before + 2 and not self.failures and time.monotonic() < deadline:
            time.sleep(0.005)
        self._stopping.set()
        self._thread.join()
        self._channel.close()
        if kind is None:
            assert not self.failures, f"the neighbour was harmed: {self.failures[:3]}"
            assert self.answered > before, "the neighbour was not served"


class Attacked:
    """One running node.

    Attributes:
        target: ``host:port``.
    """

    def __init__(self, process: RegistryProcess) -> None:
        self._process = process
        self.target = process.target
        launcher = psutil.Process(process.pid)
        (self._envoy,) = launcher.children()

    def memory_bytes(self) -> int:
        """Return what the serving process takes of memory that nobody else uses too."""
        return int(self._envoy.memory_full_info().pss)

    @property
    def alive(self) -> bool:
        """Whether it is still the process that it was at the beginning."""
        return self._envoy.is_running() and self._envoy.status() != psutil.STATUS_ZOMBIE

    @property
    def connections(self) -> int:
        """How many client connections it holds."""
        return sum(1 for one in self._envoy.net_connections("tcp") if one.status == "ESTABLISHED")

    @property
    def log(self) -> str:
        return self._process.log

    @contextlib.contextmanager
    def unharmed(self, growth_bytes_max: int = 64 * MIB) -> Iterator[Neighbour]:
        """Attack in this block: the node must live, stay within its memory and go on serving."""
        before = self.memory_bytes()
        with Neighbour(self.target) as neighbour:
            yield neighbour
        assert self.alive, f"the node died: {self.log[-2000:]}"
        growth = self.memory_bytes() - before
        assert growth <= growth_bytes_max, f"grew by {growth / MIB:.0f} MiB"
