"""What a call touched: keys, leases, users, members; never values, never passwords.

Nothing of a request is copied but what is named here, so a field that is added to a message later
stays out of the log until somebody has looked at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._proto.etcd.v3election_pb2 import CampaignRequest, CampaignResponse
from tianlu._proto.etcd.v3lock_pb2 import LockRequest, LockResponse
from tianlu._proto.v1.catalog_pb2 import (
    OpenSessionRequest,
    OpenSessionResponse,
    OverrideInstanceRequest,
    PutServiceRequest,
    RegisterRequest,
)
from tianlu_registry.audit.key_text import key_text, range_fields
from tianlu_registry.mvcc import is_read_only

OPERATIONS_MAX: Final = 100
"""Most operations of a transaction that a line lists; it says how many more there were."""

_TEXT_CHARACTERS_MAX: Final = 256
_LISTED_MAX: Final = 32

Fields = dict[str, Any]
Touched = Callable[[Any, Any], Fields | None]
"""Of a request and its response (None if it was not answered): what it touched; None if it changed
nothing and was not meant to."""


class InstanceName(Protocol):
    """What names an instance."""

    @property
    def namespace(self) -> str: ...
    @property
    def service(self) -> str: ...
    @property
    def id(self) -> str: ...


class SessionId(Protocol):
    """What names a session."""

    @property
    def session_id(self) -> int: ...


def _put(request: etcd.PutRequest, response: object) -> Fields:
    return {"keys": [range_fields("put", request.key)], **_lease(request.lease)}


def _delete(request: etcd.DeleteRangeRequest, response: etcd.DeleteRangeResponse | None) -> Fields:
    fields: Fields = {"keys": [range_fields("delete", request.key, request.range_end)]}
    if response is not None:
        fields["deleted"] = response.deleted
    return fields


def _txn(request: etcd.TxnRequest, response: etcd.TxnResponse | None) -> Fields | None:
    """The writes of the branch that was taken; of both, if it was not answered."""
    if is_read_only(request):
        return None
    operations = list(
        _both(request) if response is None else _taken(request, response)  # bounded by the request
    )
    if response is not None and not operations:
        return None
    fields: Fields = {"keys": operations[:OPERATIONS_MAX]}
    if len(operations) > OPERATIONS_MAX:
        fields["keys_left_out"] = len(operations) - OPERATIONS_MAX
    if response is not None:
        fields["succeeded"] = response.succeeded
    return fields


def _both(request: etcd.TxnRequest) -> Iterator[Fields]:
    for operation in (*request.success, *request.failure):
        yield from _operation(operation, None)


def _taken(request: etcd.TxnRequest, response: etcd.TxnResponse) -> Iterator[Fields]:
    branch: Sequence[etcd.RequestOp] = request.success if response.succeeded else request.failure
    for operation, done in zip(branch, response.responses, strict=True):
        yield from _operation(operation, done)


def _operation(operation: etcd.RequestOp, done: etcd.ResponseOp | None) -> Iterator[Fields]:
    match operation.WhichOneof("request"):
        case "request_put":
            put = operation.request_put
            yield {**range_fields("put", put.key), **_lease(put.lease)}
        case "request_delete_range":
            delete = operation.request_delete_range
            yield range_fields("delete", delete.key, delete.range_end)
        case "request_txn":
            nested = operation.request_txn
            yield from _both(nested) if done is None else _taken(nested, done.response_txn)


def _compact(request: etcd.CompactionRequest, response: object) -> Fields:
    return {"compacted": request.revision}


def _grant(request: etcd.LeaseGrantRequest, response: etcd.LeaseGrantResponse | None) -> Fields:
    lease = request.ID if response is None else response.ID
    return {**_lease(lease), "ttl": request.TTL if response is None else response.TTL}


def _revoke(request: etcd.LeaseRevokeRequest, response: object) -> Fields:
    return _lease(request.ID)


def _permission(request: etcd.AuthRoleGrantPermissionRequest, response: object) -> Fields:
    """What a role is granted: a permission is no key's value."""
    permission = request.perm
    kind = _enumerated(permission, "permType").lower()
    return {
        "role": _text(request.name),
        "permission": range_fields(kind, permission.key, permission.range_end),
    }


