from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InstanceStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_STATUS_UNSPECIFIED: _ClassVar[InstanceStatus]
    INSTANCE_STATUS_STARTING: _ClassVar[InstanceStatus]
    INSTANCE_STATUS_UP: _ClassVar[InstanceStatus]
    INSTANCE_STATUS_DRAINING: _ClassVar[InstanceStatus]
    INSTANCE_STATUS_DOWN: _ClassVar[InstanceStatus]

class Liveness(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIVENESS_UNSPECIFIED: _ClassVar[Liveness]
    LIVENESS_ALIVE: _ClassVar[Liveness]
    LIVENESS_SUSPECT: _ClassVar[Liveness]

class LoadBalancer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOAD_BALANCER_UNSPECIFIED: _ClassVar[LoadBalancer]
    LOAD_BALANCER_LEAST_REQUEST: _ClassVar[LoadBalancer]
    LOAD_BALANCER_ROUND_ROBIN: _ClassVar[LoadBalancer]
INSTANCE_STATUS_UNSPECIFIED: InstanceStatus
INSTANCE_STATUS_STARTING: InstanceStatus
INSTANCE_STATUS_UP: InstanceStatus
INSTANCE_STATUS_DRAINING: InstanceStatus
INSTANCE_STATUS_DOWN: InstanceStatus
LIVENESS_UNSPECIFIED: Liveness
LIVENESS_ALIVE: Liveness
LIVENESS_SUSPECT: Liveness
LOAD_BALANCER_UNSPECIFIED: LoadBalancer
LOAD_BALANCER_LEAST_REQUEST: LoadBalancer
LOAD_BALANCER_ROUND_ROBIN: LoadBalancer

class Port(_message.Message):
    __slots__ = ("name", "number", "protocol")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    name: str
    number: int
    protocol: str
    def __init__(self, name: _Optional[str] = ..., number: _Optional[int] = ..., protocol: _Optional[str] = ...) -> None: ...

class Override(_message.Message):
    __slots__ = ("isolated", "reason", "actor", "since_unix_ms", "expires_unix_ms")
    ISOLATED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    isolated: bool
    reason: str
    actor: str
    since_unix_ms: int
    expires_unix_ms: int
    def __init__(self, isolated: _Optional[bool] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., since_unix_ms: _Optional[int] = ..., expires_unix_ms: _Optional[int] = ...) -> None: ...

class Health(_message.Message):
    __slots__ = ("liveness", "reason", "since_unix_ms")
    LIVENESS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    liveness: Liveness
    reason: str
    since_unix_ms: int
    def __init__(self, liveness: _Optional[_Union[Liveness, str]] = ..., reason: _Optional[str] = ..., since_unix_ms: _Optional[int] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("namespace", "service", "id", "address", "ports", "version", "weight", "zone", "metadata", "status", "session_id", "registered_unix_ms", "override", "health", "create_revision", "mod_revision")
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
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    MOD_REVISION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    service: str
    id: str
    address: str
    ports: _containers.RepeatedCompositeFieldContainer[Port]
    version: str
    weight: int
    zone: str
    metadata: _containers.ScalarMap[str, str]
    status: InstanceStatus
    session_id: int
    registered_unix_ms: int
    override: Override
    health: Health
    create_revision: int
    mod_revision: int
    def __init__(self, namespace: _Optional[str] = ..., service: _Optional[str] = ..., id: _Optional[str] = ..., address: _Optional[str] = ..., ports: _Optional[_Iterable[_Union[Port, _Mapping]]] = ..., version: _Optional[str] = ..., weight: _Optional[int] = ..., zone: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., status: _Optional[_Union[InstanceStatus, str]] = ..., session_id: _Optional[int] = ..., registered_unix_ms: _Optional[int] = ..., override: _Optional[_Union[Override, _Mapping]] = ..., health: _Optional[_Union[Health, _Mapping]] = ..., create_revision: _Optional[int] = ..., mod_revision: _Optional[int] = ...) -> None: ...

class Service(_message.Message):
    __slots__ = ("namespace", "name", "description", "owner", "load_balancer", "metadata", "create_revision", "mod_revision")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    LOAD_BALANCER_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    MOD_REVISION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    description: str
    owner: str
    load_balancer: LoadBalancer
    metadata: _containers.ScalarMap[str, str]
    create_revision: int
    mod_revision: int
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., owner: _Optional[str] = ..., load_balancer: _Optional[_Union[LoadBalancer, str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., create_revision: _Optional[int] = ..., mod_revision: _Optional[int] = ...) -> None: ...

class ServiceSummary(_message.Message):
    __slots__ = ("service", "instances", "serving", "isolated", "suspect", "versions")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    ISOLATED_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    service: Service
    instances: int
    serving: int
    isolated: int
    suspect: int
    versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, service: _Optional[_Union[Service, _Mapping]] = ..., instances: _Optional[int] = ..., serving: _Optional[int] = ..., isolated: _Optional[int] = ..., suspect: _Optional[int] = ..., versions: _Optional[_Iterable[str]] = ...) -> None: ...
