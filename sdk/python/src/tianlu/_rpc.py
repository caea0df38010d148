"""The remote methods that the SDK calls, by path, with their message types.

Calls go by these and by gRPC's generic interface, so no `_pb2_grpc` modules are generated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._proto.v1 import catalog_pb2 as v1

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """A method of a service.

    Attributes:
        repeatable: whether doing it twice has the effect of doing it once, so that it may be tried
            again when nobody knows whether it was done.
    """

    path: str
    request: type[Request]
    response: type[Response]
    repeatable: bool


def _catalog(
    name: str, request: type[Request], response: type[Response], *, repeatable: bool = True
) -> Method[Request, Response]:
    return Method(f"/tianlu.v1.Catalog/{name}", request, response, repeatable)


# A session opened twice leaves one that ends by itself after its time to live.
OPEN_SESSION: Final = _catalog("OpenSession", v1.OpenSessionRequest, v1.OpenSessionResponse)
KEEP_ALIVE: Final = _catalog("KeepAlive", v1.KeepAliveRequest, v1.KeepAliveResponse)
CLOSE_SESSION: Final = _catalog("CloseSession", v1.CloseSessionRequest, v1.CloseSessionResponse)
REGISTER: Final = _catalog("Register", v1.RegisterRequest, v1.RegisterResponse)
# The second of two removals answers that there is nothing to remove.
DEREGISTER: Final = _catalog("Deregister", v1.DeregisterRequest, v1.DeregisterResponse)
UPDATE_INSTANCE: Final = _catalog(
    "UpdateInstance", v1.UpdateInstanceRequest, v1.UpdateInstanceResponse
)
OVERRIDE_INSTANCE: Final = _catalog(
    "OverrideInstance", v1.OverrideInstanceRequest, v1.OverrideInstanceResponse
)
PUT_SERVICE: Final = _catalog("PutService", v1.PutServiceRequest, v1.PutServiceResponse)
DELETE_SERVICE: Final = _catalog("DeleteService", v1.DeleteServiceRequest, v1.DeleteServiceResponse)
GET_SERVICE: Final = _catalog("GetService", v1.GetServiceRequest, v1.GetServiceResponse)
LIST_NAMESPACES: Final = _catalog(
    "ListNamespaces", v1.ListNamespacesRequest, v1.ListNamespacesResponse
)
LIST_SERVICES: Final = _catalog("ListServices", v1.ListServicesRequest, v1.ListServicesResponse)
LIST_INSTANCES: Final = _catalog("ListInstances", v1.ListInstancesRequest, v1.ListInstancesResponse)
DISCOVER: Final = _catalog("Discover", v1.DiscoverRequest, v1.DiscoverResponse)
WATCH: Final = _catalog("Watch", v1.WatchRequest, v1.WatchResponse)
LIST_SUBSCRIBERS: Final = _catalog(
    "ListSubscribers", v1.ListSubscribersRequest, v1.ListSubscribersResponse
)
AWAIT_APPLIED: Final = _catalog("AwaitApplied", v1.AwaitAppliedRequest, v1.AwaitAppliedResponse)


def _etcd(
    path: str, request: type[Request], response: type[Response], *, repeatable: bool
) -> Method[Request, Response]:
    return Method(f"/etcdserverpb.{path}", request, response, repeatable)


# A write of the raw API is not repeated blindly: another client may have written in between.
KV_RANGE: Final = _etcd("KV/Range", etcd.RangeRequest, etcd.RangeResponse, repeatable=True)
KV_PUT: Final = _etcd("KV/Put", etcd.PutRequest, etcd.PutResponse, repeatable=False)
KV_DELETE: Final = _etcd(
    "KV/DeleteRange", etcd.DeleteRangeRequest, etcd.DeleteRangeResponse, repeatable=False
)
KV_TXN: Final = _etcd("KV/Txn", etcd.TxnRequest, etcd.TxnResponse, repeatable=False)
KV_COMPACT: Final = _etcd(
    "KV/Compact", etcd.CompactionRequest, etcd.CompactionResponse, repeatable=True
)
KV_WATCH: Final = _etcd("Watch/Watch", etcd.WatchRequest, etcd.WatchResponse, repeatable=True)
LEASE_GRANT: Final = _etcd(
    "Lease/LeaseGrant", etcd.LeaseGrantRequest, etcd.LeaseGrantResponse, repeatable=False
)
LEASE_REVOKE: Final = _etcd(
    "Lease/LeaseRevoke", etcd.LeaseRevokeRequest, etcd.LeaseRevokeResponse, repeatable=True
)
LEASE_KEEP_ALIVE: Final = _etcd(
    "Lease/LeaseKeepAlive", etcd.LeaseKeepAliveRequest, etcd.LeaseKeepAliveResponse, repeatable=True
)
LEASE_TIME_TO_LIVE: Final = _etcd(
    "Lease/LeaseTimeToLive",
    etcd.LeaseTimeToLiveRequest,
    etcd.LeaseTimeToLiveResponse,
    repeatable=True,
)
