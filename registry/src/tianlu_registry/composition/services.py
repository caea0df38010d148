"""The gRPC services, each behind what may refuse its calls and what writes them down.

From the outside in: the audit log, so that refusals leave lines too; admission, which refuses what
this member cannot serve now; the guard, which refuses who may not; the servicer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.descriptor import ServiceDescriptor

from tianlu._proto.etcd.rpc_pb2 import DESCRIPTOR as ETCD
from tianlu._proto.etcd.v3election_pb2 import DESCRIPTOR as ELECTION
from tianlu._proto.etcd.v3lock_pb2 import DESCRIPTOR as LOCK
from tianlu._proto.v1.catalog_pb2 import DESCRIPTOR as CATALOG
from tianlu_registry.api.catalog_grpc import CatalogServicer
from tianlu_registry.api.etcd_admission import Admission
from tianlu_registry.api.etcd_cluster import ClusterServicer
from tianlu_registry.api.etcd_election import ElectionServicer
from tianlu_registry.api.etcd_kv import KvServicer
from tianlu_registry.api.etcd_lease import LeaseServicer
from tianlu_registry.api.etcd_lock import LockServicer
from tianlu_registry.api.etcd_maintenance import MaintenanceServicer
from tianlu_registry.api.etcd_watch import WatchServicer
from tianlu_registry.api.grpc_asgi import GrpcApp
from tianlu_registry.api.grpc_health import SERVICE as HEALTH_SERVICE
from tianlu_registry.api.grpc_health import HealthServicer
from tianlu_registry.api.grpc_reflection import ReflectionServicer, reflection_services
from tianlu_registry.audit.audited import Auditor, audited
from tianlu_registry.authn.guarded_methods import (
    CATALOG_RULES,
    MAINTENANCE_RULES,
    guarded_methods,
)
from tianlu_registry.composition.callers import Callers
from tianlu_registry.governance import Governance

ServicerT = TypeVar("ServicerT")

_ETCD = ETCD.services_by_name
_LOCK = LOCK.services_by_name["Lock"]
_ELECTION = ELECTION.services_by_name["Election"]
_CATALOG = CATALOG.services_by_name["Catalog"]


@dataclass(frozen=True, slots=True)
class EtcdServices:
    """Those whose streams JSON serves in a way of its own."""

    lease: LeaseServicer
    maintenance: MaintenanceServicer
    election: ElectionServicer


def add_etcd(
    grpc: GrpcApp,
    callers: Callers,
    watch: WatchServicer,
    admission: Admission,
    auditor: Auditor | None,
) -> EtcdServices:
    """Serve etcd's services."""

    def layered(service: ServiceDescriptor, servicer: ServicerT) -> ServicerT:
        servicer = audited(auditor, service, admission.before(service, servicer))
        grpc.add(service, servicer)
        return servicer

    store, cluster = callers.store, callers.cluster
    maintenance = MaintenanceServicer(store, cluster)
    if callers.guard is not None:
        maintenance = guarded_methods(maintenance, callers.guard, MAINTENANCE_RULES)
    grpc.add(_ETCD["Watch"], admission.before(_ETCD["Watch"], watch))  # changes nothing
    layered(_ETCD["KV"], KvServicer(store))
    layered(_ETCD["Cluster"], ClusterServicer(cluster))
    layered(_ETCD["Auth"], callers.users)
    layered(_LOCK, LockServicer(store))
    return EtcdServices(
        layered(_ETCD["Lease"], LeaseServicer(store)),
        layered(_ETCD["Maintenance"], maintenance),
        layered(_ELECTION, ElectionServicer(store)),
    )


def add_catalog(
    grpc: GrpcApp, callers: Callers, governance: Governance, auditor: Auditor | None
) -> CatalogServicer:
    """Serve the catalogue. Learners serve it too."""
    catalog = CatalogServicer(governance)
    if callers.catalog_guard is not None:
        catalog = guarded_methods(catalog, callers.catalog_guard, CATALOG_RULES)
    catalog = audited(auditor, _CATALOG, catalog)
    grpc.add(_CATALOG, catalog)
    return catalog


def add_health_and_reflection(grpc: GrpcApp) -> HealthServicer:
    """Serve what tells of the services; call it after all others are there."""
    health = HealthServicer()
    grpc.add(HEALTH_SERVICE, health)
    for reflection in reflection_services():
        grpc.add(reflection, ReflectionServicer(reflection, grpc.services))
    health.know(frozenset(grpc.services))
    return health
