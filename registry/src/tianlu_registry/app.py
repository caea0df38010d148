"""The composition root of a registry node: what Envoy loads, `tianlu_registry.app:app`.

Everything is made in the lifespan's startup, top to bottom, and unmade in its shutdown. Envoy
listens only after startup, so nothing is served before the node has caught up.
"""

from __future__ import annotations

import contextlib
import hmac
import importlib.metadata
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from prometheus_client.registry import Collector

from tianlu._proto.etcd.rpc_pb2 import DESCRIPTOR as ETCD
from tianlu._proto.etcd.v3election_pb2 import DESCRIPTOR as ELECTION
from tianlu._proto.etcd.v3lock_pb2 import DESCRIPTOR as LOCK
from tianlu._proto.v1.catalog_pb2 import DESCRIPTOR as CATALOG
from tianlu_registry.api import etcd_json
from tianlu_registry.api.call_durations import EXTENSIVE, CallDurations
from tianlu_registry.api.catalog_grpc import CatalogServicer
from tianlu_registry.api.catalog_json import CatalogJson
from tianlu_registry.api.errors import error_status
from tianlu_registry.api.etcd_admission import Admission
from tianlu_registry.api.etcd_auth import UsersServicer
from tianlu_registry.api.etcd_auth_passed_on import PassedOnAuthServicer
from tianlu_registry.api.etcd_cluster import ClusterServicer
from tianlu_registry.api.etcd_election import ElectionServicer
from tianlu_registry.api.etcd_json_stream import JsonObserve, JsonSnapshot, JsonStreams
from tianlu_registry.api.etcd_kv import KvServicer
from tianlu_registry.api.etcd_lease import LeaseServicer
from tianlu_registry.api.etcd_lock import LockServicer
from tianlu_registry.api.etcd_maintenance import MaintenanceServicer
from tianlu_registry.api.etcd_watch import WatchServicer
from tianlu_registry.api.grpc_asgi import REQUEST_OVERHEAD_BYTES, GrpcApp
from tianlu_registry.api.grpc_asgi.asgi import AsgiApp, Receive, Scope, Send
from tianlu_registry.api.grpc_health import SERVICE as HEALTH_SERVICE
from tianlu_registry.api.grpc_health import HealthServicer
from tianlu_registry.api.grpc_reflection import ReflectionServicer, reflection_services
from tianlu_registry.api.health import HealthPages
from tianlu_registry.api.http import HttpRequest, HttpResponse, HttpRouter, text_response
from tianlu_registry.api.limited import LimitsCollector, limited_app
from tianlu_registry.api.metrics import ApiCollector, MetricsPage, ServerCollector
from tianlu_registry.api.web_access import WebAccess
from tianlu_registry.audit.audited import audited
from tianlu_registry.audit.running import Auditing, auditing
from tianlu_registry.authn.caller import credentials, serving
from tianlu_registry.authn.client_name import ClientNames, Proxies
from tianlu_registry.authn.entrance import Entrance
from tianlu_registry.authn.guarded_methods import (
    CATALOG_RULES,
    MAINTENANCE_RULES,
    guarded_methods,
    may_read_catalog,
)
from tianlu_registry.authn.options import make_tokens
from tianlu_registry.authn.underlying_guard import UnderlyingGuard
from tianlu_registry.engine.auth import AuthEngine
from tianlu_registry.engine.cluster import Cluster
from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.engine.embedded_auth import EmbeddedAuth
from tianlu_registry.engine.embedded_cluster import EmbeddedCluster
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import Broken, InputError, RegistryError, Stopped, Unavailable
from tianlu_registry.governance import Governance
from tianlu_registry.governance.metrics import CatalogCollector
from tianlu_registry.node.datadir import DataDirUnusable
from tianlu_registry.node.metrics import NodeCollector
from tianlu_registry.node.peer_metrics import PeerCollector
from tianlu_registry.raft import NO_MEMBER
from tianlu_registry.server.client_traffic import ClientTraffic, admin_socket
from tianlu_registry.server.collector import set_up_collector
from tianlu_registry.server.errors import EXIT_CANNOT_CREATE, EXIT_UNAVAILABLE, EXIT_USAGE
from tianlu_registry.server.launcher import (
    ALIVE_PATH,
    DRAIN_PATH,
    RELAY_SECRET_VARIABLE,
    TOKEN_HEADER,
    TOKEN_VARIABLE,
)
from tianlu_registry.server.logs import set_up_logging
from tianlu_registry.server.peer_connections import PeerConnections
from tianlu_registry.server.relay import TlsRelay
from tianlu_registry.server.settings import SETTINGS_VARIABLE, RegistrySettings
from tianlu_registry.transport import CannotListen

