"""A command together with the claim that it is made under, for the check where it is applied.

kind        1 byte    of the command inside
revision    8 bytes   little-endian; the claim's auth revision
length      2 bytes   little-endian; of the user's name
user, request         the name in UTF-8, then the command's own bytes
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from tianlu_registry.auth.check import Claim
from tianlu_registry.errors import Corrupt

CLAIMED_KIND: Final = 39
"""The number of such a command in the log."""

USER_BYTES_MAX: Final = 4096
"""Longest user name: much less than what the envelope could hold."""

_HEAD: Final = struct.Struct("<BQH")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A command and whose it is.

    Attributes:
        kind, request: the command.
    """

    claim: Claim
    kind: int
    request: Message

    def SerializeToString(self) -> bytes:  # noqa: N802 - as the requests have it
        return seal(self.claim, self.kind, self.request.SerializeToString())


def seal(claim: Claim, kind: int, request: bytes) -> bytes:
    """Return the bytes of a claimed command."""
    user = claim.user.encode()
    return _HEAD.pack(kind, claim.revision, len(user)) + user + request


def unseal(data: bytes) -> tuple[Claim, int, bytes]:
    """Return the claim, and the kind and the bytes of the command.

    Raises:
        Corrupt: this is none.
    """
    try:
        kind, revision, length = _HEAD.unpack_from(data)
        user = data[_HEAD.size : _HEAD.size + length]
        claim = Claim(user.decode(), revision)
    except (struct.error, UnicodeDecodeError) as error:
        raise Corrupt(f"a claimed command of {len(data)} bytes cannot be read") from error
    if len(user) < length:
        raise Corrupt(f"a claimed command of {len(data)} bytes is cut short")
    return claim, kind, data[_HEAD.size + length :]
