"""What each command of authentication does, and its answer.

The answers have empty headers: whoever applies the commands fills them in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from tianlu._proto.etcd.rpc_pb2 import (
    AuthDisableResponse,
    AuthEnableResponse,
    AuthenticateResponse,
    AuthRoleAddResponse,
    AuthRoleDeleteResponse,
    AuthRoleGrantPermissionResponse,
    AuthRoleRevokePermissionResponse,
    AuthUserAddResponse,
    AuthUserChangePasswordResponse,
    AuthUserDeleteResponse,
    AuthUserGrantRoleResponse,
    AuthUserRevokeRoleResponse,
)
from tianlu_registry.auth.commands import AuthCommand, AuthRequest
from tianlu_registry.auth.store import AuthStore

AuthResponse: TypeAlias = (
    AuthEnableResponse
    | AuthDisableResponse
    | AuthUserAddResponse
    | AuthUserDeleteResponse
    | AuthUserChangePasswordResponse
    | AuthUserGrantRoleResponse
    | AuthUserRevokeRoleResponse
    | AuthRoleAddResponse
    | AuthRoleDeleteResponse
    | AuthRoleGrantPermissionResponse
    | AuthRoleRevokePermissionResponse
    | AuthenticateResponse
)

_Change = Callable[[AuthStore, Any], None]

_CHANGES: Final[Mapping[AuthCommand, tuple[_Change, type[AuthResponse]]]] = MappingProxyType(
    {
        AuthCommand.ENABLE: (lambda store, _: store.enable(), AuthEnableResponse),
        AuthCommand.DISABLE: (lambda store, _: store.disable(), AuthDisableResponse),
        AuthCommand.USER_ADD: (AuthStore.add_user, AuthUserAddResponse),
        AuthCommand.USER_DELETE: (AuthStore.delete_user, AuthUserDeleteResponse),
        AuthCommand.USER_CHANGE_PASSWORD: (
            AuthStore.change_password,
            AuthUserChangePasswordResponse,
        ),
        AuthCommand.USER_GRANT_ROLE: (AuthStore.grant_role, AuthUserGrantRoleResponse),
        AuthCommand.USER_REVOKE_ROLE: (AuthStore.revoke_role, AuthUserRevokeRoleResponse),
        AuthCommand.ROLE_ADD: (AuthStore.add_role, AuthRoleAddResponse),
        AuthCommand.ROLE_DELETE: (AuthStore.delete_role, AuthRoleDeleteResponse),
        AuthCommand.ROLE_GRANT_PERMISSION: (
            AuthStore.grant_permission,
            AuthRoleGrantPermissionResponse,
        ),
        AuthCommand.ROLE_REVOKE_PERMISSION: (
            AuthStore.revoke_permission,
            AuthRoleRevokePermissionResponse,
        ),
        AuthCommand.LOG_IN: (
            lambda store, request: store.log_in(request.name, request.password),
            AuthenticateResponse,
        ),
    }
)


def apply(store: AuthStore, kind: AuthCommand, request: AuthRequest) -> AuthResponse:
    """Apply one command.

    Raises:
        InputError: the command cannot be, in the state it met. Nothing was changed.
    """
    change, response = _CHANGES[kind]
    change(store, request)
    return response()
