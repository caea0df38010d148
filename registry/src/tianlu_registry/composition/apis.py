"""All APIs of a node, on one port."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import partial

from tianlu_registry.api import etcd_json
from tianlu_registry.api.call_durations import EXTENSIVE, CallDurations
from tianlu_registry.api.catalog_json import CatalogJson
from tianlu_registry.api.errors import error_status
from tianlu_registry.api.etcd_admission import Admission
from tianlu_registry.api.etcd_json_stream import JsonObserve, JsonSnapshot, JsonStreams
from tianlu_registry.api.etcd_watch import WatchServicer
from tianlu_registry.api.grpc_asgi import REQUEST_OVERHEAD_BYTES, GrpcApp
from tianlu_registry.api.grpc_asgi.asgi import AsgiApp
from tianlu_registry.api.grpc_health import HealthServicer
from tianlu_registry.api.health import HealthPages
from tianlu_registry.api.http import HttpRouter
from tianlu_registry.api.limited import LimitedApp, LimitsCollector, limited_app
from tianlu_registry.api.metrics import ApiCollector, MetricsPage, ServerCollector
from tianlu_registry.api.web_access import WebAccess
from tianlu_registry.audit.running import Auditing
from tianlu_registry.authn.guarded_methods import may_read_catalog
from tianlu_registry.composition.callers import Callers
from tianlu_registry.composition.engine import Engine
from tianlu_registry.composition.services import (
    EtcdServices,
    add_catalog,
    add_etcd,
    add_health_and_reflection,
)
from tianlu_registry.errors import Stopped
from tianlu_registry.governance import Governance
from tianlu_registry.governance.metrics import CatalogCollector
from tianlu_registry.server.client_traffic import ClientTraffic, admin_socket
from tianlu_registry.server.peer_connections import PeerConnections
from tianlu_registry.server.settings import RegistrySettings


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs, and what the APIs are made of.

    Attributes:
        audit: None if no audit log is kept.
        connections: ends connections of clients that have too many; None without a limit.
    """

    engine: Engine
    governance: Governance
    callers: Callers
    audit: Auditing | None
    connections: PeerConnections | None


@dataclass(frozen=True, slots=True)
class Apis:
    """The running application: what draining must reach.

    Attributes:
        entry: what calls are given to.
    """

    entry: AsgiApp
    grpc: GrpcApp
    http: HttpRouter
    watch: WatchServicer
    health: HealthServicer
    pages: HealthPages
    governance: Governance

    def drain(self) -> None:
        """Say that this node is going, and end the streams that would otherwise never end."""
        self.pages.drain()
        self.health.set_serving(False)
        # Before any stream ends: sessions whose streams we end are not suspect.
        self.governance.drain()
        self.watch.stop()
        self.grpc.drain(Stopped())


def compose(settings: RegistrySettings, parts: Parts) -> Apis:
    """Put the APIs together."""
    engine, callers, governance = parts.engine, parts.callers, parts.governance
    http = HttpRouter(WebAccess(frozenset(settings.cors), frozenset(settings.host_whitelist)))
    grpc = GrpcApp(
        error_status,
        fallback=http,
        request_bytes_max=settings.node.request_bytes_max + REQUEST_OVERHEAD_BYTES,
    )
    limited = limited_app(grpc, callers.names.name, settings.client_limits)
    watch = WatchServicer(
        callers.store,
        quota=None if limited is None else limited.watch_quota,
        progress_interval_seconds=settings.progress_interval_seconds,
        check=None if callers.entrance is None else callers.entrance.store.check_watch,
    )
    admission = Admission(
        is_settled=engine.is_settled,
        is_learner=engine.is_learner,
        has_leader=engine.has_leader,
        election_seconds=settings.node.election_seconds,
    )
    auditor = None if parts.audit is None else parts.audit.auditor
    etcd = add_etcd(grpc, callers, watch, admission, auditor)
    catalog = add_catalog(grpc, callers, governance, auditor)
    health = add_health_and_reflection(grpc)
    _add_etcd_json(http, grpc, watch, etcd, callers, admission)
    guard = callers.catalog_guard
    catalog_json = CatalogJson(
        catalog,
        governance.subscriptions,
        grpc.sweeper,
        check_watch=None if guard is None else partial(guard.ask, may_read_catalog),
    )
    http.mount("/v1/", catalog_json.handle)
    version = importlib.metadata.version("tianlu-registry")
    pages = HealthPages(engine.store, version, lambda: governance.feed.ready)
    pages.add_to(http)
    apis = Apis(limited or grpc, grpc, http, watch, health, pages, governance)
    _metrics_page(settings, parts, apis, version, limited).add_to(http)
    return apis


def _add_etcd_json(
    http: HttpRouter,
    grpc: GrpcApp,
    watch: WatchServicer,
    etcd: EtcdServices,
    callers: Callers,
    admission: Admission,
) -> None:
    etcd_json.add_routes(http, grpc)
    streams = JsonStreams(watch, etcd.lease, callers.store.header, grpc, admission)
    http.add_stream("POST", "/v3/watch", streams.watch)
    http.add_stream("POST", "/v3/lease/keepalive", streams.lease_keep_alive)
    http.add_stream("POST", "/v3/election/observe", JsonObserve(etcd.election, grpc))
    http.add_stream("POST", "/v3/maintenance/snapshot", JsonSnapshot(etcd.maintenance, grpc))


def _metrics_page(
    settings: RegistrySettings,
    parts: Parts,
    apis: Apis,
    version: str,
    limited: LimitedApp | None,
) -> MetricsPage:
    traffic, durations = ClientTraffic(admin_socket()), CallDurations()
    if settings.metrics == EXTENSIVE:
        durations.time(apis.grpc.methods)
    return MetricsPage(
        [
            traffic,
            durations,
            ServerCollector(parts.engine.store, version),
            ApiCollector(apis.grpc, apis.watch, apis.pages),
            CatalogCollector(parts.governance),
            *parts.engine.collectors,
            *(() if parts.audit is None else (parts.audit.collector,)),
            LimitsCollector(limited, parts.connections),
        ],
        refresh=traffic.refresh,
    )