_log = logging.getLogger(__name__)

_EXIT_SOFTWARE = 70


@dataclass(slots=True)
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


class RegistryApp:
    """The ASGI application.

    Args:
        settings: what the launcher passed on.
        launcher_token: what requests of the launcher carry.
        relay: reads what the TLS listener says of clients; None if there is none.
    """

    def __init__(
        self, settings: RegistrySettings, launcher_token: str, relay: TlsRelay | None = None
    ) -> None:
        self._settings = settings
        self._launcher_token = launcher_token
        self._relay = relay
        self._apis: Apis | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and self._apis is not None:
            if self._relay is not None:
                self._relay.read(scope)
            serving(scope)
            await self._apis.entry(scope, receive, send)
        else:
            raise RuntimeError(f"no application for a scope of type {scope['type']}")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        set_up_logging(self._settings.log_level, self._settings.log_format)
        try:
            async with AsyncExitStack() as stack:
                self._apis = await self._start(stack)
                await send({"type": "lifespan.startup.complete"})
                await receive()
                self._apis.drain()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the process ends with it
            exit_with(error)
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, stack: AsyncExitStack) -> Apis:
        engine = await stack.enter_async_context(_engine(self._settings))
        governance = await stack.enter_async_context(Governance.start(engine.store))
        # So that a node answers /readyz with yes as soon as it listens. One whose catalogue takes
        # longer serves the rest meanwhile, and says so there.
        with contextlib.suppress(Unavailable):
            await governance.feed.wait_ready()
        entrance = self._entrance(engine)
        if entrance is not None:
            stack.callback(entrance.close)
        audit = stack.enter_context(
            auditing(
                self._settings.audit,
                self._settings.node.name,
                None if entrance is None else entrance.guard,
                client_certificates=self._believes_certificates,
            )
        )
        names = ClientNames(
            None if entrance is None else entrance.guard,
            Proxies(self._settings.client_limits.trusted_proxies),
            client_certificates=self._believes_certificates,
        )
        connections = self._peer_connections(names)
        if connections is not None:
            await stack.enter_async_context(connections.running())
        apis = self._compose(engine, governance, entrance, audit, names, connections)
        set_up_collector()
        return apis

    def _peer_connections(self, names: ClientNames) -> PeerConnections | None:
        limit = self._settings.client_limits.max_connections_per_client
        if not limit:
            return None
        return PeerConnections(self._settings.client_ports, limit, names.limited_address)

    def _entrance(self, engine: Engine) -> Entrance | None:
        """Return what guards the engine; None if it has no users of its own."""
        if engine.auth is None:
            return None
        settings = self._settings
        tokens = make_tokens(
            settings.auth_token, simple_ttl_seconds=settings.auth_token_ttl_seconds
        )
        return Entrance(
            engine.store,
            engine.cluster,
            engine.auth,
            tokens,
            client_certificates=self._believes_certificates,
        )

    @property
    def _believes_certificates(self) -> bool:
        """Without the relay nobody takes away what clients have made up."""
        return self._settings.client_certificates and self._relay is not None

    def _compose(
        self,
        engine: Engine,
        governance: Governance,
        entrance: Entrance | None,
        audit: Auditing | None,
        names: ClientNames,
        connections: PeerConnections | None,
    ) -> Apis:
        """Put the APIs together over `engine`, for callers behind `entrance`."""
        auditor = None if audit is None else audit.auditor
        settings, own = self._settings, engine.store
        store, cluster, users = _for_callers(engine, entrance)
        version = importlib.metadata.version("tianlu-registry")
        http = HttpRouter(WebAccess(frozenset(settings.cors), frozenset(settings.host_whitelist)))
        grpc = GrpcApp(
            error_status,
            fallback=http,
            request_bytes_max=settings.node.request_bytes_max + REQUEST_OVERHEAD_BYTES,
        )
        limited = limited_app(grpc, names.name, settings.client_limits)
        watch = WatchServicer(
            store,
            quota=None if limited is None else limited.watch_quota,
            progress_interval_seconds=settings.progress_interval_seconds,
            check=None if entrance is None else entrance.store.check_watch,
        )
        maintenance, catalog = MaintenanceServicer(store, cluster), CatalogServicer(governance)
        check_catalog_watch = None
        if entrance is not None:
            maintenance = guarded_methods(maintenance, entrance.guard, MAINTENANCE_RULES)
            catalog = guarded_methods(catalog, entrance.guard, CATALOG_RULES)
            check_catalog_watch = partial(entrance.guard.ask, may_read_catalog)
        elif engine.underlying is not None and engine.underlying.guard is not None:
            catalog = guarded_methods(catalog, engine.underlying.guard, CATALOG_RULES)
            check_catalog_watch = partial(engine.underlying.guard.ask, may_read_catalog)
        health = HealthServicer()
        pages = HealthPages(own, version, lambda: governance.feed.ready)
        apis = Apis(limited or grpc, grpc, http, watch, health, pages, governance)
        admission = Admission(
            is_settled=engine.is_settled,
            is_learner=engine.is_learner,
            has_leader=engine.has_leader,
            election_seconds=settings.node.election_seconds,
        )
        etcd = ETCD.services_by_name
        lease = admission.before(etcd["Lease"], LeaseServicer(store))
        maintenance = admission.before(etcd["Maintenance"], maintenance)
        # Outside of all that refuses, and before gRPC and JSON part.
        maintenance = audited(auditor, etcd["Maintenance"], maintenance)
        catalog = audited(auditor, CATALOG.services_by_name["Catalog"], catalog)
        etcd_services = {
            "KV": audited(auditor, etcd["KV"], admission.before(etcd["KV"], KvServicer(store))),
            "Watch": admission.before(etcd["Watch"], watch),
            "Lease": audited(auditor, etcd["Lease"], lease),
            "Cluster": audited(
                auditor,
                etcd["Cluster"],
                admission.before(etcd["Cluster"], ClusterServicer(cluster)),
            ),
            "Maintenance": maintenance,
            "Auth": audited(
                auditor,
                etcd["Auth"],
                admission.before(etcd["Auth"], users),
            ),
        }
        for name, servicer in etcd_services.items():
            grpc.add(etcd[name], servicer)
        lock, elections = LOCK.services_by_name["Lock"], ELECTION.services_by_name["Election"]
        election = admission.before(elections, ElectionServicer(store))
        locks = admission.before(lock, LockServicer(store))
        grpc.add(lock, audited(auditor, lock, locks))
        grpc.add(elections, audited(auditor, elections, election))
        grpc.add(CATALOG.services_by_name["Catalog"], catalog)
        grpc.add(HEALTH_SERVICE, health)
        for reflection in reflection_services():
            grpc.add(reflection, ReflectionServicer(reflection, grpc.services))
        health.know(frozenset(grpc.services))
        etcd_json.add_routes(http, grpc)
        streams = JsonStreams(watch, lease, store.header, grpc, admission)
        http.add_stream("POST", "/v3/watch", streams.watch)
        http.add_stream("POST", "/v3/lease/keepalive", streams.lease_keep_alive)
        http.add_stream("POST", "/v3/election/observe", JsonObserve(election, grpc))
        snapshot = JsonSnapshot(maintenance, grpc)
        http.add_stream("POST", "/v3/maintenance/snapshot", snapshot)
        catalog_json = CatalogJson(
            catalog, governance.subscriptions, grpc.sweeper, check_watch=check_catalog_watch
        )
        http.mount("/v1/", catalog_json.handle)
        pages.add_to(http)
        traffic, durations = ClientTraffic(admin_socket()), CallDurations()
        if settings.metrics == EXTENSIVE:
            durations.time(grpc.methods)
        MetricsPage(
            [
                traffic,
                durations,
                ServerCollector(own, version),
                ApiCollector(grpc, watch, pages),
                CatalogCollector(governance),
                *engine.collectors,
                *(() if audit is None else (audit.collector,)),
                LimitsCollector(limited, connections),
            ],
            refresh=traffic.refresh,
        ).add_to(http)
        self._add_launcher_routes(http, apis)
        return apis

    def _add_launcher_routes(self, http: HttpRouter, apis: Apis) -> None:
        async def alive(request: HttpRequest) -> HttpResponse:
            return self._for_launcher(request) or text_response("ok\n")

        async def drain(request: HttpRequest) -> HttpResponse:
            refused = self._for_launcher(request)
            if refused is None:
                apis.drain()
            return refused or text_response("ok\n")

        http.add("GET", ALIVE_PATH, alive)
        http.add("POST", DRAIN_PATH, drain)

    def _for_launcher(self, request: HttpRequest) -> HttpResponse | None:
        """Return the answer for a stranger; None for the launcher."""
        token = request.header(TOKEN_HEADER.encode()) or b""
        if hmac.compare_digest(token, self._launcher_token.encode()):
            return None
        return text_response("for the launcher only\n", 403)


