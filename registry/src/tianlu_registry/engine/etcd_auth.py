"""The users of an existing etcd cluster: whatever is asked is asked of etcd, as whoever asks."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tianlu._proto.etcd.rpc_pb2 import DESCRIPTOR
from tianlu_registry.engine.etcd_calls import EtcdCalls
from tianlu_registry.engine.etcd_channels import EtcdMethod
from tianlu_registry.engine.etcd_requests import EtcdRequests

_SERVICE: Final = DESCRIPTOR.services_by_name["Auth"]
_READING: Final = frozenset(
    {"AuthStatus", "Authenticate", "UserGet", "UserList", "RoleGet", "RoleList"}
)
_METHODS: Final = MappingProxyType(
    {
        method.name: EtcdMethod(f"Auth/{method.name}", GetMessageClass(method.output_type))
        for method in _SERVICE.methods
    }
)


class EtcdAuth:
    """Users and roles of the cluster underneath.

    Args:
        store: of the callers; it is closed by its owner.
    """

    names: Final = tuple(_METHODS)

    def __init__(self, store: EtcdRequests) -> None:
        self._store = store
        self._nobody = EtcdCalls(store.calls.channels, store.calls.timeout_seconds)

    async def ask(self, name: str, request: Message) -> Any:  # noqa: ANN401 - of each its own
        """Ask etcd for one of the methods of `etcdserverpb.Auth`."""
        if name == "Authenticate":  # who has no token yet is nobody yet
            return await self._nobody.call(_METHODS[name], request)
        return await self._store.call(_METHODS[name], request, writes=name not in _READING)
