"""The state of authentication, and the rules of its change.

Invariants. While authentication is on: the user root exists and has the role root. Roles of a user
are sorted, permissions of a role are sorted by their first key. The auth revision grows by one with
every change but switching on; a token or a check made at an older one does not count (see `check`).
A user's role need not exist, only be granted once it did; the role root never needs to.

Everything here is decided by the log: no clock, no randomness, and passwords come hashed. What is
done is etcd's, to the letter of its errors. Source: etcd server/auth/store.go.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

from tianlu._proto.etcd.auth_pb2 import Permission, Role, User
from tianlu._proto.etcd.rpc_pb2 import (
    AuthRoleAddRequest,
    AuthRoleDeleteRequest,
    AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest,
    AuthUserAddRequest,
    AuthUserChangePasswordRequest,
    AuthUserDeleteRequest,
    AuthUserGrantRoleRequest,
    AuthUserRevokeRoleRequest,
)
from tianlu_registry.auth.permissions import Access, KeyPermissions, is_range
from tianlu_registry.auth.protocols import AuthBackend, AuthObserver, NoObserver
from tianlu_registry.auth.records import load_state, role_records, save_state, user_records
from tianlu_registry.errors import (
    AuthFailed,
    AuthNotEnabled,
    InvalidAuthManagement,
    PermissionNotGiven,
    PermissionNotGranted,
    RoleEmpty,
    RoleExists,
    RoleNotFound,
    RoleNotGranted,
    RootRoleNotGranted,
    RootUserNotFound,
    UserEmpty,
    UserExists,
    UserNotFound,
)

ROOT: Final = "root"
"""The user who must be there, and the role that may do everything."""

_ALL_KEYS: Final = Permission(permType=Permission.READWRITE, range_end=b"\0")


class AuthStore:
    """Users, roles, and whether they count.

    Args:
        backend: where they are kept.

    Attributes:
        enabled: whether calls must say whose they are.
        revision: grows with every change; 1 before the first.
        observer: is told of changes.
    """

    def __init__(self, backend: AuthBackend) -> None:
        self.observer: AuthObserver = NoObserver()
        self._backend = backend
        self._users = user_records(backend)
        self._roles = role_records(backend)
        self._permissions: dict[str, KeyPermissions] = {}
        self.enabled, self.revision = load_state(backend)

    def reload(self) -> None:
        """Take what the backend holds now."""
        self._users.reload()
        self._roles.reload()
        self._permissions.clear()
        self.enabled, self.revision = load_state(self._backend)
        self.observer.replaced()

    # What is there

    def user(self, name: str) -> User | None:
        """Return a user; it is not to be changed."""
        return self._users.get(name)

    def user_names(self) -> list[str]:
        return self._users.names()

    def role_names(self) -> list[str]:
        return self._roles.names()

    def roles_of(self, user: str) -> list[str]:
        """Return the roles granted to a user.

        Raises:
            UserNotFound: there is none of this name.
        """
        return list(self._existing_user(user).roles)

    def permissions_of(self, role: str) -> list[Permission]:
        """Return what a role permits.

        Raises:
            RoleNotFound: there is none of this name.
        """
        found = self._existing_role(role)
        return [_ALL_KEYS] if role == ROOT else list(found.keyPermission)

    def has_role(self, user: str, role: str) -> bool:
        """Whether a user exists and has a role."""
        found = self._users.get(user)
        return found is not None and role in found.roles

    def permit(self, user: str, key: bytes, range_end: bytes, access: Access) -> bool:
        """Whether a user may access every key of a range, in etcd's notation."""
        if self.has_role(user, ROOT):
            return True
        permissions = self._permissions.get(user)
        if permissions is None:
            found = self._users.get(user)
            if found is None:
                return False
            permissions = self._permissions[user] = self._merged(found)
        return permissions.permit(key, range_end, access)

    # Switching on and off

    def enable(self) -> None:
        """Switch authentication on. Does nothing when it is on.

        Raises:
            RootUserNotFound, RootRoleNotGranted: nobody could administer it.
        """
        if self.enabled:
            return
        root = self._users.get(ROOT)
        if root is None:
            raise RootUserNotFound
        if ROOT not in root.roles:
            raise RootRoleNotGranted
        self.enabled = True
        save_state(self._backend, self.enabled, self.revision)
        self.observer.changed()

    def disable(self) -> None:
        """Switch authentication off. Does nothing when it is off."""
        if self.enabled:
            self.enabled = False
            self._changed()

    def log_in(self, name: str, token_digest: str) -> None:
        """Take note that a user, whose password was right, may be known by a token.

        Raises:
            AuthNotEnabled: tokens are of no use.
            AuthFailed: the user is gone, or has no password.
        """
        if not self.enabled:
            raise AuthNotEnabled
        user = self._users.get(name)
        if user is None or user.options.no_password:
            raise AuthFailed
        self.observer.logged_in(name, token_digest)

    # Users

    def add_user(self, request: AuthUserAddRequest) -> None:
        """Add a user, without a password if the options say so.

        Raises:
            UserEmpty: the name is.
            UserExists: there is one of this name.
        """
        if not request.name:
            raise UserEmpty
        if self._users.get(request.name) is not None:
            raise UserExists
        user = User(name=request.name.encode(), options=request.options)
        if not request.options.no_password:
            user.password = request.hashedPassword.encode()
        self._put_user(user)
        self._changed()

    def delete_user(self, request: AuthUserDeleteRequest) -> None:
        """Delete a user.

        Raises:
            InvalidAuthManagement: it is root, and authentication is on.
            UserNotFound: there is none of this name.
        """
        if self.enabled and request.name == ROOT:
            raise InvalidAuthManagement
        self._existing_user(request.name)
        self._users.delete(request.name)
        self._changed()
        self.observer.password_changed(request.name)

    def change_password(self, request: AuthUserChangePasswordRequest) -> None:
        """Give a user another password; one without a password stays so.

        Raises:
            UserNotFound: there is none of this name.
        """
        user = _copy(self._existing_user(request.name))
        user.ClearField("password")
        if not user.options.no_password:
            user.password = request.hashedPassword.encode()
        self._put_user(user)
        self._changed()
        self.observer.password_changed(request.name)

    def grant_role(self, request: AuthUserGrantRoleRequest) -> None:
        """Grant a role to a user; one that is granted already changes nothing.

        Raises:
            UserNotFound, RoleNotFound: there is none of this name.
        """
        user = _copy(self._existing_user(request.user))
        if request.role != ROOT:
            self._existing_role(request.role)
        if request.role in user.roles:
            return
        roles = list(user.roles)
        insort(roles, request.role, key=str.encode)
        user.roles[:] = roles
        self._put_user(user)
        self._changed()

    def revoke_role(self, request: AuthUserRevokeRoleRequest) -> None:
        """Take a role from a user.

        Raises:
            InvalidAuthManagement: it is root's of root, and authentication is on.
            UserNotFound: there is none of this name.
            RoleNotGranted: the user does not have it.
        """
        if self.enabled and request.name == ROOT and request.role == ROOT:
            raise InvalidAuthManagement
        user = _copy(self._existing_user(request.name))
        if request.role not in user.roles:
            raise RoleNotGranted
        user.roles.remove(request.role)
        self._put_user(user)
        self._changed()

    # Roles

    def add_role(self, request: AuthRoleAddRequest) -> None:
        """Add a role that permits nothing.

        Raises:
            RoleEmpty: the name is.
            RoleExists: there is one of this name.
        """
        if not request.name:
            raise RoleEmpty
        if self._roles.get(request.name) is not None:
            raise RoleExists
        self._roles.put(request.name, Role(name=request.name.encode()))
        self._changed()

    def delete_role(self, request: AuthRoleDeleteRequest) -> None:
        """Delete a role, and take it from everybody who has it.

        Raises:
            InvalidAuthManagement: it is root, and authentication is on.
            RoleNotFound: there is none of this name.
        """
        if self.enabled and request.role == ROOT:
            raise InvalidAuthManagement
        self._existing_role(request.role)
        self._roles.delete(request.role)
        for user in self._users.all():
            if request.role in user.roles:
                changed = _copy(user)
                changed.roles.remove(request.role)
                self._put_user(changed)
        self._changed()

    def grant_permission(self, request: AuthRoleGrantPermissionRequest) -> None:
        """Let a role read, write or both in a range; a permission for the same range is replaced.

        Raises:
            PermissionNotGiven: the request has none.
            InvalidAuthManagement: the range is empty.
            RoleNotFound: there is none of this name.
        """
        if not request.HasField("perm"):
            raise PermissionNotGiven
        granted = request.perm
        if not is_range(granted.key, granted.range_end):
            raise InvalidAuthManagement
        role = Role()
        role.CopyFrom(self._existing_role(request.name))
        permissions = list(role.keyPermission)
        # As in etcd, only the first of several with one key is looked at.
        first = bisect_left(permissions, granted.key, key=lambda permission: permission.key)
        if first < len(permissions) and _same_range(permissions[first], granted):
            permissions[first].permType = granted.permType
        else:
            permissions.append(granted)
            permissions.sort(key=lambda permission: permission.key)
            _replace_permissions(role, permissions)
        self._roles.put(request.name, role)
        self._changed()

    def revoke_permission(self, request: AuthRoleRevokePermissionRequest) -> None:
        """Take a role's permissions for exactly this range.

        Raises:
            RoleNotFound: there is none of this name.
            PermissionNotGranted: it has none.
        """
        role = self._existing_role(request.role)
        wanted = Permission(key=request.key, range_end=request.range_end)
        kept = [each for each in role.keyPermission if not _same_range(each, wanted)]
        if len(kept) == len(role.keyPermission):
            raise PermissionNotGranted
        changed = Role(name=role.name)
        changed.keyPermission.extend(kept)
        self._roles.put(request.role, changed)
        self._changed()

    # Private

    def _existing_user(self, name: str) -> User:
        user = self._users.get(name)
        if user is None:
            raise UserNotFound
        return user

    def _existing_role(self, name: str) -> Role:
        role = self._roles.get(name)
        if role is None:
            raise RoleNotFound
        return role

    def _put_user(self, user: User) -> None:
        self._users.put(user.name.decode(), user)

    def _merged(self, user: User) -> KeyPermissions:
        found = [self._roles.get(name) for name in user.roles]
        return KeyPermissions(each for role in found if role for each in role.keyPermission)

    def _changed(self) -> None:
        self.revision += 1
        self._permissions.clear()
        save_state(self._backend, self.enabled, self.revision)
        self.observer.changed()


def _copy(user: User) -> User:
    copy = User()
    copy.CopyFrom(user)
    return copy


def _same_range(one: Permission, other: Permission) -> bool:
    return one.key == other.key and one.range_end == other.range_end


def _replace_permissions(role: Role, permissions: list[Permission]) -> None:
    changed = Role(name=role.name)
    changed.keyPermission.extend(permissions)
    role.CopyFrom(changed)