@dataclass(frozen=True, slots=True)
class Underlying:
    """What callers are given of a store whose users are its own.

    Attributes:
        callers: the store, asked as whoever is served.
        users: the service Auth.
        guard: asked before what the node does as its own user; None if it has none.
    """

    callers: Store
    users: PassedOnAuthServicer
    guard: UnderlyingGuard | None


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs underneath the APIs.

    Attributes:
        auth: its users; None if whoever it stands on looks after them.
        underlying: what is particular to that; None if there is nobody.
        is_settled, is_learner, has_leader: see `Admission`.
        collectors: its metrics.
    """

    store: Store
    cluster: Cluster
    auth: AuthEngine | None
    underlying: Underlying | None
    is_settled: Callable[[], bool]
    is_learner: Callable[[], bool]
    has_leader: Callable[[], bool]
    collectors: Iterable[Collector]


def _for_callers(engine: Engine, entrance: Entrance | None) -> tuple[Store, Cluster, object]:
    """Return the store, the cluster and the service Auth that callers are given."""
    if entrance is not None:
        users = UsersServicer(entrance.administration, entrance.store.header)
        return entrance.store, entrance.cluster, users
    if engine.underlying is None:
        raise RuntimeError("an engine has users of its own, or stands on somebody who has")
    return engine.underlying.callers, engine.cluster, engine.underlying.users


@contextlib.asynccontextmanager
async def _engine(settings: RegistrySettings) -> AsyncIterator[Engine]:
    """Run the store that the settings ask for."""
    if settings.etcd_endpoints:
        # grpcio's client takes time and memory that the embedded node does not need.
        from tianlu_registry.engine.etcd_config import EtcdConfig
        from tianlu_registry.engine.etcd_engine import running_on_etcd

        config = EtcdConfig(
            settings.etcd_endpoints,
            cacert=settings.etcd_cacert,
            cert=settings.etcd_cert,
            key=settings.etcd_key,
            user=settings.etcd_user,
            password_file=settings.etcd_password_file,
        )
        async with running_on_etcd(config, lambda: credentials().token) as found:
            yield Engine(
                found.own,
                found.cluster,
                None,
                underlying=Underlying(
                    found.callers,
                    PassedOnAuthServicer(found.auth.ask),
                    UnderlyingGuard(found.callers) if found.has_user else None,
                ),
                is_settled=lambda: False,
                is_learner=lambda: False,  # a learner underneath is left for another member
                has_leader=lambda: found.own.status().leader_id != NO_MEMBER,
                collectors=(),
            )
        return
    node = await EmbeddedNode.start(settings.node, on_fatal=exit_with)
    try:
        collectors = (NodeCollector(node.node), PeerCollector(node.node))
        yield Engine(
            node.store,
            EmbeddedCluster(node.node),
            EmbeddedAuth(node.node),
            underlying=None,
            is_settled=lambda: node.node.is_settled,
            is_learner=lambda: node.node.is_learner,
            has_leader=lambda: node.node.leader_id != NO_MEMBER,
            collectors=collectors,
        )
    finally:
        await node.stop()


def exit_with(error: BaseException) -> None:
    """End the process because of `error`: one line for people, and at once.

    Nothing is cleaned up: a disk that failed may hang whoever asks it again, and everything
    acknowledged is durable already.
    """
    if not isinstance(error, RegistryError):
        _log.critical("app_crashed error=%s", type(error).__name__, exc_info=error)
    print(f"tianlu registry: {str(error) or type(error).__name__}", file=sys.stderr, flush=True)
    os._exit(exit_code_of(error))


def exit_code_of(error: BaseException) -> int:
    """Return the exit status that tells the launcher, and people, what kind of failure it was."""
    if isinstance(error, Broken):
        return error.exit_code
    if isinstance(error, InputError):
        return EXIT_USAGE
    if isinstance(error, DataDirUnusable):
        return EXIT_CANNOT_CREATE
    if isinstance(error, Unavailable | CannotListen):
        return EXIT_UNAVAILABLE
    return _EXIT_SOFTWARE


def _make_app() -> RegistryApp:
    settings = RegistrySettings.from_json(os.environ[SETTINGS_VARIABLE])
    secret = os.environ[RELAY_SECRET_VARIABLE]
    relay = TlsRelay(secret) if secret else None
    return RegistryApp(settings, os.environ[TOKEN_VARIABLE], relay)


def __getattr__(name: str) -> RegistryApp:
    """Make `app` when Envoy asks for it, so that importing this module needs no environment."""
    if name == "app":
        return _make_app()
    raise AttributeError(name)
