"""What a user may read and write: the ranges of all roles, merged.

A range is covered if the ranges granted cover it together, whichever role each is from: ``[a, c)``
and ``[c, f)`` permit ``[b, e)``. Read and write are apart; a permission to do both is one of each.

Source: etcd server/auth/range_perm_cache.go, pkg/adt/interval_tree.go (`Contains`).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from tianlu._proto.etcd.auth_pb2 import Permission
from tianlu_registry.mvcc.intervals import IntervalSet
from tianlu_registry.mvcc.types import WHOLE_KEYSPACE_FROM


class Access(IntEnum):
    """What is to be done with keys."""

    READ = Permission.READ
    WRITE = Permission.WRITE


class KeyPermissions:
    """Merged permissions.

    Args:
        permissions: of all roles of a user.
    """

    __slots__ = ("_read", "_write")

    def __init__(self, permissions: Iterable[Permission]) -> None:
        self._read = IntervalSet()
        self._write = IntervalSet()
        for permission in permissions:
            # Of a type that nobody knows neither: a newer member may have granted it.
            if permission.permType in (Permission.READ, Permission.READWRITE):
                self._read.add(permission.key, permission.range_end)
            if permission.permType in (Permission.WRITE, Permission.READWRITE):
                self._write.add(permission.key, permission.range_end)

    def permit(self, key: bytes, range_end: bytes, access: Access) -> bool:
        """Whether every key of a range may be accessed.

        Args:
            range_end: empty for the one key, ``b"\\0"`` for no end.
        """
        granted = self._read if access is Access.READ else self._write
        return granted.covers(key, range_end)


def is_range(key: bytes, range_end: bytes) -> bool:
    """Whether a permission can be for this range: one that has a start and is not empty."""
    return bool(key) and (not range_end or range_end == WHOLE_KEYSPACE_FROM or key < range_end)
