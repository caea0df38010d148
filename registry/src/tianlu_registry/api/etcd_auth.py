"""etcdserverpb.Auth: users, roles, and the way in."""

from __future__ import annotations

from collections.abc import Callable

from tianlu._proto.etcd.rpc_pb2 import (
    AuthDisableRequest,
    AuthDisableResponse,
    AuthEnableRequest,
    AuthEnableResponse,
    AuthenticateRequest,
    AuthenticateResponse,
    AuthRoleAddRequest,
    AuthRoleAddResponse,
    AuthRoleDeleteRequest,
    AuthRoleDeleteResponse,
    AuthRoleGetRequest,
    AuthRoleGetResponse,
    AuthRoleGrantPermissionRequest,
    AuthRoleGrantPermissionResponse,
    AuthRoleListRequest,
    AuthRoleListResponse,
    AuthRoleRevokePermissionRequest,
    AuthRoleRevokePermissionResponse,
    AuthStatusRequest,
    AuthStatusResponse,
    AuthUserAddRequest,
    AuthUserAddResponse,
    AuthUserChangePasswordRequest,
    AuthUserChangePasswordResponse,
    AuthUserDeleteRequest,
    AuthUserDeleteResponse,
    AuthUserGetRequest,
    AuthUserGetResponse,
    AuthUserGrantRoleRequest,
    AuthUserGrantRoleResponse,
    AuthUserListRequest,
    AuthUserListResponse,
    AuthUserRevokeRoleRequest,
    AuthUserRevokeRoleResponse,
    ResponseHeader,
)
from tianlu_registry.api.grpc_asgi import RpcContext
from tianlu_registry.auth import AuthCommand
from tianlu_registry.auth.commands import KINDS, AuthRequest
from tianlu_registry.authn.administration import Administration


class UsersServicer:
    """The whole service.

    Args:
        administration: does what is asked.
        header: makes a response header.
    """

    def __init__(
        self, administration: Administration, header: Callable[[], ResponseHeader]
    ) -> None:
        self._administration = administration
        self._header = header

    async def AuthStatus(  # noqa: N802
        self, request: AuthStatusRequest, context: RpcContext
    ) -> AuthStatusResponse:
        enabled, revision = await self._administration.status()
        return AuthStatusResponse(header=self._header(), enabled=enabled, authRevision=revision)

    async def Authenticate(  # noqa: N802
        self, request: AuthenticateRequest, context: RpcContext
    ) -> AuthenticateResponse:
        token = await self._administration.log_in(request.name, request.password)
        return AuthenticateResponse(header=self._header(), token=token)

    async def AuthEnable(  # noqa: N802
        self, request: AuthEnableRequest, context: RpcContext
    ) -> AuthEnableResponse:
        return AuthEnableResponse(header=await self._change(request))

    async def AuthDisable(  # noqa: N802
        self, request: AuthDisableRequest, context: RpcContext
    ) -> AuthDisableResponse:
        return AuthDisableResponse(header=await self._change(request))

    # Users

    async def UserAdd(  # noqa: N802
        self, request: AuthUserAddRequest, context: RpcContext
    ) -> AuthUserAddResponse:
        done = await self._administration.add_user(request)
        return AuthUserAddResponse(header=done.header)

    async def UserGet(  # noqa: N802
        self, request: AuthUserGetRequest, context: RpcContext
    ) -> AuthUserGetResponse:
        roles = await self._administration.roles_of(request.name)
        return AuthUserGetResponse(header=self._header(), roles=roles)

    async def UserList(  # noqa: N802
        self, request: AuthUserListRequest, context: RpcContext
    ) -> AuthUserListResponse:
        users = await self._administration.users()
        return AuthUserListResponse(header=self._header(), users=users)

    async def UserDelete(  # noqa: N802
        self, request: AuthUserDeleteRequest, context: RpcContext
    ) -> AuthUserDeleteResponse:
        return AuthUserDeleteResponse(header=await self._change(request))

    async def UserChangePassword(  # noqa: N802
        self, request: AuthUserChangePasswordRequest, context: RpcContext
    ) -> AuthUserChangePasswordResponse:
        done = await self._administration.change_password(request)
        return AuthUserChangePasswordResponse(header=done.header)

    async def UserGrantRole(  # noqa: N802
        self, request: AuthUserGrantRoleRequest, context: RpcContext
    ) -> AuthUserGrantRoleResponse:
        return AuthUserGrantRoleResponse(header=await self._change(request))

    async def UserRevokeRole(  # noqa: N802
        self, request: AuthUserRevokeRoleRequest, context: RpcContext
    ) -> AuthUserRevokeRoleResponse:
        return AuthUserRevokeRoleResponse(header=await self._change(request))

    # Roles

    async def RoleAdd(  # noqa: N802
        self, request: AuthRoleAddRequest, context: RpcContext
    ) -> AuthRoleAddResponse:
        return AuthRoleAddResponse(header=await self._change(request))

    async def RoleGet(  # noqa: N802
        self, request: AuthRoleGetRequest, context: RpcContext
    ) -> AuthRoleGetResponse:
        permissions = await self._administration.permissions_of(request.role)
        return AuthRoleGetResponse(header=self._header(), perm=permissions)

    async def RoleList(  # noqa: N802
        self, request: AuthRoleListRequest, context: RpcContext
    ) -> AuthRoleListResponse:
        roles = await self._administration.roles()
        return AuthRoleListResponse(header=self._header(), roles=roles)

    async def RoleDelete(  # noqa: N802
        self, request: AuthRoleDeleteRequest, context: RpcContext
    ) -> AuthRoleDeleteResponse:
        return AuthRoleDeleteResponse(header=await self._change(request))

    async def RoleGrantPermission(  # noqa: N802
        self, request: AuthRoleGrantPermissionRequest, context: RpcContext
    ) -> AuthRoleGrantPermissionResponse:
        return AuthRoleGrantPermissionResponse(header=await self._change(request))

    async def RoleRevokePermission(  # noqa: N802
        self, request: AuthRoleRevokePermissionRequest, context: RpcContext
    ) -> AuthRoleRevokePermissionResponse:
        return AuthRoleRevokePermissionResponse(header=await self._change(request))

    async def _change(self, request: AuthRequest) -> ResponseHeader:
        kind: AuthCommand = KINDS[type(request)]
        done = await self._administration.change(kind, request)
        header: ResponseHeader = done.header
        return header