def _permission_revoked(request: etcd.AuthRoleRevokePermissionRequest, response: object) -> Fields:
    return {
        "role": _text(request.role),
        "permission": range_fields("revoke", request.key, request.range_end),
    }


def _member_added(
    request: etcd.MemberAddRequest, response: etcd.MemberAddResponse | None
) -> Fields:
    fields: Fields = {
        "peer_urls": _texts(request.peerURLs),
        "learner": request.isLearner,
    }
    if response is not None:
        fields["member"] = f"{response.member.ID:x}"
    return fields


def _member_updated(request: etcd.MemberUpdateRequest, response: object) -> Fields:
    return {"member": f"{request.ID:x}", "peer_urls": _texts(request.peerURLs)}


def _alarm(request: etcd.AlarmRequest, response: object) -> Fields | None:
    if request.action == etcd.AlarmRequest.GET:
        return None
    return {
        "action": _enumerated(request, "action").lower(),
        "alarm": _enumerated(request, "alarm"),
        "member": f"{request.memberID:x}",
    }


def _downgrade(request: etcd.DowngradeRequest, response: object) -> Fields | None:
    if request.action == etcd.DowngradeRequest.VALIDATE:
        return None
    return {
        "action": _enumerated(request, "action").lower(),
        "version": _text(request.version),
    }


def _lock(request: LockRequest, response: LockResponse | None) -> Fields:
    key = b"" if response is None else response.key
    return {"keys": [range_fields("lock", key or request.name)], **_lease(request.lease)}


def _campaign(request: CampaignRequest, response: CampaignResponse | None) -> Fields:
    key = b"" if response is None else response.leader.key
    return {"keys": [range_fields("campaign", key or request.name)], **_lease(request.lease)}


def _leader_key(operation: str) -> Touched:
    return lambda request, response: {"keys": [range_fields(operation, request.leader.key)]}


def _instance(request: InstanceName, response: object) -> Fields:
    return {
        "namespace": _text(request.namespace),
        "service": _text(request.service),
        "instance": _text(request.id),
    }


def _override(request: OverrideInstanceRequest, response: object) -> Fields:
    """`claimed_actor` is what the caller says of himself; `actor` in the line is who he is."""
    return {
        **_instance(request, response),
        "isolated": request.isolated,
        "reason": _text(request.reason),
        "claimed_actor": _text(request.actor),
    }


def _registered(request: RegisterRequest, response: object) -> Fields:
    return {**_instance(request.instance, response), **_session(request)}


def _session(request: SessionId, response: object = None) -> Fields:
    return {"session": f"{request.session_id:x}"}


def _session_opened(request: OpenSessionRequest, response: OpenSessionResponse | None) -> Fields:
    fields: Fields = {"client": _text(request.client)}
    return fields if response is None else {**fields, **_session(response)}


def _service(request: PutServiceRequest, response: object) -> Fields:
    return {
        "namespace": _text(request.service.namespace),
        "service": _text(request.service.name),
    }


def _named(**fields: str) -> Touched:
    """Texts of the request: by what they are called in the line, the field's name."""
    return lambda request, response: {
        name: _text(getattr(request, field)) for name, field in fields.items()
    }


def _member(field: str) -> Touched:
    return lambda request, response: {"member": f"{getattr(request, field):x}"}


def _nothing(request: object, response: object) -> Fields:
    return {}


