"""Users, roles and switching on: etcd's rules, its errors, and what is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from registry.auth.auth_fakes import (
    BOTH,
    READ,
    WRITE,
    FakeBackend,
    Told,
    add_role,
    add_user,
    enabled_store,
    grant,
    new_store,
)

from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu._proto.etcd.auth_pb2 import Permission, UserAddOptions
from tianlu_registry import errors
from tianlu_registry.auth import ROOT, AuthCommand, AuthStore
from tianlu_registry.auth.apply import apply
from tianlu_registry.auth.commands import MESSAGES
from tianlu_registry.auth.permissions import Access
from tianlu_registry.auth.records import META_STATE, NAMES


def test_enabling_needs_root_with_its_role() -> None:
    store = new_store()
    with pytest.raises(errors.RootUserNotFound):
        store.enable()
    add_user(store, ROOT)
    with pytest.raises(errors.RootRoleNotGranted):
        store.enable()
    store.grant_role(pb.AuthUserGrantRoleRequest(user=ROOT, role=ROOT))
    revision = store.revision
    store.enable()
    store.enable()
    assert (store.enabled, store.revision) == (True, revision)
    store.disable()
    store.disable()
    assert (store.enabled, store.revision) == (False, revision + 1)


REFUSED: list[tuple[AuthCommand, dict[str, object], type[errors.InputError]]] = [
    (AuthCommand.USER_ADD, {}, errors.UserEmpty),
    (AuthCommand.USER_ADD, {"name": "ann"}, errors.UserExists),
    (AuthCommand.USER_DELETE, {"name": "none"}, errors.UserNotFound),
    (AuthCommand.USER_DELETE, {"name": ROOT}, errors.InvalidAuthManagement),
    (AuthCommand.USER_CHANGE_PASSWORD, {"name": "none"}, errors.UserNotFound),
    (AuthCommand.USER_GRANT_ROLE, {"user": "none", "role": "r"}, errors.UserNotFound),
    (AuthCommand.USER_GRANT_ROLE, {"user": "ann", "role": "none"}, errors.RoleNotFound),
    (AuthCommand.USER_REVOKE_ROLE, {"name": "none", "role": "r"}, errors.UserNotFound),
    (AuthCommand.USER_REVOKE_ROLE, {"name": "ann", "role": "other"}, errors.RoleNotGranted),
    (AuthCommand.USER_REVOKE_ROLE, {"name": ROOT, "role": ROOT}, errors.InvalidAuthManagement),
    (AuthCommand.ROLE_ADD, {}, errors.RoleEmpty),
    (AuthCommand.ROLE_ADD, {"name": "r"}, errors.RoleExists),
    (AuthCommand.ROLE_DELETE, {"role": "none"}, errors.RoleNotFound),
    (AuthCommand.ROLE_DELETE, {"role": ROOT}, errors.InvalidAuthManagement),
    (AuthCommand.ROLE_GRANT_PERMISSION, {"name": "r"}, errors.PermissionNotGiven),
    (
        AuthCommand.ROLE_GRANT_PERMISSION,
        {"name": "none", "perm": Permission(key=b"k")},
        errors.RoleNotFound,
    ),
    (
        AuthCommand.ROLE_GRANT_PERMISSION,
        {"name": "r", "perm": Permission(key=b"b", range_end=b"a")},
        errors.InvalidAuthManagement,
    ),
    (
        AuthCommand.ROLE_GRANT_PERMISSION,
        {"name": "r", "perm": Permission(range_end=b"a")},
        errors.InvalidAuthManagement,
    ),
    (AuthCommand.ROLE_REVOKE_PERMISSION, {"role": "none"}, errors.RoleNotFound),
    (
        AuthCommand.ROLE_REVOKE_PERMISSION,
        {"role": "r", "key": b"a"},
        errors.PermissionNotGranted,
    ),
    (AuthCommand.LOG_IN, {"name": "none"}, errors.AuthFailed),
    (AuthCommand.LOG_IN, {"name": "bare"}, errors.AuthFailed),
]


@pytest.mark.parametrize(("kind", "fields", "error"), REFUSED)
def test_what_cannot_be_is_refused_and_changes_nothing(
    kind: AuthCommand, fields: dict[str, object], error: type[errors.InputError]
) -> None:
    backend = FakeBackend()
    store = enabled_store(backend)
    add_role(store, "r", (READ, b"a", b"c"))
    add_role(store, "other")
    add_user(store, "ann", "r")
    options = UserAddOptions(no_password=True)
    store.add_user(pb.AuthUserAddRequest(name="bare", options=options))
    before = dict(backend.values)
    request = MESSAGES[kind](**fields)  # type: ignore[arg-type]
    with pytest.raises(error):
        apply(store, kind, request)
    assert backend.values == before


def test_log_in_needs_authentication() -> None:
    store = new_store()
    add_user(store, "ann")
    with pytest.raises(errors.AuthNotEnabled):
        store.log_in("ann", "digest")


def test_every_change_has_a_revision() -> None:
    store = new_store()
    changes: list[Callable[[], None]] = [
        lambda: store.add_user(pb.AuthUserAddRequest(name="ann", hashedPassword="h")),
        lambda: store.change_password(
            pb.AuthUserChangePasswordRequest(name="ann", hashedPassword="i")
        ),
        lambda: store.add_role(pb.AuthRoleAddRequest(name="r")),
        lambda: grant(store, "r", READ, b"k"),
        lambda: store.grant_role(pb.AuthUserGrantRoleRequest(user="ann", role="r")),
        lambda: store.revoke_role(pb.AuthUserRevokeRoleRequest(name="ann", role="r")),
        lambda: store.revoke_permission(pb.AuthRoleRevokePermissionRequest(role="r", key=b"k")),
        lambda: store.delete_role(pb.AuthRoleDeleteRequest(role="r")),
        lambda: store.delete_user(pb.AuthUserDeleteRequest(name="ann")),
    ]
    assert store.revision == 1
    for number, change in enumerate(changes, start=2):
        change()
        assert store.revision == number


def test_granting_a_role_twice_changes_nothing() -> None:
    store = new_store()
    add_role(store, "r")
    add_user(store, "ann", "r")
    revision = store.revision
    store.grant_role(pb.AuthUserGrantRoleRequest(user="ann", role="r"))
    assert (store.roles_of("ann"), store.revision) == (["r"], revision)


def test_a_deleted_role_is_taken_from_everybody() -> None:
    store = new_store()
    add_role(store, "r", (READ, b"k", b""))
    add_role(store, "s")
    add_user(store, "ann", "s", "r")
    add_user(store, "bob", "r")
    assert store.roles_of("ann") == ["r", "s"]
    store.delete_role(pb.AuthRoleDeleteRequest(role="r"))
    assert (store.roles_of("ann"), store.roles_of("bob")) == (["s"], [])
    assert not store.permit("bob", b"k", b"", Access.READ)


def test_permissions_of_one_range_replace_each_other() -> None:
    store = new_store()
    add_role(store, "r", (READ, b"b", b"c"), (READ, b"a", b""))
    grant(store, "r", WRITE, b"b", b"c")
    granted = [(each.key, each.range_end, each.permType) for each in store.permissions_of("r")]
    assert granted == [(b"a", b"", READ), (b"b", b"c", WRITE)]


def test_root_may_everything_whatever_its_role_says() -> None:
    store = enabled_store()
    assert store.permit(ROOT, b"any", b"\0", Access.WRITE)
    with pytest.raises(errors.RoleNotFound):
        store.permissions_of(ROOT)
    add_role(store, ROOT)
    (everything,) = store.permissions_of(ROOT)
    assert (everything.permType, everything.key, everything.range_end) == (BOTH, b"", b"\0")


def test_observers_are_told() -> None:
    store = enabled_store()
    told = store.observer = Told()
    add_user(store, "ann")
    store.log_in("ann", "digest")
    store.change_password(pb.AuthUserChangePasswordRequest(name="ann", hashedPassword="h"))
    store.delete_user(pb.AuthUserDeleteRequest(name="ann"))
    store.disable()
    store.reload()
    assert told.seen == [
        "changed",
        "ann logged in with digest",
        "changed",
        "password of ann",
        "changed",
        "password of ann",
        "changed",
        "replaced",
    ]


def test_the_state_is_kept() -> None:
    backend = FakeBackend()
    store = enabled_store(backend)
    add_role(store, "r", (READ, b"a", b"c"), (WRITE, b"b", b"\0"))
    for name in ("ann", "bob", "Ωmega"):
        add_user(store, name, "r", password=f"hash of {name}")
    store.delete_user(pb.AuthUserDeleteRequest(name="bob"))
    assert set(backend.values) <= NAMES
    again = AuthStore(backend)
    assert (again.enabled, again.revision) == (True, store.revision)
    assert again.user_names() == store.user_names() == ["ann", "root", "Ωmega"]
    assert again.user("Ωmega") == store.user("Ωmega")
    assert again.permissions_of("r") == store.permissions_of("r")


def test_same_commands_keep_same_bytes() -> None:
    one, other = FakeBackend(), FakeBackend()
    for backend, names in ((one, "abc"), (other, "cab")):
        store = new_store(backend)
        for name in names:
            add_user(store, name)
    assert one.values == other.values


@pytest.mark.parametrize("value", [b"", b"\1", b"\1" * 10])
def test_an_unreadable_state_is_corrupt(value: bytes) -> None:
    backend = FakeBackend()
    backend.put_meta(META_STATE, value)
    with pytest.raises(errors.Corrupt):
        AuthStore(backend)


@pytest.mark.parametrize("value", [b"\0\0\0\5ab", b"\0\0", b"\0\0\0\2\xff\xff"])
def test_unreadable_users_are_corrupt(value: bytes) -> None:
    backend = FakeBackend()
    backend.put_meta(b"auth_users/07", value)
    with pytest.raises(errors.Corrupt):
        AuthStore(backend)
