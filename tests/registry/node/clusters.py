"""Several nodes in one process, joined by Unix sockets."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from registry.node.nodes import small

from tianlu._proto.etcd.rpc_pb2 import MemberAddRequest, PutRequest, RangeRequest
from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.engine.embedded_cluster import EmbeddedCluster
from tianlu_registry.errors import Broken, RegistryError
from tianlu_registry.node.config import NodeConfig

PATIENCE_SECONDS = 30.0


class Members:
    """Nodes by name, each with a data directory and a peer socket of its own."""

    def __init__(self, root: Path, names: str, **settings: Any) -> None:
        self.root = root
        self.settings = settings
        self.founders = list(names)
        self.running: dict[str, EmbeddedNode] = {}
        self.failures: dict[str, Broken] = {}

    def url(self, name: str) -> str:
        return f"unix:{self.root}/{name}.sock"

    def config(self, name: str, **settings: Any) -> NodeConfig:
        names = self.founders if name in self.founders else [*self.founders, name]
        defaults: dict[str, Any] = {
            "name": name,
            "peer_urls": (self.url(name),),
            "listen_peer_urls": (self.url(name),),
            "client_urls": (f"http://{name}.example:2379",),
            "initial_cluster": ",".join(f"{each}={self.url(each)}" for each in names),
            "cluster_state": "new" if name in self.founders else "existing",
            "tick_milliseconds": 20,
        }
        return small(self.root / name, **{**defaults, **self.settings, **settings})

    async def start(self, *names: str, **settings: Any) -> None:
        nodes = await asyncio.gather(
            *(
                EmbeddedNode.start(
                    self.config(name, **settings),
                    on_fatal=lambda error, name=name: self.failures.update({name: error}),
                )
                for name in names
            )
        )
        self.running.update(zip(names, nodes, strict=True))

    async def stop(self, *names: str) -> None:
        for name in names:
            await self.running.pop(name).stop()

    def __getitem__(self, name: str) -> EmbeddedNode:
        return self.running[name]

    def cluster(self, name: str) -> EmbeddedCluster:
        return EmbeddedCluster(self[name].node)

    def cut_off(self, name: str) -> None:
        """Have a member hear and say nothing, as if its cable were cut."""
        peers = self[name].node.others.peers
        peers.send = lambda messages: None
        peers.on_messages = lambda messages: None

    def join_again(self, name: str) -> None:
        """End `cut_off`."""
        peers = self[name].node.others.peers
        delattr(peers, "send")
        delattr(peers, "on_messages")

    def leader(self) -> str | None:
        """Return who leads; None while nobody, or more than one, says so."""
        leaders = [name for name, node in self.running.items() if node.node.leads]
        return leaders[0] if len(leaders) == 1 else None

    async def wait_leader(self) -> str:
        await until("a leader", lambda: self.leader() is not None)
        leader = self.leader()
        assert leader is not None
        return leader

    async def followers(self) -> list[str]:
        leader = await self.wait_leader()
        return [name for name in self.running if name != leader]

    async def put(self, name: str, key: bytes, value: bytes = b"v") -> int:
        """Put through a member; return the revision."""
        response = await self[name].store.put(PutRequest(key=key, value=value))
        return response.header.revision

    async def get(self, name: str, key: bytes, *, serializable: bool = False) -> bytes | None:
        request = RangeRequest(key=key, serializable=serializable)
        response = await self[name].store.range(request)
        return response.kvs[0].value if response.kvs else None

    async def add(self, name: str, *, learner: bool = False) -> int:
        """Add a member through the leader; return its number."""
        request = MemberAddRequest(peerURLs=[self.url(name)], isLearner=learner)
        response = await retried(lambda: self.cluster(next(iter(self.running))).member_add(request))
        number: int = response.member.ID
        return number

    async def cut_log(self) -> None:
        """Write until the leader has nothing left in its log of what was there before. It keeps
        that for a while for a member that has just been heard of, and looks at each commit."""
        index = self[await self.wait_leader()].node.applied_index
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while self[await self.wait_leader()].node.log_first_index <= index:
            assert asyncio.get_running_loop().time() < deadline, "the log is not cut"
            await self.put(await self.wait_leader(), b"cut_log")
            await asyncio.sleep(0.01)

    async def wait_equal(self) -> None:
        """Wait until all members have applied the same."""

        def equal() -> bool:
            applied = {node.node.applied_index for node in self.running.values()}
            return len(applied) == 1

        await until("all members are equal", equal)


async def retried(call: Callable[[], Any]) -> Any:
    """Repeat a call while the cluster is not ready for it."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            return await call()
        except RegistryError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)


async def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.01)


@asynccontextmanager
async def members(names: str = "abc", **settings: Any) -> AsyncIterator[Members]:
    """Run founding members with the given one-letter names."""
    root = Path(tempfile.mkdtemp(prefix="tianlu-members-"))
    joined = Members(root, names, **settings)
    try:
        await joined.start(*names)
        yield joined
    finally:
        for name in list(joined.running):
            await joined.stop(name)
        shutil.rmtree(root, ignore_errors=True)
