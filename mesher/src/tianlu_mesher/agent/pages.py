"""What the status server shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tianlu_mesher.agent.envoy_admin import EnvoyAdmin
from tianlu_mesher.agent.feed import CatalogFeed
from tianlu_mesher.agent.metrics import TYPE_LABELS, AgentMetrics
from tianlu_mesher.agent.pipeline import Pipeline
from tianlu_mesher.agent.status import Answer, Page, json_answer
from tianlu_mesher.errors import EnvoyFailed
from tianlu_mesher.routing.ir import EnvoyClusterSpec, ServiceRoute
from tianlu_mesher.xds.server import AdsServer


class Pages:
    """Reads the agent's parts; changes nothing but the metrics' gauges."""

    def __init__(
        self,
        feed: CatalogFeed,
        pipeline: Pipeline,
        ads: AdsServer,
        admin: EnvoyAdmin,
        metrics: AgentMetrics,
    ) -> None:
        self._feed = feed
        self._pipeline = pipeline
        self._ads = ads
        self._admin = admin
        self._metrics = metrics

    def by_path(self) -> Mapping[str, Page]:
        """Return every page by its path."""
        return {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics_page,
            "/status": self._status,
            "/routes": self._routes,
        }

    async def _healthz(self) -> Answer:
        return Answer(200, b"ok\n")

    async def _readyz(self) -> Answer:
        waits = []
        if not self._pipeline.plan.loaded:
            waits.append(f"no view of the catalogue: {self._feed.degraded or 'starting'}")
        if self._ads.connected == 0:
            waits.append("Envoy is not connected")
        elif not await self._admin.live():
            waits.append("Envoy does not serve")
        elif not self._ads.ever_settled:
            waits.append("Envoy has not accepted a view yet")
        if waits:
            return Answer(503, ("\n".join(waits) + "\n").encode())
        return Answer(200, b"ok\n")

    async def _metrics_page(self) -> Answer:
        self._measure()
        content = self._metrics.render()
        try:
            content += await self._admin.metrics()
        except EnvoyFailed as error:
            content += f"# {error}\n".encode()
        return Answer(200, content, "text/plain; version=0.0.4; charset=utf-8")

    def _measure(self) -> None:
        view, plan, metrics = self._feed.view, self._pipeline.plan, self._metrics
        metrics.view_revision.set(plan.revision)
        metrics.view_rung.set(0 if plan.rung is None else int(plan.rung))
        metrics.view_age.set(0.0 if view is None else view.age_seconds)
        metrics.services.set(len(plan.services))
        metrics.endpoints.set(
            sum(
                len(cluster.endpoints)
                for service in plan.services.values()
                for cluster in service.envoy_clusters
            )
        )
        metrics.streams.set(self._ads.connected)
        metrics.refused.set(len(self._ads.refused))

    async def _status(self) -> Answer:
        view, plan = self._feed.view, self._pipeline.plan
        return json_answer(
            {
                "revision": plan.revision,
                "applied_revision": self._ads.settled_revision,
                "rung": None if plan.rung is None else plan.rung.name.lower(),
                "age_seconds": None if view is None else round(view.age_seconds, 3),
                "degraded": self._feed.degraded,
                "problem": self._pipeline.problem,
                "services": len(plan.services),
                "envoy": {"streams": self._ads.connected, "serves": await self._admin.live()},
                "refused": [
                    {"type": TYPE_LABELS[type_url], "name": name}
                    for type_url, name in self._ads.refused
                ],
            }
        )

    async def _routes(self) -> Answer:
        services = sorted(self._pipeline.plan.services.items())
        return json_answer({str(key): _service(service) for key, service in services})


def _service(service: ServiceRoute) -> dict[str, Any]:
    return {
        "routes": [
            {
                "authority": ".".join(filter(None, (route.port_name, str(service.key)))),
                "envoy_cluster": route.envoy_cluster,
                "grpc_envoy_cluster": route.grpc_envoy_cluster,
            }
            for route in service.routes
        ],
        "envoy_clusters": {each.name: _cluster(each) for each in service.envoy_clusters},
        "notes": list(service.notes),
    }


def _cluster(cluster: EnvoyClusterSpec) -> dict[str, Any]:
    return {
        "protocol": cluster.protocol,
        "load_balancer": cluster.load_balancer,
        "endpoints": [
            {
                "instance": each.instance_id,
                "address": f"{each.address}:{each.port}",
                "weight": each.weight,
                "healthy": each.healthy,
            }
            for each in cluster.endpoints
        ],
    }
