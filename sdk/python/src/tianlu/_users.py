"""What the registry says of users and roles, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Access(StrEnum):
    """What a permission lets one do with the keys of its range."""

    READ = "read"
    WRITE = "write"
    READWRITE = "readwrite"


@dataclass(frozen=True, slots=True)
class AuthStatus:
    """Whether the registry asks who calls.

    Attributes:
        revision: grows with every change of users and roles.
    """

    enabled: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Permission:
    """What a role permits on one range of keys.

    Attributes:
        range_end: empty for the one key; b"\\0" for all keys from `key` on; else the first key
            behind the range.
    """

    access: Access
    key: bytes
    range_end: bytes
