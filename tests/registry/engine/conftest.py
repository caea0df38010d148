"""The engines that the conformance suite runs against: our own node, and a real etcd.

Both keep what earlier tests wrote (etcd does; so must we), so a test works below its own `prefix`
and compares revisions with each other, never with numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from registry.etcd_process import EtcdProcess

from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.engine.etcd import EtcdStore
from tianlu_registry.engine.etcd_config import EtcdConfig
from tianlu_registry.engine.store import Store
from tianlu_registry.node.config import MIB, NodeConfig

_prefixes = itertools.count()


@pytest.fixture(scope="session")
def conformance_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    process.start()
    yield process
    process.kill()


@pytest.fixture(scope="session")
def embedded_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the whole suite: every test also starts a node on what others left."""
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(params=["embedded", "etcd"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "embedded":
        data_dir: Path = request.getfixturevalue("embedded_data_dir")
        # Every start reads the last segment to its end: a small one is quick.
        node = await EmbeddedNode.start(NodeConfig(data_dir, wal_segment_bytes=4 * MIB))
        yield node.store
        await node.stop()
    else:
        etcd: EtcdProcess = request.getfixturevalue("conformance_etcd")
        async with await EtcdStore.connect(EtcdConfig((etcd.endpoint,))) as connected:
            yield connected


@pytest.fixture
def prefix() -> bytes:
    """Return a key prefix that no other test uses."""
    return b"conformance/%04d/" % next(_prefixes)
