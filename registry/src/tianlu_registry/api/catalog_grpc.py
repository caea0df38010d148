"""tianlu.v1.Catalog: requests to the catalogue's service, answers from it.

The JSON API calls these same methods, so both refuse the same things with the same fields.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from tianlu._proto.v1.catalog_pb2 import (
    AwaitAppliedRequest,
    AwaitAppliedResponse,
    CloseSessionRequest,
    CloseSessionResponse,
    DeleteServiceRequest,
    DeleteServiceResponse,
    DeregisterRequest,
    DeregisterResponse,
    DiscoverRequest,
    DiscoverResponse,
    GetServiceRequest,
    GetServiceResponse,
    KeepAliveRequest,
    KeepAliveResponse,
    ListInstancesRequest,
    ListInstancesResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
    ListServicesRequest,
    ListServicesResponse,
    ListSubscribersRequest,
    ListSubscribersResponse,
    OpenSessionRequest,
    OpenSessionResponse,
    OverrideInstanceRequest,
    OverrideInstanceResponse,
    PutServiceRequest,
    PutServiceResponse,
    RegisterRequest,
    RegisterResponse,
    RenewSessionRequest,
    RenewSessionResponse,
    UpdateInstanceRequest,
    UpdateInstanceResponse,
    WatchRequest,
)
from tianlu_registry.api.catalog_watch import serve_grpc
from tianlu_registry.api.grpc_asgi import RpcContext
from tianlu_registry.catalog.wire import Encoded
from tianlu_registry.errors import SessionNotFound
from tianlu_registry.governance import Governance
from tianlu_registry.governance.applied import await_applied

# Methods bear the names of the service's rpcs, which the adapter looks up.
# ruff: noqa: N802


class CatalogServicer:
    """Serves tianlu.v1.Catalog on a running `Governance`."""

    def __init__(self, governance: Governance) -> None:
        self._governance = governance
        self._feed = governance.feed
        self._registrar = governance.registrar
        self._queries = governance.queries
        self._sessions = governance.sessions

    # Sessions

    async def OpenSession(
        self, request: OpenSessionRequest, context: RpcContext
    ) -> OpenSessionResponse:
        session_id, ttl = await self._sessions.open(request.ttl_seconds, request.client)
        return OpenSessionResponse(
            session_id=session_id, ttl_seconds=ttl, revision=self._feed.revision
        )

    async def KeepAlive(
        self, requests: AsyncIterator[KeepAliveRequest], context: RpcContext
    ) -> AsyncIterator[KeepAliveResponse]:
        """Renew sessions as asked; however the stream ends, say so to those that it renewed."""
        renewed: set[int] = set()
        try:
            async for request in requests:
                ttl = await self._sessions.renew(request.session_id)
                if not ttl:
                    renewed.discard(request.session_id)
                elif request.session_id not in renewed:
                    renewed.add(request.session_id)
                    self._sessions.stream_opened(request.session_id)
                yield KeepAliveResponse(
                    session_id=request.session_id, ttl_seconds=ttl, revision=self._feed.revision
                )
        finally:
            for session_id in renewed:
                self._sessions.stream_closed(session_id)

    async def RenewSession(
        self, request: RenewSessionRequest, context: RpcContext
    ) -> RenewSessionResponse:
        ttl = await self._sessions.renew(request.session_id)
        if not ttl:
            raise SessionNotFound
        return RenewSessionResponse(ttl_seconds=ttl, revision=self._feed.revision)

    async def CloseSession(
        self, request: CloseSessionRequest, context: RpcContext
    ) -> CloseSessionResponse:
        return CloseSessionResponse(revision=await self._sessions.close(request.session_id))

    # Instances

    async def Register(self, request: RegisterRequest, context: RpcContext) -> RegisterResponse:
        instance, revision = await self._registrar.register(request)
        return RegisterResponse(instance=instance, revision=revision)

    async def Deregister(
        self, request: DeregisterRequest, context: RpcContext
    ) -> DeregisterResponse:
        return DeregisterResponse(revision=await self._registrar.deregister(request))

    async def UpdateInstance(
        self, request: UpdateInstanceRequest, context: RpcContext
    ) -> UpdateInstanceResponse:
        instance, revision = await self._registrar.update_instance(request)
        return UpdateInstanceResponse(instance=instance, revision=revision)

    async def OverrideInstance(
        self, request: OverrideInstanceRequest, context: RpcContext
    ) -> OverrideInstanceResponse:
        instance, revision = await self._registrar.override_instance(request)
        return OverrideInstanceResponse(instance=instance, revision=revision)

    # Services

    async def PutService(
        self, request: PutServiceRequest, context: RpcContext
    ) -> PutServiceResponse:
        service, revision = await self._registrar.put_service(request.service)
        return PutServiceResponse(service=service, revision=revision)

    async def DeleteService(
        self, request: DeleteServiceRequest, context: RpcContext
    ) -> DeleteServiceResponse:
        return DeleteServiceResponse(revision=await self._registrar.delete_service(request))

    # Reading

    async def GetService(
        self, request: GetServiceRequest, context: RpcContext
    ) -> GetServiceResponse:
        return await self._queries.get_service(request)

    async def ListNamespaces(
        self, request: ListNamespacesRequest, context: RpcContext
    ) -> ListNamespacesResponse:
        return await self._queries.list_namespaces(request)

    async def ListServices(
        self, request: ListServicesRequest, context: RpcContext
    ) -> ListServicesResponse:
        return await self._queries.list_services(request)

    async def ListInstances(
        self, request: ListInstancesRequest, context: RpcContext
    ) -> Encoded[ListInstancesResponse]:
        return await self._queries.list_instances(request)

    async def Discover(
        self, request: DiscoverRequest, context: RpcContext
    ) -> Encoded[DiscoverResponse]:
        return await self._queries.discover(request)

    # Watching

    async def Watch(self, requests: AsyncIterator[WatchRequest], context: RpcContext) -> None:
        await serve_grpc(self._governance.subscriptions, requests, context)

    async def ListSubscribers(
        self, request: ListSubscribersRequest, context: RpcContext
    ) -> ListSubscribersResponse:
        return await self._queries.list_subscribers(request)

    async def AwaitApplied(
        self, request: AwaitAppliedRequest, context: RpcContext
    ) -> AwaitAppliedResponse:
        return await await_applied(self._governance.subscriptions, request)
