"""Tianlu's SDK: register, discover, pick, watch and call services.

    async with tianlu.AsyncClient("127.0.0.1:8080") as client:
        await client.register("orders", port=9000)
        await client.subscribe("inventory")
        instance = client.pick("inventory")

`AsyncClient` is for asyncio programs; `Client` is the same for others. docs/sdk.md has the guide.

Values and errors are imported at once; clients, transports and the snapshot reader, which need
protobuf and httpx, when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from tianlu._errors import (
    ClientClosed,
    Compacted,
    Conflict,
    DeadlinePassed,
    InvalidInput,
    LimitReached,
    NoInstance,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    ProtocolError,
    SessionLost,
    TianluError,
    Unauthenticated,
    Unavailable,
)
from tianlu._model import (
    Applied,
    Health,
    Instance,
    InstanceStatus,
    Liveness,
    LoadBalancer,
    Override,
    Port,
    Rung,
    Service,
    ServiceSummary,
    Subscriber,
)
from tianlu._users import Access, AuthStatus, Permission
from tianlu._view import (
    CatalogView,
    Change,
    ChangeKind,
    ClientStatus,
    Discovery,
    Listing,
    ServiceKey,
    ServiceView,
)

if TYPE_CHECKING:
    from tianlu._auth import AsyncAuth
    from tianlu._client import AsyncClient
    from tianlu._key_value import KeyChange, KeyRange, KeyValue, Lease, TxnResult
    from tianlu._kv import AsyncKv
    from tianlu._mirror import AsyncMirror
    from tianlu._registration import AsyncRegistration
    from tianlu._snapshot import HostSnapshot
    from tianlu._sync.auth import Auth
    from tianlu._sync.client import Client
    from tianlu._sync.kv import Kv
    from tianlu._sync.mirror import Mirror
    from tianlu._sync.registration import Registration
    from tianlu._sync.transport import Transport
    from tianlu._transport import AsyncTransport

__version__ = "0.1.0"

__all__ = [
    "Access",
    "Applied",
    "AsyncAuth",
    "AsyncClient",
    "AsyncKv",
    "AsyncMirror",
    "AsyncRegistration",
    "AsyncTransport",
    "Auth",
    "AuthStatus",
    "CatalogView",
    "Change",
    "ChangeKind",
    "Client",
    "ClientClosed",
    "ClientStatus",
    "Compacted",
    "Conflict",
    "DeadlinePassed",
    "Discovery",
    "Health",
    "HostSnapshot",
    "Instance",
    "InstanceStatus",
    "InvalidInput",
    "KeyChange",
    "KeyRange",
    "KeyValue",
    "Kv",
    "Lease",
    "LimitReached",
    "Listing",
    "Liveness",
    "LoadBalancer",
    "Mirror",
    "NoInstance",
    "NotAllowed",
    "NotFound",
    "OutcomeUnknown",
    "Override",
    "Permission",
    "PermissionDenied",
    "Port",
    "ProtocolError",
    "Registration",
    "Rung",
    "Service",
    "ServiceKey",
    "ServiceSummary",
    "ServiceView",
    "SessionLost",
    "Subscriber",
    "TianluError",
    "Transport",
    "TxnResult",
    "Unauthenticated",
    "Unavailable",
    "__version__",
]

_LATER: Final = {
    "AsyncAuth": "_auth",
    "Auth": "_sync.auth",
    "AsyncClient": "_client",
    "AsyncKv": "_kv",
    "AsyncMirror": "_mirror",
    "AsyncRegistration": "_registration",
    "AsyncTransport": "_transport",
    "Client": "_sync.client",
    "HostSnapshot": "_snapshot",
    "KeyChange": "_key_value",
    "KeyRange": "_key_value",
    "KeyValue": "_key_value",
    "Kv": "_sync.kv",
    "Lease": "_key_value",
    "Mirror": "_sync.mirror",
    "Registration": "_sync.registration",
    "Transport": "_sync.transport",
    "TxnResult": "_key_value",
}


def __getattr__(name: str) -> object:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module 'tianlu' has no attribute {name!r}")
    found = getattr(import_module(f"tianlu.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
