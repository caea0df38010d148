"""A process that writes until it is killed: prints what it found, then what was acknowledged.

    STATE <key> <value>     every key found at the start
    LEASE <id> <ttl>        every lease found at the start, with its remaining seconds
    READY <revision>
    ACK <key> <value> <revision>

Every worker counts up the value of a key of its own, one request at a time, by put, transaction
or delete-and-put in turn. So after a restart a key holds its last acknowledged value or the one
after it, whose answer the kill may have cut off.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from tianlu_registry.engine.embedded import EmbeddedNode, EmbeddedStore
from tianlu_registry.node.config import KIB, NodeConfig

WORKERS = 8
LEASE_TTL_SECONDS = 600


def say(*words: object) -> None:
    # One write per line: a kill never leaves half of one.
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


async def main(data_dir: Path, seconds: float, commit_milliseconds: int) -> None:
    config = NodeConfig(
        data_dir,
        disk_free_bytes_min=0,
        wal_segment_bytes=64 * KIB,
        wal_entries_kept=10,
        commit_interval_milliseconds=commit_milliseconds,
    )
    node = await EmbeddedNode.start(config)
    found = await report(node.store)
    if seconds:
        ends = asyncio.get_running_loop().time() + seconds
        lease = (await node.store.lease_grant(LeaseGrantRequest(TTL=LEASE_TTL_SECONDS))).ID
        async with asyncio.TaskGroup() as group:
            for number in range(WORKERS):
                key = f"key/{number}"
                group.create_task(work(node.store, key, found.get(key, 0), lease, ends))
    await node.stop()


async def report(store: EmbeddedStore) -> dict[str, int]:
    everything = await store.range(RangeRequest(key=b"\0", range_end=b"\0"))
    found = {kv.key.decode(): int(kv.value) for kv in everything.kvs}
    for key, value in found.items():
        say("STATE", key, value)
    for lease in (await store.lease_leases()).leases:
        answer = await store.lease_time_to_live(LeaseTimeToLiveRequest(ID=lease.ID))
        say("LEASE", lease.ID, answer.TTL)
    say("READY", everything.header.revision)
    return found


async def work(store: EmbeddedStore, key: str, value: int, lease: int, ends: float) -> None:
    name = key.encode()
    padding = b" " * 200
    while asyncio.get_running_loop().time() < ends:
        value += 1
        put = PutRequest(key=name, value=b"%d" % value + padding, lease=lease)
        if value % 3 == 0:
            op = RequestOp(request_put=put)
            revision = (await store.txn(TxnRequest(success=[op]))).header.revision
        elif value % 3 == 1:
            await store.delete_range(DeleteRangeRequest(key=name + b"/scratch"))
            scratch = PutRequest(key=name + b"/scratch", value=b"0")
            await store.put(scratch)
            revision = (await store.put(put)).header.revision
        else:
            revision = (await store.put(put)).header.revision
        say("ACK", key, value, revision)
        if value % 50 == 0:
            await compact(store, revision)


async def compact(store: EmbeddedStore, revision: int) -> None:
    # Another worker may have compacted beyond this already.
    if revision > store.status().compact_revision:
        await store.compact(CompactionRequest(revision=revision))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
