"""The registry's users and roles, as etcd v3 defines them.

Source: etcd, api/etcdserverpb/rpc.proto (service Auth); docs/auth.md.
"""

from __future__ import annotations

from typing import Final

from tianlu._channel import Connection
from tianlu._errors import InvalidInput
from tianlu._key_range import Bytes, key_range
from tianlu._proto.etcd import auth_pb2
from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._rpc import Method, Request, Response, auth_method
from tianlu._users import Access, AuthStatus, Permission

_STATUS: Final = auth_method(
    "AuthStatus", etcd.AuthStatusRequest, etcd.AuthStatusResponse, anonymous=True
)
_USERS: Final = auth_method("UserList", etcd.AuthUserListRequest, etcd.AuthUserListResponse)
_USER: Final = auth_method("UserGet", etcd.AuthUserGetRequest, etcd.AuthUserGetResponse)
_ROLES: Final = auth_method("RoleList", etcd.AuthRoleListRequest, etcd.AuthRoleListResponse)
_ROLE: Final = auth_method("RoleGet", etcd.AuthRoleGetRequest, etcd.AuthRoleGetResponse)

_TYPES: Final = {
    Access.READ: auth_pb2.Permission.READ,
    Access.WRITE: auth_pb2.Permission.WRITE,
    Access.READWRITE: auth_pb2.Permission.READWRITE,
}
_ACCESS: Final = {type_: access for access, type_ in _TYPES.items()}


