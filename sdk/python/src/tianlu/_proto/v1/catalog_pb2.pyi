from tianlu._proto.v1 import model_pb2 as _model_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OpenSessionRequest(_message.Message):
    __slots__ = ("ttl_seconds", "client")
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    ttl_seconds: int
    client: str
    def __init__(self, ttl_seconds: _Optional[int] = ..., client: _Optional[str] = ...) -> None: ...

class OpenSessionResponse(_message.Message):
    __slots__ = ("session_id", "ttl_seconds", "revision")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    ttl_seconds: int
    revision: int
    def __init__(self, session_id: _Optional[int] = ..., ttl_seconds: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class KeepAliveRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    def __init__(self, session_id: _Optional[int] = ...) -> None: ...

class KeepAliveResponse(_message.Message):
    __slots__ = ("session_id", "ttl_seconds", "revision")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    ttl_seconds: int
    revision: int
    def __init__(self, session_id: _Optional[int] = ..., ttl_seconds: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class RenewSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    def __init__(self, session_id: _Optional[int] = ...) -> None: ...

class RenewSessionResponse(_message.Message):
    __slots__ = ("ttl_seconds", "revision")
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ttl_seconds: int
    revision: int
    def __init__(self, ttl_seconds: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    def __init__(self, session_id: _Optional[int] = ...) -> None: ...

class CloseSessionResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("session_id", "instance")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    instance: _model_pb2.Instance
    def __init__(self, session_id: _Optional[int] = ..., instance: _Optional[_Union[_model_pb2.Instance, _Mapping]] = ...) -> None: ...

class RegisterResponse(_message.Message):
    __slots__ = ("instance", "revision")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    instance: _model_pb2.Instance
    revision: int
    def __init__(self, instance: _Optional[_Union[_model_pb2.Instance, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class DeregisterRequest(_message.Message):
    __slots__ = ("namespace", "service", "id", "session_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    id: str
    session_id: int
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., id: _Optional[str] = ..., session_id: _Optional[int] = ...) -> None: ...

class DeregisterResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class UpdateInstanceRequest(_message.Message):
    __slots__ = ("namespace", "service", "id", "session_id", "status", "weight", "metadata", "replace_metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REPLACE_METADATA_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    id: str
    session_id: int
    status: _model_pb2.InstanceStatus
    weight: int
    metadata: _containers.ScalarMap[str, str]
    replace_metadata: bool
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., id: _Optional[str] = ..., session_id: _Optional[int] = ..., status: _Optional[_Union[_model_pb2.InstanceStatus, str]] = ..., weight: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., replace_metadata: _Optional[bool] = ...) -> None: ...

class UpdateInstanceResponse(_message.Message):
    __slots__ = ("instance", "revision")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    instance: _model_pb2.Instance
    revision: int
    def __init__(self, instance: _Optional[_Union[_model_pb2.Instance, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class OverrideInstanceRequest(_message.Message):
    __slots__ = ("namespace", "service", "id", "isolated", "reason", "actor", "expires_unix_ms")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    ISOLATED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    id: str
    isolated: bool
    reason: str
    actor: str
    expires_unix_ms: int
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., id: _Optional[str] = ..., isolated: _Optional[bool] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., expires_unix_ms: _Optional[int] = ...) -> None: ...

class OverrideInstanceResponse(_message.Message):
    __slots__ = ("instance", "revision")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    instance: _model_pb2.Instance
    revision: int
    def __init__(self, instance: _Optional[_Union[_model_pb2.Instance, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class PutServiceRequest(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: _model_pb2.Service
    def __init__(self, service: _Optional[_Union[_model_pb2.Service, _Mapping]] = ...) -> None: ...

class PutServiceResponse(_message.Message):
    __slots__ = ("service", "revision")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    service: _model_pb2.Service
    revision: int
    def __init__(self, service: _Optional[_Union[_model_pb2.Service, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class DeleteServiceRequest(_message.Message):
    __slots__ = ("namespace", "name")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DeleteServiceResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class GetServiceRequest(_message.Message):
    __slots__ = ("namespace", "name", "min_revision")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    min_revision: int
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class GetServiceResponse(_message.Message):
    __slots__ = ("summary", "revision")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    summary: _model_pb2.ServiceSummary
    revision: int
    def __init__(self, summary: _Optional[_Union[_model_pb2.ServiceSummary, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class ListNamespacesRequest(_message.Message):
    __slots__ = ("min_revision",)
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    min_revision: int
    def __init__(self, min_revision: _Optional[int] = ...) -> None: ...

class ListNamespacesResponse(_message.Message):
    __slots__ = ("namespaces", "revision")
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    def __init__(self, namespaces: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ...) -> None: ...

class ListServicesRequest(_message.Message):
    __slots__ = ("namespace", "min_revision")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    min_revision: int
    def __init__(self, namespace: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ListServicesResponse(_message.Message):
    __slots__ = ("services", "revision")
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    services: _containers.RepeatedCompositeFieldContainer[_model_pb2.ServiceSummary]
    revision: int
    def __init__(self, services: _Optional[_Iterable[_Union[_model_pb2.ServiceSummary, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class ListInstancesRequest(_message.Message):
    __slots__ = ("namespace", "service", "min_revision")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    min_revision: int
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ListInstancesResponse(_message.Message):
    __slots__ = ("instances", "revision")
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[_model_pb2.Instance]
    revision: int
    def __init__(self, instances: _Optional[_Iterable[_Union[_model_pb2.Instance, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class DiscoverRequest(_message.Message):
    __slots__ = ("namespace", "service", "min_revision")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    min_revision: int
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class DiscoverResponse(_message.Message):
    __slots__ = ("service", "instances", "revision")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    service: _model_pb2.Service
    instances: _containers.RepeatedCompositeFieldContainer[_model_pb2.Instance]
    revision: int
    def __init__(self, service: _Optional[_Union[_model_pb2.Service, _Mapping]] = ..., instances: _Optional[_Iterable[_Union[_model_pb2.Instance, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("create", "ack")
    CREATE_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    create: WatchCreate
    ack: WatchAck
    def __init__(self, create: _Optional[_Union[WatchCreate, _Mapping]] = ..., ack: _Optional[_Union[WatchAck, _Mapping]] = ...) -> None: ...

class WatchCreate(_message.Message):
    __slots__ = ("namespace", "services", "resume_revision", "subscriber")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    RESUME_REVISION_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    services: _containers.RepeatedScalarFieldContainer[str]
    resume_revision: int
    subscriber: str
    def __init__(self, namespace: _Optional[str] = ..., services: _Optional[_Iterable[str]] = ..., resume_revision: _Optional[int] = ..., subscriber: _Optional[str] = ...) -> None: ...

class WatchAck(_message.Message):
    __slots__ = ("applied_revision",)
    APPLIED_REVISION_FIELD_NUMBER: _ClassVar[int]
    applied_revision: int
    def __init__(self, applied_revision: _Optional[int] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("revision", "snapshot", "snapshot_end", "events")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_END_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    snapshot: bool
    snapshot_end: bool
    events: _containers.RepeatedCompositeFieldContainer[CatalogEvent]
    def __init__(self, revision: _Optional[int] = ..., snapshot: _Optional[bool] = ..., snapshot_end: _Optional[bool] = ..., events: _Optional[_Iterable[_Union[CatalogEvent, _Mapping]]] = ...) -> None: ...

class CatalogEvent(_message.Message):
    __slots__ = ("instance_put", "instance_removed", "service_put", "service_removed", "revision")
    INSTANCE_PUT_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_REMOVED_FIELD_NUMBER: _ClassVar[int]
    SERVICE_PUT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_REMOVED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    instance_put: _model_pb2.Instance
    instance_removed: InstanceKey
    service_put: _model_pb2.Service
    service_removed: ServiceKey
    revision: int
    def __init__(self, instance_put: _Optional[_Union[_model_pb2.Instance, _Mapping]] = ..., instance_removed: _Optional[_Union[InstanceKey, _Mapping]] = ..., service_put: _Optional[_Union[_model_pb2.Service, _Mapping]] = ..., service_removed: _Optional[_Union[ServiceKey, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class InstanceKey(_message.Message):
    __slots__ = ("namespace", "service", "id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    id: str
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class ServiceKey(_message.Message):
    __slots__ = ("namespace", "name")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListSubscribersRequest(_message.Message):
    __slots__ = ("namespace", "service")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ...) -> None: ...

class Subscriber(_message.Message):
    __slots__ = ("subscriber", "peer", "namespace", "services", "sent_revision", "applied_revision", "since_unix_ms")
    SUBSCRIBER_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    SENT_REVISION_FIELD_NUMBER: _ClassVar[int]
    APPLIED_REVISION_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    subscriber: str
    peer: str
    namespace: str
    services: _containers.RepeatedScalarFieldContainer[str]
    sent_revision: int
    applied_revision: int
    since_unix_ms: int
    def __init__(self, subscriber: _Optional[str] = ..., peer: _Optional[str] = ..., namespace: _Optional[str] = ..., services: _Optional[_Iterable[str]] = ..., sent_revision: _Optional[int] = ..., applied_revision: _Optional[int] = ..., since_unix_ms: _Optional[int] = ...) -> None: ...

class ListSubscribersResponse(_message.Message):
    __slots__ = ("subscribers", "revision")
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    subscribers: _containers.RepeatedCompositeFieldContainer[Subscriber]
    revision: int
    def __init__(self, subscribers: _Optional[_Iterable[_Union[Subscriber, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class AwaitAppliedRequest(_message.Message):
    __slots__ = ("namespace", "service", "revision", "percent", "timeout_ms")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    revision: int
    percent: int
    timeout_ms: int
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., revision: _Optional[int] = ..., percent: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class AwaitAppliedResponse(_message.Message):
    __slots__ = ("reached", "subscribers", "applied", "laggards")
    REACHED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    LAGGARDS_FIELD_NUMBER: _ClassVar[int]
    reached: bool
    subscribers: int
    applied: int
    laggards: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, reached: _Optional[bool] = ..., subscribers: _Optional[int] = ..., applied: _Optional[int] = ..., laggards: _Optional[_Iterable[str]] = ...) -> None: ...
