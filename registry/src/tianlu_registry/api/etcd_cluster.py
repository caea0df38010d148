"""etcdserverpb.Cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import urlsplit

from tianlu._proto.etcd.rpc_pb2 import (
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
)
from tianlu_registry.api.grpc_asgi import RpcContext
from tianlu_registry.engine.cluster import Cluster
from tianlu_registry.errors import MemberUrlsInvalid

ResponseT = TypeVar(
    "ResponseT",
    MemberAddResponse,
    MemberRemoveResponse,
    MemberUpdateResponse,
    MemberListResponse,
    MemberPromoteResponse,
)

_TCP_SCHEMES = frozenset({"http", "https"})
_UNIX_SCHEMES = frozenset({"unix", "unixs"})


class ClusterServicer:
    """Passes requests to the cluster, after a look at their URLs.

    As in etcd, headers of this service say nothing of the revision.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def MemberAdd(  # noqa: N802
        self, request: MemberAddRequest, context: RpcContext
    ) -> MemberAddResponse:
        request.peerURLs[:] = checked_urls(request.peerURLs)
        return _without_revision(await self._cluster.member_add(request))

    async def MemberRemove(  # noqa: N802
        self, request: MemberRemoveRequest, context: RpcContext
    ) -> MemberRemoveResponse:
        return _without_revision(await self._cluster.member_remove(request))

    async def MemberUpdate(  # noqa: N802
        self, request: MemberUpdateRequest, context: RpcContext
    ) -> MemberUpdateResponse:
        # etcd takes any text here, and its members then fail on it.
        request.peerURLs[:] = checked_urls(request.peerURLs)
        return _without_revision(await self._cluster.member_update(request))

    async def MemberList(  # noqa: N802
        self, request: MemberListRequest, context: RpcContext
    ) -> MemberListResponse:
        return _without_revision(await self._cluster.member_list(request))

    async def MemberPromote(  # noqa: N802
        self, request: MemberPromoteRequest, context: RpcContext
    ) -> MemberPromoteResponse:
        return _without_revision(await self._cluster.member_promote(request))


def _without_revision(response: ResponseT) -> ResponseT:
    response.header.ClearField("revision")
    return response


def checked_urls(urls: Iterable[str]) -> list[str]:
    """Return the URLs of a member as they are kept: without spaces around, in order.

    Raises:
        MemberUrlsInvalid: there is none, or one is not ``http://HOST:PORT``, ``https://HOST:PORT``,
            ``unix:PATH`` or ``unixs:PATH``.

    Source: etcd client/pkg/types/urls.go.
    """
    checked = sorted(url.strip() for url in urls)
    if not checked or not all(_is_member_url(url) for url in checked):
        raise MemberUrlsInvalid
    return checked


def _is_member_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:  # a bad port or bracket
        return False
    if url.scheme in _UNIX_SCHEMES:
        return bool(url.netloc or url.path)
    plain = not (url.path or url.query or url.fragment or url.username)
    return url.scheme in _TCP_SCHEMES and port is not None and plain
