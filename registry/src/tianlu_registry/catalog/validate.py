"""The rules for what callers may write into the catalogue, one error for one broken rule.

Every function takes the path of the field as the caller wrote it and raises `InvalidArgument`
with that path, so that gRPC, JSON and the command line name the same field. What has passed here
can be stored, routed by host name (`orders.default`) and put into an Envoy configuration as it
is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final

from tianlu._proto.v1.model_pb2 import Instance, InstanceStatus, LoadBalancer, Port, Service
from tianlu_registry.catalog.keys import InstanceName
from tianlu_registry.errors import InvalidArgument

TTL_SECONDS_MIN: Final = 2
TTL_SECONDS_MAX: Final = 3600
TTL_SECONDS_DEFAULT: Final = 10
WEIGHT_MAX: Final = 10_000
PORTS_MAX: Final = 32
INSTANCE_ID_BYTES_MAX: Final = 128
ADDRESS_BYTES_MAX: Final = 253
METADATA_ENTRIES_MAX: Final = 64
METADATA_KEY_BYTES_MAX: Final = 128
METADATA_VALUE_BYTES_MAX: Final = 1024
METADATA_BYTES_MAX: Final = 16 * 1024
VERSION_BYTES_MAX: Final = 64
PEOPLE_BYTES_MAX: Final = 256
"""Names for people: owner, actor, client, subscriber."""
REASON_BYTES_MAX: Final = 1024
DESCRIPTION_BYTES_MAX: Final = 4096
WATCHED_SERVICES_MAX: Final = 1000
PROTOCOLS: Final = ("http", "http2", "grpc", "tcp")

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_INSTANCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]*")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_METADATA_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_LABEL_RULE = (
    "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit, "
    "so that it can stand in a host name"
)


def namespace(field: str, value: str) -> None:
    """Raises: InvalidArgument: not a DNS label."""
    _matches(field, value, _LABEL, _LABEL_RULE)


def service_name(field: str, value: str) -> None:
    """Raises: InvalidArgument: not a DNS label."""
    _matches(field, value, _LABEL, _LABEL_RULE)


def instance_id(field: str, value: str) -> None:
    """Raises: InvalidArgument: empty, too long or with other characters."""
    _matches(
        field,
        value,
        _INSTANCE_ID,
        f"must be 1 to {INSTANCE_ID_BYTES_MAX} of A-Z, a-z, 0-9 and . _ : @ -, "
        "beginning with a letter or digit",
        bytes_max=INSTANCE_ID_BYTES_MAX,
    )


def instance_name(name: InstanceName, field: str = "") -> None:
    """Check all three parts of an instance's name. `field` is what stands before them."""
    namespace(f"{field}namespace", name.namespace)
    service_name(f"{field}service", name.service)
    instance_id(f"{field}id", name.id)


def session_id(field: str, value: int) -> None:
    """Raises: InvalidArgument: zero or negative."""
    if value <= 0:
        raise InvalidArgument(field, "is needed: open a session first and give its id")


def ttl_seconds(field: str, value: int) -> int:
    """Return the time to live to use: the default for 0.

    Raises:
        InvalidArgument: outside the limits.
    """
    if value == 0:
        return TTL_SECONDS_DEFAULT
    _within(field, value, TTL_SECONDS_MIN, TTL_SECONDS_MAX)
    return value


def instance(value: Instance, field: str = "instance") -> None:
    """Check what an owner may say of its instance; what the registry joins in is not looked at.

    Raises:
        InvalidArgument: the first rule broken.
    """
    name = InstanceName(value.namespace, value.service, value.id)
    instance_name(name, f"{field}.")
    address(f"{field}.address", value.address)
    ports(f"{field}.ports", value.ports)
    _version(f"{field}.version", value.version)
    if value.HasField("weight"):
        weight(f"{field}.weight", value.weight)
    _version(f"{field}.zone", value.zone)
    metadata(f"{field}.metadata", value.metadata)
    status(f"{field}.status", value.status)


def service(value: Service, field: str = "service") -> None:
    """Raises: InvalidArgument: the first rule broken."""
    namespace(f"{field}.namespace", value.namespace)
    service_name(f"{field}.name", value.name)
    text(f"{field}.description", value.description, DESCRIPTION_BYTES_MAX, lines=True)
    text(f"{field}.owner", value.owner, PEOPLE_BYTES_MAX)
    if value.load_balancer not in LoadBalancer.values():
        raise InvalidArgument(f"{field}.load_balancer", "is not a known load balancer")
    metadata(f"{field}.metadata", value.metadata)


def address(field: str, value: str) -> None:
    """Raises: InvalidArgument: neither an IP address that can be called nor a host name."""
    if not value:
        raise InvalidArgument(field, "is needed: an IP address or host name for callers")
    ip = _ip(value)
    if ip is not None:
        if ip.is_unspecified:
            raise InvalidArgument(field, f"{value} is no address that callers can reach")
        return
    labels = value.removesuffix(".").split(".")
    named = all(_HOST_NAME.fullmatch(label) for label in labels)
    if len(value) > ADDRESS_BYTES_MAX or not named or labels[-1].isdigit():
        raise InvalidArgument(field, "must be an IP address or a host name, without a port")


