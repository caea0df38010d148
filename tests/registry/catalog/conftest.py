"""A catalogue on each engine: our own node, and a real etcd.

etcd keeps what earlier tests wrote, so every test works in a namespace of its own.
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
from tianlu_registry.governance import Governance, GovernanceConfig
from tianlu_registry.node.config import NodeConfig

_numbers = itertools.count()

QUICK = GovernanceConfig(
    stream_grace_seconds=0.1, mass_break_seconds=0.2, bookmark_seconds=0.2, sweep_seconds=0.1
)


@pytest.fixture(scope="session")
def catalog_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    process.start()
    yield process
    process.kill()


@pytest.fixture(params=["embedded", "etcd"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "embedded":
        node = await EmbeddedNode.start(NodeConfig(tmp_path / "node"))
        yield node.store
        await node.stop()
    else:
        etcd: EtcdProcess = request.getfixturevalue("catalog_etcd")
        async with await EtcdStore.connect(EtcdConfig((etcd.endpoint,))) as connected:
            yield connected


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Store]:
    """For what does not depend on the engine."""
    node = await EmbeddedNode.start(NodeConfig(tmp_path / "node"))
    yield node.store
    await node.stop()


@pytest.fixture
async def governance(store: Store) -> AsyncIterator[Governance]:
    async with Governance.start(store, QUICK) as started:
        yield started


@pytest.fixture
def namespace() -> str:
    """Return a namespace that no other test uses."""
    return f"ns-{next(_numbers)}"
