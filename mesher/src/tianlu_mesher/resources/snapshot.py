"""The xds_snapshot: every resource that Envoy should hold, as of one view of the catalogue.

(The word snapshot has three meanings in Tianlu: an `xds_snapshot` is this, a `raft_snapshot` is
the consensus core's, the host snapshot is the SDK's file of last known instances.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from google.protobuf.message import Message

from tianlu_mesher.envoy_api import type_url

CLUSTER_TYPE = type_url("envoy.config.cluster.v3.Cluster")
ENDPOINT_TYPE = type_url("envoy.config.endpoint.v3.ClusterLoadAssignment")
ROUTE_TYPE = type_url("envoy.config.route.v3.RouteConfiguration")
RESOURCE_TYPES = (CLUSTER_TYPE, ENDPOINT_TYPE, ROUTE_TYPE)
"""In the order in which additions are published."""

_VERSION_BYTES = 8


@dataclass(frozen=True, slots=True)
class Resource:
    """One serialized Envoy resource.

    Attributes:
        version_info: a hash of the content. It is the same in every process, so an Envoy that
            names it to an agent that has just started is sent nothing that it already has.
        value: the serialized message.
    """

    name: str
    version_info: str
    value: bytes

    @staticmethod
    def of(name: str, message: Message) -> Resource:
        """Serialize `message`."""
        return Resource.of_bytes(name, message.SerializeToString(deterministic=True))

    @staticmethod
    def of_bytes(name: str, value: bytes) -> Resource:
        """Wrap a message that is serialized already."""
        return Resource(name, blake2b(value, digest_size=_VERSION_BYTES).hexdigest(), value)


ResourceMap = Mapping[str, Resource]


@dataclass(frozen=True, slots=True)
class XdsSnapshot:
    """All resources of one moment. Only a consistent one may be published (see `consistency`).

    Attributes:
        revision: of the catalogue view that it stands on; 0: of none.
        loaded: whether it stands on a view at all. If not, it may be given to an Envoy that has
            nothing, and never to one that has something.
        clusters, endpoints, routes: resources by name.
        route_targets: the Envoy clusters that the routes use, static ones included.
        static_clusters: Envoy clusters that the bootstrap holds.
        domains: every domain of every virtual host.
    """

    revision: int
    loaded: bool
    clusters: ResourceMap = field(default_factory=dict)
    endpoints: ResourceMap = field(default_factory=dict)
    routes: ResourceMap = field(default_factory=dict)
    route_targets: frozenset[str] = frozenset()
    static_clusters: frozenset[str] = frozenset()
    domains: tuple[str, ...] = ()

    def of_type(self, resource_type: str) -> ResourceMap:
        """Return the resources of a type.

        Raises:
            KeyError: it is none of RESOURCE_TYPES.
        """
        return {
            CLUSTER_TYPE: self.clusters,
            ENDPOINT_TYPE: self.endpoints,
            ROUTE_TYPE: self.routes,
        }[resource_type]
