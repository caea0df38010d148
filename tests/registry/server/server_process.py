"""Launchers for tests: the real Envoy, the real Python in it, and an application of the tests'."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tianlu_registry.server.addresses import Reservation, parse_listen_urls
from tianlu_registry.server.launcher import Launcher, LaunchPlan
from tianlu_registry.server.supervision import Limits

TESTS = Path(__file__).resolve().parents[2]
ECHO_APP = "registry.api.adapter_service:app"

QUICK = Limits(
    probe_interval=0.1,
    probe_timeout=0.3,
    failures_max=3,
    startup_max=30,
    backoff_first=0.05,
    drain=0.5,
    stop_max=5,
)
"""A launcher's patience for tests: shapes as in production, times shorter."""


class RunningLauncher:
    """A launcher in this process's event loop, and what it has done so far."""

    def __init__(self, launcher: Launcher, urls: tuple[str, ...]) -> None:
        self.launcher = launcher
        self.urls = urls
        self.served = 0
        self.telling_fails: Exception | None = None
        self.task: asyncio.Task[int] | None = None

    @property
    def target(self) -> str:
        """The first address as gRPC clients take it."""
        return self.urls[0].removeprefix("http://")

    async def serving(self, times: int = 1) -> None:
        """Wait until a child serves for the `times`-th time."""
        assert self.task is not None
        async with asyncio.timeout(30):
            while self.served < times:
                if self.task.done():
                    raise AssertionError(f"the launcher ended with {self.task.result()}")
                await asyncio.sleep(0.01)


@asynccontextmanager
async def launched(
    app: str = ECHO_APP, listen: str = "http://127.0.0.1:0", limits: Limits = QUICK
) -> AsyncIterator[RunningLauncher]:
    """Run `app` until the block ends."""
    sys.path.insert(0, str(TESTS))  # the child's PYTHONPATH is made from ours
    try:
        with Reservation("--listen", parse_listen_urls("--listen", listen)) as held:
            plan = LaunchPlan(app, held.addresses, dict(os.environ), "warn", limits=limits)
            running: RunningLauncher
            launcher = Launcher(plan, lambda admin_socket: _count(running))
            running = RunningLauncher(launcher, tuple(each.url for each in held.addresses))
            running.task = asyncio.create_task(launcher.run())
            try:
                yield running
            finally:
                launcher.stop()
                async with asyncio.timeout(30):
                    await asyncio.gather(running.task, return_exceptions=True)
    finally:
        sys.path.remove(str(TESTS))


def _count(running: RunningLauncher) -> None:
    running.served += 1
    if running.telling_fails is not None:
        raise running.telling_fails
