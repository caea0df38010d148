"""What runs underneath the APIs: the embedded node, or an existing etcd cluster."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from prometheus_client.registry import Collector

from tianlu_registry.api.etcd_auth_passed_on import PassedOnAuthServicer
from tianlu_registry.authn.caller import credentials
from tianlu_registry.authn.underlying_guard import UnderlyingGuard
from tianlu_registry.composition.failure import exit_with
from tianlu_registry.engine.auth import AuthEngine
from tianlu_registry.engine.cluster import Cluster
from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.engine.embedded_auth import EmbeddedAuth
from tianlu_registry.engine.embedded_cluster import EmbeddedCluster
from tianlu_registry.engine.store import Store
from tianlu_registry.node.metrics import NodeCollector
from tianlu_registry.node.peer_metrics import PeerCollector
from tianlu_registry.raft import NO_MEMBER
from tianlu_registry.server.settings import RegistrySettings


@dataclass(frozen=True, slots=True)
class Underlying:
    """What callers are given of a store whose users are its own.

    Attributes:
        callers: the store, asked as whoever is served.
        users: the service Auth.
        guard: asked before what the node does as itself.
    """

    callers: Store
    users: PassedOnAuthServicer
    guard: UnderlyingGuard


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


@contextlib.asynccontextmanager
async def running_engine(settings: RegistrySettings) -> AsyncIterator[Engine]:
    """Run the store that the settings ask for.

    Raises:
        RegistryError: it cannot start. What goes wrong later ends the process.
    """
    running = _on_etcd if settings.etcd_endpoints else _embedded
    async with running(settings) as engine:
        yield engine


@contextlib.asynccontextmanager
async def _embedded(settings: RegistrySettings) -> AsyncIterator[Engine]:
    embedded = await EmbeddedNode.start(settings.node, on_fatal=exit_with)
    node = embedded.node
    try:
        yield Engine(
            embedded.store,
            EmbeddedCluster(node),
            EmbeddedAuth(node),
            underlying=None,
            is_settled=lambda: node.is_settled,
            is_learner=lambda: node.is_learner,
            has_leader=lambda: node.leader_id != NO_MEMBER,
            collectors=(NodeCollector(node), PeerCollector(node)),
        )
    finally:
        await embedded.stop()


@contextlib.asynccontextmanager
async def _on_etcd(settings: RegistrySettings) -> AsyncIterator[Engine]:
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
                UnderlyingGuard(found.callers, found.is_somebody),
            ),
            is_settled=lambda: False,
            is_learner=lambda: False,  # a learner underneath is left for another member
            has_leader=lambda: found.own.status().leader_id != NO_MEMBER,
            collectors=(),
        )
