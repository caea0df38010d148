"""Tianlu's SDK: register, discover, pick, watch and call services.

    async with tianlu.AsyncClient("127.0.0.1:8080") as client:
        await client.register("orders", port=9000)
        await client.subscribe("inventory")
        instance = client.pick("inventory")

`AsyncClient` is for asyncio programs; `Client` is the same for others. docs/sdk.md has the guide.
"""

from tianlu._client import AsyncClient
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
    ProtocolError,
    SessionLost,
    TianluError,
    Unavailable,
)
from tianlu._kv import AsyncKv
from tianlu._mirror import AsyncMirror
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
from tianlu._registration import AsyncRegistration
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

__version__ = "0.1.0"

__all__ = [
    "Applied",
    "AsyncClient",
    "AsyncKv",
    "AsyncMirror",
    "AsyncRegistration",
    "CatalogView",
    "Change",
    "ChangeKind",
    "ClientClosed",
    "ClientStatus",
    "Compacted",
    "Conflict",
    "DeadlinePassed",
    "Discovery",
    "Health",
    "Instance",
    "InstanceStatus",
    "InvalidInput",
    "LimitReached",
    "Listing",
    "Liveness",
    "LoadBalancer",
    "NoInstance",
    "NotAllowed",
    "NotFound",
    "Override",
    "Port",
    "ProtocolError",
    "Rung",
    "Service",
    "ServiceKey",
    "ServiceSummary",
    "ServiceView",
    "SessionLost",
    "Subscriber",
    "TianluError",
    "Unavailable",
    "__version__",
]
