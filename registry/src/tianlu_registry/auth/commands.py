"""The commands that change users, roles and authentication, by their numbers in the log.

They carry etcd's own requests, apart from passwords: a hash is in `hashedPassword` and `password`
is empty; in LOG_IN the digest of the token stands where the password was. So the log, and whoever
reads it, learns neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from tianlu._proto.etcd.rpc_pb2 import (
    AuthDisableRequest,
    AuthEnableRequest,
    AuthenticateRequest,
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

AuthRequest: TypeAlias = (
    AuthEnableRequest
    | AuthDisableRequest
    | AuthUserAddRequest
    | AuthUserDeleteRequest
    | AuthUserChangePasswordRequest
    | AuthUserGrantRoleRequest
    | AuthUserRevokeRoleRequest
    | AuthRoleAddRequest
    | AuthRoleDeleteRequest
    | AuthRoleGrantPermissionRequest
    | AuthRoleRevokePermissionRequest
    | AuthenticateRequest
)


class AuthCommand(IntEnum):
    """What a command does. The numbers are stored: never reuse one."""

    ENABLE = 20
    DISABLE = 21
    USER_ADD = 22
    USER_DELETE = 23
    USER_CHANGE_PASSWORD = 24
    USER_GRANT_ROLE = 25
    USER_REVOKE_ROLE = 26
    ROLE_ADD = 27
    ROLE_DELETE = 28
    ROLE_GRANT_PERMISSION = 29
    ROLE_REVOKE_PERMISSION = 30
    LOG_IN = 31


MESSAGES: Final[Mapping[AuthCommand, type[AuthRequest]]] = MappingProxyType(
    {
        AuthCommand.ENABLE: AuthEnableRequest,
        AuthCommand.DISABLE: AuthDisableRequest,
        AuthCommand.USER_ADD: AuthUserAddRequest,
        AuthCommand.USER_DELETE: AuthUserDeleteRequest,
        AuthCommand.USER_CHANGE_PASSWORD: AuthUserChangePasswordRequest,
        AuthCommand.USER_GRANT_ROLE: AuthUserGrantRoleRequest,
        AuthCommand.USER_REVOKE_ROLE: AuthUserRevokeRoleRequest,
        AuthCommand.ROLE_ADD: AuthRoleAddRequest,
        AuthCommand.ROLE_DELETE: AuthRoleDeleteRequest,
        AuthCommand.ROLE_GRANT_PERMISSION: AuthRoleGrantPermissionRequest,
        AuthCommand.ROLE_REVOKE_PERMISSION: AuthRoleRevokePermissionRequest,
        AuthCommand.LOG_IN: AuthenticateRequest,
    }
)
"""What each command's request is."""

KINDS: Final[Mapping[type[AuthRequest], AuthCommand]] = MappingProxyType(
    {message: kind for kind, message in MESSAGES.items()}
)
"""The same, the other way round."""
