"""Applies random logs and prints what came of each: `python -m registry.compiled.replay SEED...`

Run once with interpreted and once with compiled cores, it must print the same but for the kind.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
import tempfile
from pathlib import Path

from registry.node.test_node_state_hash_members import Replica, random_request

from tianlu._proto.etcd.rpc_pb2 import RangeRequest
from tianlu_registry.cores import kind_of_cores
from tianlu_registry.errors import InputError
from tianlu_registry.mvcc.hash import KeysHasher
from tianlu_registry.raft.types import Index

COMMANDS = 600


async def digest_of(seed: int) -> str:
    """Return a digest of every answer, every error, every change and the state at the end."""
    rng = random.Random(seed)
    found = hashlib.sha256()
    with tempfile.TemporaryDirectory() as directory:
        replica = Replica(Path(directory), 1)
        machine = replica.machine
        for number in range(1, COMMANDS + 1):
            kind, request = random_request(rng)
            try:
                answer = machine.apply(kind, request)
                told = answer.SerializeToString() if answer is not None else b"nothing"
            except InputError as error:
                told = f"{type(error).__name__}: {error}".encode()
            found.update(b"%d %d:" % (number, replica.state_hash.value()) + told)
            if rng.random() < 0.1:
                machine.mvcc.compaction_step(rng.randrange(1, 9))
        everything = RangeRequest(key=b"\0", range_end=b"\0")
        found.update(machine.mvcc.range(everything).SerializeToString(deterministic=True))
        found.update(repr(KeysHasher(machine.mvcc, 0).step(1 << 20)).encode())
        found.update(replica.state_hash.report(Index(COMMANDS)).encode())
        replica.backend.close()
    return found.hexdigest()


async def main(seeds: list[int]) -> None:
    digests = {seed: await digest_of(seed) for seed in seeds}
    print(json.dumps({"cores": kind_of_cores(), "digests": digests}))


if __name__ == "__main__":
    asyncio.run(main([int(seed) for seed in sys.argv[1:]]))
