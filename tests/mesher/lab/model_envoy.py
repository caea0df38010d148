"""What Envoy does with delta xDS, as far as order matters; for tests of the session.

Sources: Envoy's warming of clusters (endpoints are asked for when a cluster arrives, and a cluster
is used once it has them) and its delta subscriptions. The real Envoy judges the same session in
test_envoy_pipeline.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tianlu_mesher.resources.snapshot import CLUSTER_TYPE, ENDPOINT_TYPE, ROUTE_TYPE, Resource
from tianlu_mesher.xds.messages import DeltaRequest, DeltaResponse

ROUTES = "tianlu"


class ModelEnvoy:
    """Takes responses one by one; what it wants to say waits in `outbox`."""

    def __init__(self, refuses: Callable[[str, Resource], bool] = lambda _kind, _resource: False):
        self.refuses = refuses
        self.clusters: dict[str, str] = {}
        self.endpoints: dict[str, str] = {}
        self.warming: set[str] = set()
        self.routes: str = ""
        self.inbox: deque[DeltaResponse] = deque()
        self.outbox: deque[DeltaRequest] = deque()
        self.connect()

    def connect(self) -> None:
        """Begin a stream: say what is wanted, and what is there already."""
        self.inbox.clear()
        self.outbox.clear()
        self.outbox.append(
            DeltaRequest(CLUSTER_TYPE, initial_resource_versions=dict(self.clusters))
        )
        if self.clusters:
            self.outbox.append(
                DeltaRequest(
                    ENDPOINT_TYPE,
                    subscribe=tuple(self.clusters),
                    initial_resource_versions=dict(self.endpoints),
                )
            )
        routes = {ROUTES: self.routes} if self.routes else {}
        self.outbox.append(
            DeltaRequest(ROUTE_TYPE, subscribe=(ROUTES,), initial_resource_versions=routes)
        )

    def take(self) -> None:
        """Judge and apply the oldest response."""
        response = self.inbox.popleft()
        bad = [each for each in response.resources if self.refuses(response.type_url, each)]
        if bad:
            self._answer(response, error=f"bad: {bad[0].name}")
            return
        apply = {CLUSTER_TYPE: self._take_clusters, ENDPOINT_TYPE: self._take_endpoints}
        apply.get(response.type_url, self._take_routes)(response)
        self._answer(response)

    def _answer(self, response: DeltaResponse, error: str | None = None) -> None:
        self.outbox.append(
            DeltaRequest(response.type_url, response_nonce=response.nonce, error=error)
        )

    def _take_clusters(self, response: DeltaResponse) -> None:
        new = tuple(each.name for each in response.resources if each.name not in self.clusters)
        for each in response.resources:
            self.clusters[each.name] = each.version_info
            if each.name in new:
                self.warming.add(each.name)
        for name in response.removed:
            self.clusters.pop(name, None)
            self.endpoints.pop(name, None)
            self.warming.discard(name)
        if new or response.removed:
            self.outbox.append(
                DeltaRequest(ENDPOINT_TYPE, subscribe=new, unsubscribe=response.removed)
            )

    def _take_endpoints(self, response: DeltaResponse) -> None:
        for each in response.resources:
            if each.name in self.clusters:
                self.endpoints[each.name] = each.version_info
                self.warming.discard(each.name)
        self.warming -= set(response.removed)

    def _take_routes(self, response: DeltaResponse) -> None:
        for each in response.resources:
            self.routes = each.version_info

    @property
    def usable(self) -> set[str]:
        """Clusters that a route may lead to."""
        return self.clusters.keys() - self.warming
