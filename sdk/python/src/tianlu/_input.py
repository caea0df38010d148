"""Checks of what a caller passes, before anything is sent: early, and naming the argument.

They refuse what can never be right. The registry checks everything again, and is the judge of names
and sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tianlu._errors import InvalidInput
from tianlu._model import WEIGHT_MAX, Port

PROTOCOLS: Final = ("http", "http2", "grpc", "tcp")
PORT_MAX: Final = 65_535
TTL_SECONDS_MIN: Final = 2
TTL_SECONDS_MAX: Final = 3600
TIMEOUT_SECONDS_MAX: Final = 3600.0
_NAME: Final = re.compile(r"[^\s/]+")


def check_name(field: str, value: object) -> str:
    """Return a name of a service, namespace or instance: text without spaces and slashes."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidInput(field, f"must be text without spaces and slashes, not {value!r}")
    return value


def check_weight(weight: object) -> int:
    return check_int("weight", weight, 0, WEIGHT_MAX)


def check_int(field: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(field, f"must be a whole number from {least} to {most}, not {value!r}")
    return value


def check_seconds(field: str, value: object, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidInput(field, f"must be {least:g} to {most:g} seconds, not {value!r}")
    return float(value)


def check_ports(port: int | None, ports: Sequence[Port]) -> tuple[Port, ...]:
    """Return the ports that `register` was given as `port` or `ports`."""
    if port is not None and ports:
        raise InvalidInput("port", "give port or ports, not both")
    if port is not None:
        return (Port("http", check_int("port", port, 1, PORT_MAX)),)
    seen: set[str] = set()
    for index, one in enumerate(ports):
        at = f"ports[{index}]"
        check_name(f"{at}.name", one.name)
        check_int(f"{at}.number", one.number, 1, PORT_MAX)
        if one.protocol not in PROTOCOLS:
            raise InvalidInput(f"{at}.protocol", f"must be one of {', '.join(PROTOCOLS)}")
        if one.name in seen:
            raise InvalidInput(f"{at}.name", f"{one.name!r} stands twice")
        seen.add(one.name)
    return tuple(ports)


def check_metadata(metadata: object) -> Mapping[str, str]:
    if not isinstance(metadata, Mapping):
        raise InvalidInput("metadata", f"must map text to text, not {metadata!r}")
    for key, value in metadata.items():
        if not isinstance(key, str) or not key:
            raise InvalidInput("metadata", f"has a key that is not text: {key!r}")
        if not isinstance(value, str):
            raise InvalidInput(f"metadata[{key!r}]", f"must be text, not {value!r}")
    return metadata
