"""The remote methods that the SDK calls, by path, with their message types.

Calls go by these and by gRPC's generic interface, so no `_pb2_grpc` modules are generated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from tianlu._errors import Compacted, NotFound, TianluError
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
        reads: whether it changes nothing, so that two nodes may be asked at the same time.
        waits: whether a late answer is as it should be, so that a silent node is waited for.
        done_by: the error which, once an attempt may have been carried out, says that it was: what
            was to be removed is not there. The call then succeeds with an empty answer.
        anonymous: whether anybody may call it, so that no token is sent.
    """

    path: str
    request: type[Request]
    response: type[Response]
    repeatable: bool
    reads: bool = False
    waits: bool = False
    done_by: type[TianluError] | None = None
    anonymous: bool = False


def _catalog(
    name: str,
    request: type[Request],
    response: type[Response],
    *,
    waits: bool = False,
    done_by: type[TianluError] | None = None,
) -> Method[Request, Response]:
    """Return a writing method: what the catalogue writes may all be written twice."""
    path = f"/tianlu.v1.Catalog/{name}"
    return Method(path, request, response, repeatable=True, waits=waits, done_by=done_by)


def _query(
    name: str, request: type[Request], response: type[Response]
) -> Method[Request, Response]:
    return Method(f"/tianlu.v1.Catalog/{name}", request, response, repeatable=True, reads=True)


# A session opened twice leaves one that ends by itself after its time to live.
OPEN_SESSION: Final = _catalog("OpenSession", v1.OpenSessionRequest, v1.OpenSessionResponse)
KEEP_ALIVE: Final = _catalog("KeepAlive", v1.KeepAliveRequest, v1.KeepAliveResponse)
CLOSE_SESSION: Final = _catalog(
    "CloseSession", v1.CloseSessionRequest, v1.CloseSessionResponse, done_by=NotFound
)
REGISTER: Final = _catalog("Register", v1.RegisterRequest, v1.RegisterResponse)
DEREGISTER: Final = _catalog(
    "Deregister", v1.DeregisterRequest, v1.DeregisterResponse, done_by=NotFound
)
UPDATE_INSTANCE: Final = _catalog(
    "UpdateInstance", v1.UpdateInstanceRequest, v1.UpdateInstanceResponse
)
OVERRIDE_INSTANCE: Final = _catalog(
    "OverrideInstance", v1.OverrideInstanceRequest, v1.OverrideInstanceResponse
)
PUT_SERVICE: Final = _catalog("PutService", v1.PutServiceRequest, v1.PutServiceResponse)
DELETE_SERVICE: Final = _catalog(
    "DeleteService", v1.DeleteServiceRequest, v1.DeleteServiceResponse, done_by=NotFound
)
GET_SERVICE: Final = _query("GetService", v1.GetServiceRequest, v1.GetServiceResponse)
LIST_NAMESPACES: Final = _query(
    "ListNamespaces", v1.ListNamespacesRequest, v1.ListNamespacesResponse
)
LIST_SERVICES: Final = _query("ListServices", v1.ListServicesRequest, v1.ListServicesResponse)
LIST_INSTANCES: Final = _query("ListInstances", v1.ListInstancesRequest, v1.ListInstancesResponse)
DISCOVER: Final = _query("Discover", v1.DiscoverRequest, v1.DiscoverResponse)
WATCH: Final = _catalog("Watch", v1.WatchRequest, v1.WatchResponse)
LIST_SUBSCRIBERS: Final = _query(
    "ListSubscribers", v1.ListSubscribersRequest, v1.ListSubscribersResponse
)
AWAIT_APPLIED: Final = _catalog(
    "AwaitApplied", v1.AwaitAppliedRequest, v1.AwaitAppliedResponse, waits=True
)


def _etcd(
    path: str,
    request: type[Request],
    response: type[Response],
    *,
    repeatable: bool,
    reads: bool = False,
    done_by: type[TianluError] | None = None,
) -> Method[Request, Response]:
    return Method(
        f"/etcdserverpb.{path}", request, response, repeatable, reads=reads, done_by=done_by
    )


def auth_method(
    name: str,
    request: type[Request],
    response: type[Response],
    *,
    repeatable: bool = True,
    anonymous: bool = False,
) -> Method[Request, Response]:
    """Return a method of etcd's service Auth; a repeatable one reads."""
    path = f"/etcdserverpb.Auth/{name}"
    return Method(path, request, response, repeatable, reads=repeatable, anonymous=anonymous)


# A write of the raw API is not repeated blindly: another client may have written in between.
KV_RANGE: Final = _etcd(
    "KV/Range", etcd.RangeRequest, etcd.RangeResponse, repeatable=True, reads=True
)
KV_PUT: Final = _etcd("KV/Put", etcd.PutRequest, etcd.PutResponse, repeatable=False)
KV_DELETE: Final = _etcd(
    "KV/DeleteRange", etcd.DeleteRangeRequest, etcd.DeleteRangeResponse, repeatable=False
)
KV_TXN: Final = _etcd("KV/Txn", etcd.TxnRequest, etcd.TxnResponse, repeatable=False)
KV_COMPACT: Final = _etcd(
    "KV/Compact",
    etcd.CompactionRequest,
    etcd.CompactionResponse,
    repeatable=True,
    done_by=Compacted,
)
KV_WATCH: Final = _etcd("Watch/Watch", etcd.WatchRequest, etcd.WatchResponse, repeatable=True)
LEASE_GRANT: Final = _etcd(
    "Lease/LeaseGrant", etcd.LeaseGrantRequest, etcd.LeaseGrantResponse, repeatable=False
)
LEASE_REVOKE: Final = _etcd(
    "Lease/LeaseRevoke",
    etcd.LeaseRevokeRequest,
    etcd.LeaseRevokeResponse,
    repeatable=True,
    done_by=NotFound,
)
LEASE_KEEP_ALIVE: Final = _etcd(
    "Lease/LeaseKeepAlive", etcd.LeaseKeepAliveRequest, etcd.LeaseKeepAliveResponse, repeatable=True
)
LEASE_TIME_TO_LIVE: Final = _etcd(
    "Lease/LeaseTimeToLive",
    etcd.LeaseTimeToLiveRequest,
    etcd.LeaseTimeToLiveResponse,
    repeatable=True,
    reads=True,
)
AUTHENTICATE: Final = auth_method(
    "Authenticate", etcd.AuthenticateRequest, etcd.AuthenticateResponse, anonymous=True
)
MEMBER_LIST: Final = Method(
    "/etcdserverpb.Cluster/MemberList",
    etcd.MemberListRequest,
    etcd.MemberListResponse,
    repeatable=True,
    reads=True,
    anonymous=True,
)