WRITES: Final[Mapping[str, Touched]] = MappingProxyType(
    {
        "etcdserverpb.KV/Put": _put,
        "etcdserverpb.KV/DeleteRange": _delete,
        "etcdserverpb.KV/Txn": _txn,
        "etcdserverpb.KV/Compact": _compact,
        "etcdserverpb.Lease/LeaseGrant": _grant,
        "etcdserverpb.Lease/LeaseRevoke": _revoke,
        "etcdserverpb.Auth/AuthEnable": _nothing,
        "etcdserverpb.Auth/AuthDisable": _nothing,
        "etcdserverpb.Auth/Authenticate": _named(user="name"),
        "etcdserverpb.Auth/UserAdd": _named(user="name"),
        "etcdserverpb.Auth/UserDelete": _named(user="name"),
        "etcdserverpb.Auth/UserChangePassword": _named(user="name"),
        "etcdserverpb.Auth/UserGrantRole": _named(user="user", role="role"),
        "etcdserverpb.Auth/UserRevokeRole": _named(user="name", role="role"),
        "etcdserverpb.Auth/RoleAdd": _named(role="name"),
        "etcdserverpb.Auth/RoleDelete": _named(role="role"),
        "etcdserverpb.Auth/RoleGrantPermission": _permission,
        "etcdserverpb.Auth/RoleRevokePermission": _permission_revoked,
        "etcdserverpb.Cluster/MemberAdd": _member_added,
        "etcdserverpb.Cluster/MemberRemove": _member("ID"),
        "etcdserverpb.Cluster/MemberUpdate": _member_updated,
        "etcdserverpb.Cluster/MemberPromote": _member("ID"),
        "etcdserverpb.Maintenance/Alarm": _alarm,
        "etcdserverpb.Maintenance/Defragment": _nothing,
        "etcdserverpb.Maintenance/Snapshot": _nothing,
        "etcdserverpb.Maintenance/MoveLeader": _member("targetID"),
        "etcdserverpb.Maintenance/Downgrade": _downgrade,
        "v3lockpb.Lock/Lock": _lock,
        "v3lockpb.Lock/Unlock": lambda request, _: {"keys": [range_fields("unlock", request.key)]},
        "v3electionpb.Election/Campaign": _campaign,
        "v3electionpb.Election/Proclaim": _leader_key("proclaim"),
        "v3electionpb.Election/Resign": _leader_key("resign"),
        "tianlu.v1.Catalog/OpenSession": _session_opened,
        "tianlu.v1.Catalog/CloseSession": _session,
        "tianlu.v1.Catalog/Register": _registered,
        "tianlu.v1.Catalog/Deregister": _instance,
        "tianlu.v1.Catalog/UpdateInstance": _instance,
        "tianlu.v1.Catalog/OverrideInstance": _override,
        "tianlu.v1.Catalog/PutService": _service,
        "tianlu.v1.Catalog/DeleteService": _named(namespace="namespace", service="name"),
    }
)
"""What changes something, what lets somebody in, and what copies everything, by method."""


SOMETIMES_READ: Final = frozenset(
    {
        "etcdserverpb.KV/Txn",
        "etcdserverpb.Maintenance/Alarm",
        "etcdserverpb.Maintenance/Downgrade",
    }
)
"""Methods of `WRITES` of which some requests change nothing."""


def revision_of(response: Message | None) -> int:
    """Return the revision that a response speaks of; 0 for none."""
    header = getattr(response, "header", response)
    return int(getattr(header, "revision", 0))


def _lease(lease_id: int) -> Fields:
    """A lease as etcdctl writes it; nothing for no lease."""
    return {"lease": f"{lease_id & 0xFFFF_FFFF_FFFF_FFFF:x}"} if lease_id else {}


def _enumerated(message: Message, field: str) -> str:
    """Return the name of an enum's value; the number, as text, if it has no name: callers may send
    any."""
    number: int = getattr(message, field)
    enum = cast("EnumDescriptor", message.DESCRIPTOR.fields_by_name[field].enum_type)
    known = enum.values_by_number.get(number)
    return str(number) if known is None else known.name


def _text(text: str) -> str:
    return key_text(text.encode())[:_TEXT_CHARACTERS_MAX]


def _texts(texts: Iterable[str]) -> list[str]:
    return [_text(each) for each in list(texts)[:_LISTED_MAX]]
