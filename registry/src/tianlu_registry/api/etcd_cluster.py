"""etcdserverpb.Cluster and the answered part of etcdserverpb.Auth.

Membership changes come with the cluster of several nodes; until then their methods are absent and
answer UNIMPLEMENTED.
"""

from __future__ import annotations

from dataclasses import dataclass

from tianlu._proto.etcd.rpc_pb2 import (
    AuthStatusRequest,
    AuthStatusResponse,
    Member,
    MemberListRequest,
    MemberListResponse,
)
from tianlu_registry.api.grpc_asgi import RpcContext
from tianlu_registry.engine.store import Store

_FIRST_AUTH_REVISION = 1
"""What etcd reports before authentication was ever configured."""


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """How this member describes itself: its name, and where peers and clients reach it."""

    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]


class ClusterServicer:
    """Lists the members: this one."""

    def __init__(self, store: Store, member: MemberInfo) -> None:
        self._store = store
        self._member = member

    async def MemberList(  # noqa: N802
        self, request: MemberListRequest, context: RpcContext
    ) -> MemberListResponse:
        status = self._store.status()
        member = Member(
            ID=status.member_id,
            name=self._member.name,
            peerURLs=self._member.peer_urls,
            clientURLs=self._member.client_urls,
            isLearner=status.is_learner,
        )
        return MemberListResponse(header=self._store.header(), members=[member])


class AuthServicer:
    """Says that authentication is off, which clients ask before they try to log in."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def AuthStatus(  # noqa: N802
        self, request: AuthStatusRequest, context: RpcContext
    ) -> AuthStatusResponse:
        return AuthStatusResponse(
            header=self._store.header(), enabled=False, authRevision=_FIRST_AUTH_REVISION
        )
