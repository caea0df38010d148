"""What the core of authentication is tested with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tianlu._proto.etcd.auth_pb2 import Permission
from tianlu._proto.etcd.rpc_pb2 import (
    AuthRoleAddRequest,
    AuthRoleGrantPermissionRequest,
    AuthUserAddRequest,
    AuthUserGrantRoleRequest,
)
from tianlu_registry.auth import ROOT, AuthStore

READ, WRITE, BOTH = Permission.READ, Permission.WRITE, Permission.READWRITE


class FakeBackend:
    """Named values in memory."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get_meta(self, name: bytes) -> bytes | None:
        return self.values.get(name)

    def put_meta(self, name: bytes, value: bytes) -> None:
        self.values[name] = value


@dataclass
class FakeLease:
    keys: Iterable[bytes]


class FakeLeases:
    """Leases of which the tests say the keys."""

    def __init__(self) -> None:
        self.keys: dict[int, list[bytes]] = {}

    def lookup(self, lease_id: int) -> FakeLease | None:
        keys = self.keys.get(lease_id)
        return None if keys is None else FakeLease(keys)


class Told:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def logged_in(self, user: str, token_digest: str) -> None:
        self.seen.append(f"{user} logged in with {token_digest}")

    def password_changed(self, user: str) -> None:
        self.seen.append(f"password of {user}")

    def changed(self) -> None:
        self.seen.append("changed")

    def replaced(self) -> None:
        self.seen.append("replaced")


def new_store(backend: FakeBackend | None = None) -> AuthStore:
    return AuthStore(backend or FakeBackend())


def add_user(store: AuthStore, name: str, *roles: str, password: str = "hash") -> None:
    store.add_user(AuthUserAddRequest(name=name, hashedPassword=password))
    for role in roles:
        store.grant_role(AuthUserGrantRoleRequest(user=name, role=role))


def add_role(store: AuthStore, name: str, *permissions: tuple[int, bytes, bytes]) -> None:
    store.add_role(AuthRoleAddRequest(name=name))
    for kind, key, range_end in permissions:
        grant(store, name, kind, key, range_end)


def grant(store: AuthStore, role: str, kind: int, key: bytes, range_end: bytes = b"") -> None:
    permission = Permission(permType=kind, key=key, range_end=range_end)  # type: ignore[arg-type]
    store.grant_permission(AuthRoleGrantPermissionRequest(name=role, perm=permission))


def enabled_store(backend: FakeBackend | None = None) -> AuthStore:
    """Return a store with root, switched on."""
    store = new_store(backend)
    add_user(store, ROOT, ROOT)
    store.enable()
    return store