class AsyncAuth:
    """Users, roles and permissions of the registry; `AsyncClient.auth`.

    While authentication is on, only root may call what changes or lists. A change whose answer is
    lost is not made again unasked: `OutcomeUnknown`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def status(self) -> AuthStatus:
        """Return whether authentication is on. Anybody may ask."""
        response = await self._connection.call(_STATUS, etcd.AuthStatusRequest())
        return AuthStatus(response.enabled, response.authRevision)

    async def enable(self) -> None:
        """Switch authentication on.

        Raises:
            Conflict: there is no user root with the role root.
        """
        await self._change("AuthEnable", etcd.AuthEnableRequest(), etcd.AuthEnableResponse)

    async def disable(self) -> None:
        """Switch authentication off: everybody may do everything."""
        await self._change("AuthDisable", etcd.AuthDisableRequest(), etcd.AuthDisableResponse)

    # Users.

    async def users(self) -> tuple[str, ...]:
        """Return all users' names, in order."""
        response = await self._connection.call(_USERS, etcd.AuthUserListRequest())
        return tuple(response.users)

    async def roles_of(self, user: str) -> tuple[str, ...]:
        """Return a user's roles. A user may ask for himself.

        Raises:
            Conflict: there is no such user.
        """
        request = etcd.AuthUserGetRequest(name=_name("user", user))
        return tuple((await self._connection.call(_USER, request)).roles)

    async def add_user(self, user: str, password: str | None) -> None:
        """Add a user without roles.

        Args:
            password: None for a user who has none, and is known by his client certificate alone.

        Raises:
            Conflict: there is such a user.
        """
        if password == "":
            raise InvalidInput("password", "must not be empty")
        request = etcd.AuthUserAddRequest(
            name=_name("user", user),
            password=password or "",
            options=auth_pb2.UserAddOptions(no_password=password is None),
        )
        await self._change("UserAdd", request, etcd.AuthUserAddResponse)

    async def delete_user(self, user: str) -> None:
        """Delete a user; his tokens end.

        Raises:
            Conflict: there is no such user.
        """
        request = etcd.AuthUserDeleteRequest(name=_name("user", user))
        await self._change("UserDelete", request, etcd.AuthUserDeleteResponse)

    async def change_password(self, user: str, password: str) -> None:
        """Give a user another password; his tokens end.

        Raises:
            Conflict: there is no such user.
        """
        if not password:
            raise InvalidInput("password", "must not be empty")
        request = etcd.AuthUserChangePasswordRequest(name=_name("user", user), password=password)
        await self._change("UserChangePassword", request, etcd.AuthUserChangePasswordResponse)

    async def grant_role(self, user: str, role: str) -> None:
        """Give a user a role; one that he has already is fine.

        Raises:
            Conflict: there is no such user or role.
        """
        request = etcd.AuthUserGrantRoleRequest(user=_name("user", user), role=_name("role", role))
        await self._change("UserGrantRole", request, etcd.AuthUserGrantRoleResponse)

    async def revoke_role(self, user: str, role: str) -> None:
        """Take a role from a user.

        Raises:
            Conflict: he does not have it.
        """
        request = etcd.AuthUserRevokeRoleRequest(name=_name("user", user), role=_name("role", role))
        await self._change("UserRevokeRole", request, etcd.AuthUserRevokeRoleResponse)

    # Roles.

    async def roles(self) -> tuple[str, ...]:
        """Return all roles' names, in order."""
        response = await self._connection.call(_ROLES, etcd.AuthRoleListRequest())
        return tuple(response.roles)

    async def permissions(self, role: str) -> tuple[Permission, ...]:
        """Return what a role permits. A user may ask for a role that he has.

        Raises:
            Conflict: there is no such role.
        """
        request = etcd.AuthRoleGetRequest(role=_name("role", role))
        response = await self._connection.call(_ROLE, request)
        return tuple(
            Permission(_ACCESS[one.permType], one.key, one.range_end) for one in response.perm
        )

    async def add_role(self, role: str) -> None:
        """Add a role that permits nothing.

        Raises:
            Conflict: there is such a role.
        """
        request = etcd.AuthRoleAddRequest(name=_name("role", role))
        await self._change("RoleAdd", request, etcd.AuthRoleAddResponse)

    async def delete_role(self, role: str) -> None:
        """Delete a role; whoever had it loses it.

        Raises:
            Conflict: there is no such role.
        """
        request = etcd.AuthRoleDeleteRequest(role=_name("role", role))
        await self._change("RoleDelete", request, etcd.AuthRoleDeleteResponse)

    async def grant_permission(
        self,
        role: str,
        access: Access,
        key: Bytes,
        *,
        prefix: bool = False,
        range_end: Bytes | None = None,
    ) -> None:
        """Let a role read, write or both. What it permitted on the very same range is replaced.

        Args:
            prefix: on all keys that begin with `key`; with an empty key, on all keys.
            range_end: on all keys from `key` up to, not including, this one; "\\0" for no end.

        Raises:
            Conflict: there is no such role.
        """
        start, end = _permission_range(key, prefix, range_end)
        permission = auth_pb2.Permission(permType=_TYPES[Access(access)], key=start, range_end=end)
        request = etcd.AuthRoleGrantPermissionRequest(name=_name("role", role), perm=permission)
        await self._change("RoleGrantPermission", request, etcd.AuthRoleGrantPermissionResponse)

    async def revoke_permission(
        self,
        role: str,
        key: Bytes,
        *,
        prefix: bool = False,
        range_end: Bytes | None = None,
    ) -> None:
        """Take a permission away; the range must be the very one that it was granted on.

        Raises:
            Conflict: the role has no permission on that range.
        """
        start, end = _permission_range(key, prefix, range_end)
        request = etcd.AuthRoleRevokePermissionRequest(
            role=_name("role", role), key=start, range_end=end
        )
        await self._change("RoleRevokePermission", request, etcd.AuthRoleRevokePermissionResponse)

    async def _change(self, name: str, request: Request, response: type[Response]) -> None:
        method: Method[Request, Response] = auth_method(
            name, type(request), response, repeatable=False
        )
        await self._connection.call(method, request)


def _permission_range(key: Bytes, prefix: bool, range_end: Bytes | None) -> tuple[bytes, bytes]:
    start, end = key_range(key, prefix, range_end)
    if not start:
        raise InvalidInput("key", "must not be empty, unless prefix is set for all keys")
    return start, end


def _name(field: str, name: str) -> str:
    if not name:
        raise InvalidInput(field, "must not be empty")
    return name