def ports(field: str, values: Iterable[Port]) -> None:
    """Raises: InvalidArgument: none, too many, a name twice, or one that breaks a rule."""
    names: set[str] = set()
    for position, port in enumerate(values):
        here = f"{field}[{position}]"
        if position == PORTS_MAX:
            raise InvalidArgument(field, f"must be at most {PORTS_MAX}")
        _matches(f"{here}.name", port.name, _LABEL, _LABEL_RULE)
        if port.name in names:
            raise InvalidArgument(f"{here}.name", f"{port.name!r} is the name of another port")
        names.add(port.name)
        _within(f"{here}.number", port.number, 1, 65535)
        if port.protocol not in PROTOCOLS:
            raise InvalidArgument(f"{here}.protocol", f"must be one of {', '.join(PROTOCOLS)}")
    if not names:
        raise InvalidArgument(field, "is empty: name at least one port")


def weight(field: str, value: int) -> None:
    """Raises: InvalidArgument: above the limit (it cannot be negative)."""
    _within(field, value, 0, WEIGHT_MAX)


def status(field: str, value: int) -> None:
    """Raises: InvalidArgument: a number that names no status."""
    if value not in InstanceStatus.values():
        raise InvalidArgument(field, "is not a known instance status")


def metadata(field: str, values: Mapping[str, str]) -> None:
    """Raises: InvalidArgument: too many entries, or one that is too long or malformed."""
    if len(values) > METADATA_ENTRIES_MAX:
        raise InvalidArgument(field, f"must have at most {METADATA_ENTRIES_MAX} entries")
    total = 0
    # Sorted, because the order of a protobuf map is not defined and an error should be.
    for key in sorted(values):
        value = values[key]
        _matches(
            f"{field}[{_shown(key)}]",
            key,
            _METADATA_KEY,
            f"a key must be 1 to {METADATA_KEY_BYTES_MAX} of A-Z, a-z, 0-9 and . _ / -, "
            "beginning with a letter or digit",
            bytes_max=METADATA_KEY_BYTES_MAX,
        )
        size = len(value.encode())
        if size > METADATA_VALUE_BYTES_MAX:
            raise InvalidArgument(
                f"{field}[{key}]", f"is {size} bytes; at most {METADATA_VALUE_BYTES_MAX} are kept"
            )
        total += len(key) + size
    if total > METADATA_BYTES_MAX:
        raise InvalidArgument(field, f"is {total} bytes; at most {METADATA_BYTES_MAX} are kept")


def text(field: str, value: str, bytes_max: int, *, lines: bool = False) -> None:
    """Check a text for people. `lines`: it may have line breaks and tabs.

    Raises:
        InvalidArgument: too long, or with control characters.
    """
    size = len(value.encode())
    if size > bytes_max:
        raise InvalidArgument(field, f"is {size} bytes; at most {bytes_max} are kept")
    shown = value.translate({9: None, 10: None, 13: None}) if lines else value
    if _CONTROL.search(shown):
        raise InvalidArgument(field, "must not contain control characters")


def reason(field: str, value: str, *, needed: bool) -> None:
    """Raises: InvalidArgument: missing although needed, too long, or with control characters."""
    if needed and not value.strip():
        raise InvalidArgument(field, "is needed: say why, others will ask")
    text(field, value, REASON_BYTES_MAX)


def watched_services(field: str, values: Iterable[str]) -> None:
    """Raises: InvalidArgument: too many names, or one that cannot be a service's."""
    for position, value in enumerate(values):
        if position == WATCHED_SERVICES_MAX:
            raise InvalidArgument(field, f"must be at most {WATCHED_SERVICES_MAX} names")
        service_name(f"{field}[{position}]", value)


def _version(field: str, value: str) -> None:
    if value:
        _matches(
            field,
            value,
            _VERSION,
            f"must be at most {VERSION_BYTES_MAX} of A-Z, a-z, 0-9 and . _ + -, "
            "beginning with a letter or digit",
            bytes_max=VERSION_BYTES_MAX,
        )


def _matches(
    field: str, value: str, pattern: re.Pattern[str], rule: str, bytes_max: int = 63
) -> None:
    if len(value) > bytes_max or not pattern.fullmatch(value):
        raise InvalidArgument(field, f"{_shown(value)} {rule}" if value else f"is needed; {rule}")


def _within(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidArgument(field, f"{value} is not within {low} to {high}")


def _ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that a text is; None if it is none, or one of this host alone."""
    try:
        return None if "%" in value else ipaddress.ip_address(value)
    except ValueError:
        return None


def _shown(value: str) -> str:
    """Return a caller's text short enough and safe to show in an error."""
    return repr(value if len(value) <= 70 else value[:67] + "...")
