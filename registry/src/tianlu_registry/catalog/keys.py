"""Where the catalogue stands in the key space.

    /tianlu/v1/{namespace}/services/{service}              Service
    /tianlu/v1/{namespace}/instances/{service}/{instance}  Instance, on its session's lease
    /tianlu/v1/{namespace}/overrides/{service}/{instance}  Override, on no lease
    /tianlu/v1/{namespace}/status/{service}/{instance}     Health, on the session's lease

Names may not contain ``/`` (`validate` sees to that), so nothing is escaped, a key has one
reading, and one name's keys are never a prefix of another's. What else stands under the prefix
(policies, configurations, a stranger's keys) is not the catalogue's and is skipped.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

PREFIX: Final = b"/tianlu/v1/"
PREFIX_END: Final = b"/tianlu/v10"
"""First key behind all keys that begin with `PREFIX`."""


class Kind(Enum):
    """What a key's value is. The value is the key's fourth part."""

    SERVICE = b"services"
    INSTANCE = b"instances"
    OVERRIDE = b"overrides"
    STATUS = b"status"


_KINDS: Final = {kind.value: kind for kind in Kind}
_PARTS_COUNT: Final = {
    Kind.SERVICE: 6,
    Kind.INSTANCE: 7,
    Kind.OVERRIDE: 7,
    Kind.STATUS: 7,
}


class CatalogKey(NamedTuple):
    """A key, taken apart. `instance` is empty for a service's key."""

    kind: Kind
    namespace: str
    service: str
    instance: str


class InstanceName(NamedTuple):
    """What names an instance, here and in every answer."""

    namespace: str
    service: str
    id: str


def service_key(namespace: str, service: str) -> bytes:
    return f"/tianlu/v1/{namespace}/services/{service}".encode()


def instance_key(name: InstanceName) -> bytes:
    return f"/tianlu/v1/{name.namespace}/instances/{name.service}/{name.id}".encode()


def override_key(name: InstanceName) -> bytes:
    return f"/tianlu/v1/{name.namespace}/overrides/{name.service}/{name.id}".encode()


def status_key(name: InstanceName) -> bytes:
    return f"/tianlu/v1/{name.namespace}/status/{name.service}/{name.id}".encode()


def of_service(kind: Kind, namespace: str, service: str) -> tuple[bytes, bytes]:
    """Return the range of a service's keys of one kind: first key, first key behind."""
    first = b"/tianlu/v1/%s/%s/%s" % (namespace.encode(), kind.value, service.encode())
    return first + b"/", first + b"0"


def parse(key: bytes) -> CatalogKey | None:
    """Take a key apart; None if it is not one of the catalogue's."""
    parts = key.split(b"/")
    kind = _KINDS.get(parts[4]) if len(parts) > 4 else None
    if kind is None or len(parts) != _PARTS_COUNT[kind] or not key.startswith(PREFIX):
        return None
    if not all(parts[3:]):
        return None
    try:
        return CatalogKey(
            kind,
            parts[3].decode(),
            parts[5].decode(),
            parts[6].decode() if len(parts) == 7 else "",
        )
    except UnicodeDecodeError:
        return None
