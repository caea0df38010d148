"""Nodes for tests: small files, fast commits, and requests in short form."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tianlu._proto.etcd.rpc_pb2 import PutRequest
from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import Broken, RegistryError
from tianlu_registry.node.config import KIB, MIB, NodeConfig
from tianlu_registry.node.crash import CrashHook


def small(data_dir: Path, **settings: Any) -> NodeConfig:
    """Return settings that make a node's limits near."""
    defaults: dict[str, Any] = {
        "disk_free_bytes_min": 0,
        "wal_segment_bytes": 256 * KIB,
        "commit_interval_milliseconds": 5,
        "request_bytes_max": MIB,
    }
    return NodeConfig(data_dir, **{**defaults, **settings})


@asynccontextmanager
async def running(
    config: NodeConfig, *, crash_hook: CrashHook | None = None, fatal: list[Broken] | None = None
) -> AsyncIterator[EmbeddedNode]:
    """Start a node and stop it at the end; `fatal` collects the errors it reports."""
    node = await EmbeddedNode.start(
        config, crash_hook=crash_hook, on_fatal=fatal.append if fatal is not None else None
    )
    try:
        yield node
    finally:
        await node.stop()


async def put_until(
    error: type[RegistryError], store: Store, prefix: bytes, value_bytes: int
) -> int:
    """Put keys of random values until that error comes; return how many were acknowledged."""
    for count in itertools.count():
        try:
            await store.put(PutRequest(key=prefix + b"%06d" % count, value=os.urandom(value_bytes)))
        except error:
            return count
        assert count < 100_000
    raise AssertionError("not reached")
