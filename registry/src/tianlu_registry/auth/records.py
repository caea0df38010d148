"""How users and roles are kept: in a fixed number of named values, each a group of them.

A value for each name would need names that any key-value store takes, and a list of them; one
value for all would be written whole at every change. So names are spread over `GROUPS` values by
their CRC-32, and a change writes one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Final, Generic, TypeVar
from zlib import crc32

from google.protobuf.message import DecodeError, Message

from tianlu._proto.etcd.auth_pb2 import Role, User
from tianlu_registry.auth.protocols import AuthBackend
from tianlu_registry.errors import Corrupt

GROUPS: Final = 64

META_STATE: Final = b"auth"
_META_USERS: Final = b"auth_users"
_META_ROLES: Final = b"auth_roles"

_STATE: Final = Struct(">BQ")  # enabled, revision
_LENGTH: Final = Struct(">I")

RecordT = TypeVar("RecordT", User, Role)


def _group_name(prefix: bytes, group: int) -> bytes:
    return prefix + b"/%02x" % group


NAMES: Final = frozenset(
    {META_STATE}
    | {
        _group_name(prefix, group)
        for prefix in (_META_USERS, _META_ROLES)
        for group in range(GROUPS)
    }
)
"""Every named value that is written here. All of them are changed by log entries alone."""


def load_state(backend: AuthBackend) -> tuple[bool, int]:
    """Return whether authentication is on, and the auth revision: 1 before any change."""
    stored = backend.get_meta(META_STATE)
    if stored is None:
        return False, 1
    try:
        enabled, revision = _STATE.unpack(stored)
    except StructError as error:
        raise Corrupt(f"the record of authentication cannot be read: {stored[:80]!r}") from error
    return bool(enabled), revision


def save_state(backend: AuthBackend, enabled: bool, revision: int) -> None:
    backend.put_meta(META_STATE, _STATE.pack(enabled, revision))


class Records(Generic[RecordT]):
    """All users, or all roles, in memory and in the backend.

    What is returned belongs to this; change a copy, and `put` it.
    """

    def __init__(
        self, backend: AuthBackend, prefix: bytes, parse: Callable[[bytes], RecordT]
    ) -> None:
        self._backend = backend
        self._prefix = prefix
        self._parse: Callable[[bytes], RecordT] = parse
        self._groups: list[dict[str, RecordT]] = []
        self.reload()

    def reload(self) -> None:
        """Take what the backend holds now."""
        self._groups = [self._load(group) for group in range(GROUPS)]

    def get(self, name: str) -> RecordT | None:
        return self._groups[_group_of(name)].get(name)

    def names(self) -> list[str]:
        """Return all names, in the order of their bytes."""
        return sorted((name for group in self._groups for name in group), key=str.encode)

    def all(self) -> Iterator[RecordT]:
        """Yield all, in the order of their names."""
        for name in self.names():
            record = self.get(name)
            if record is not None:
                yield record

    def put(self, name: str, record: RecordT) -> None:
        group = _group_of(name)
        self._groups[group][name] = record
        self._save(group)

    def delete(self, name: str) -> None:
        group = _group_of(name)
        del self._groups[group][name]
        self._save(group)

    def _load(self, group: int) -> dict[str, RecordT]:
        stored = self._backend.get_meta(_group_name(self._prefix, group))
        if not stored:
            return {}
        try:
            records = [self._parse(data) for data in _unpack(stored)]
            return {record.name.decode(): record for record in records}
        except (DecodeError, ValueError, StructError) as error:
            what = f"{self._prefix.decode()}/{group:02x}"
            raise Corrupt(f"the users or roles of {what} cannot be read") from error

    def _save(self, group: int) -> None:
        # In the order of names: members that hold the same write the same bytes.
        records = self._groups[group]
        data = _pack(records[name] for name in sorted(records, key=str.encode))
        self._backend.put_meta(_group_name(self._prefix, group), data)


def user_records(backend: AuthBackend) -> Records[User]:
    return Records(backend, _META_USERS, User.FromString)


def role_records(backend: AuthBackend) -> Records[Role]:
    return Records(backend, _META_ROLES, Role.FromString)


def _group_of(name: str) -> int:
    return crc32(name.encode()) % GROUPS


def _pack(records: Iterable[Message]) -> bytes:
    parts = []
    for record in records:
        data = record.SerializeToString(deterministic=True)
        parts += [_LENGTH.pack(len(data)), data]
    return b"".join(parts)


def _unpack(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if position + length > len(data):
            raise ValueError("a record is cut short")
        yield data[position : position + length]
        position += length
