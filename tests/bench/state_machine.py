#!/usr/bin/env python3
"""The state machine and its database alone: CPU time of one thread, without log, network or gRPC.

    uv run --no-sync python tests/bench/state_machine.py [--rounds 12]

The least of the rounds, which other work on the machine disturbs little: for comparing two versions
of the code, run in turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tianlu._proto.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest
from tianlu_registry.lease import Lessor
from tianlu_registry.mvcc import MvccStore
from tianlu_registry.storage.backend import LmdbBackend

VALUE = bytes(100)
OTHER_KEYS = 50_000
KEYS = [b"many/%06d" % number for number in range(1_000)]
FIRST, BEYOND = b"many/", b"many0"


class Machine:
    """A store of many keys, and what is measured of it."""

    def __init__(self, directory: Path) -> None:
        self.backend = LmdbBackend.open(directory)
        self.store = MvccStore(self.backend, Lessor(self.backend))
        self.index = 0
        for number in range(OTHER_KEYS):
            self.store.put(PutRequest(key=b"other/%06d" % number, value=VALUE))
        self.commit()

    def commit(self) -> None:
        self.index += 1
        self.backend.commit(self.index, 1)

    def put(self) -> None:
        for key in KEYS:
            self.store.put(PutRequest(key=key, value=VALUE))

    def range_one(self) -> None:
        for key in KEYS:
            self.store.range_encoded(RangeRequest(key=key))

    def range_many(self) -> None:
        self.store.range_encoded(RangeRequest(key=FIRST, range_end=BEYOND))

    def delete_many(self) -> None:
        self.store.delete_range(DeleteRangeRequest(key=FIRST, range_end=BEYOND))


def seconds(work: Callable[[], None]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def main(directory: Path, rounds: int) -> None:
    machine = Machine(directory)
    least: dict[str, float] = {}
    for _ in range(rounds):
        for name, work, calls in (
            ("put", machine.put, len(KEYS)),
            ("range of one key", machine.range_one, len(KEYS)),
            ("range of 1,000 keys", machine.range_many, 1),
            ("delete of 1,000 keys", machine.delete_many, 1),
        ):
            took = seconds(work) / calls
            least[name] = min(took, least.get(name, took))
            machine.commit()
    for name, took in least.items():
        print(f"{name:<22}{took * 1e6:>10.1f} us")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    with tempfile.TemporaryDirectory(prefix="tianlu-bench-") as made:
        main(Path(made), parser.parse_args().rounds)
