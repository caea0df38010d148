"""The agent's composition root, wired top to bottom."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path

from prometheus_client import disable_created_metrics

from tianlu import AsyncClient, CatalogView
from tianlu_mesher.agent.config import AgentConfig
from tianlu_mesher.agent.envoy_admin import EnvoyAdmin
from tianlu_mesher.agent.feed import CatalogFeed
from tianlu_mesher.agent.metrics import TYPE_LABELS, AgentMetrics
from tianlu_mesher.agent.pages import Pages
from tianlu_mesher.agent.pipeline import Pipeline
from tianlu_mesher.agent.resolver import Resolver
from tianlu_mesher.agent.status import StatusServer
from tianlu_mesher.resources.snapshot import XdsSnapshot
from tianlu_mesher.xds.ledger import Verdict
from tianlu_mesher.xds.server import AdsServer

logger = logging.getLogger("tianlu_mesher.agent.process")

# With the registry away the host snapshot is asked after this long; a start must be quick.
_REGISTRY_TIMEOUT_SECONDS = 2.0
# A fresh Envoy is given the control plane's own routes after this long without a view.
_UNLOADED_AFTER_SECONDS = 1.0
_LOG_FORMAT = "%(levelname)s %(name)s %(message)s"


class Agent:
    """All parts of one agent."""

    def __init__(self, config: AgentConfig) -> None:
        self._client = AsyncClient(
            config.registry,
            name=f"{config.role.name} {config.node_id}",
            snapshot_dir=Path(config.snapshot_dir) if config.snapshot_dir else None,
            timeout_seconds=_REGISTRY_TIMEOUT_SECONDS,
            **config.access,
        )
        self._metrics = AgentMetrics(config.role.name)
        self._ads = AdsServer(
            Path(config.xds_socket), on_verdict=self._take_verdict, on_settled=self._take_settled
        )
        self._pipeline = Pipeline(
            config.role, frozenset(config.static_clusters), self._publish, self._refused
        )
        self._resolver = Resolver(self._pipeline.take_addresses)
        self._feed = CatalogFeed(self._client, self._take_view)
        self._admin = EnvoyAdmin(Path(config.admin_socket))
        pages = Pages(self._feed, self._pipeline, self._ads, self._admin, self._metrics)
        self._status = StatusServer(socket.socket(fileno=config.status_fd), pages.by_path())

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await self._ads.start()
        await self._status.start()
        logger.info("agent.start.complete")
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._feed.run()),
                    tasks.create_task(self._resolver.run()),
                    tasks.create_task(self._start_unloaded()),
                ]
                await stopping.wait()
                for task in running:
                    task.cancel()
        finally:
            await self._stop()

    async def _stop(self) -> None:
        await self._status.stop()
        await self._ads.stop()
        await self._client.close()
        logger.info("agent.stop.complete")

    async def _start_unloaded(self) -> None:
        await asyncio.sleep(_UNLOADED_AFTER_SECONDS)
        self._pipeline.start_unloaded()

    def _take_view(self, view: CatalogView) -> None:
        self._pipeline.take_view(view)
        self._resolver.want(self._pipeline.plan.host_names)

    def _publish(self, snapshot: XdsSnapshot) -> None:
        self._metrics.published.inc()
        self._ads.publish(snapshot)

    def _refused(self, problem: str) -> None:
        self._metrics.failed.inc()
        logger.error("pipeline.publish.failed reason=%r", problem)

    def _take_verdict(self, verdict: Verdict) -> None:
        label = TYPE_LABELS[verdict.type_url]
        if verdict.error is None:
            self._metrics.acks.labels(label).inc()
            return
        self._metrics.nacks.labels(label).inc()
        logger.error(
            "xds.nack type=%s resources=%s reason=%r",
            label,
            ",".join(verdict.names[:10]),
            verdict.error,
        )

    def _take_settled(self, revision: int) -> None:
        self._metrics.applied_revision.set(revision)
        self._feed.settled(revision)


def main(path: str, status_fd: str) -> None:
    """Run the agent whose settings stand in the file `path`."""
    config = AgentConfig.read(Path(path), status_fd=int(status_fd))
    logging.basicConfig(level=config.log_level, format=_LOG_FORMAT, stream=sys.stderr)
    # A counter's time of creation is of no use to anybody here and doubles the page.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    import uvloop

    uvloop.run(Agent(config).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
