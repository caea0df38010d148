"""Reads of the catalogue, answered from the view at a stated revision."""

from __future__ import annotations

from tianlu._proto.v1.catalog_pb2 import (
    DiscoverRequest,
    DiscoverResponse,
    GetServiceRequest,
    GetServiceResponse,
    ListInstancesRequest,
    ListInstancesResponse,
    ListNamespacesRequest,
    ListNamespacesResponse,
    ListServicesRequest,
    ListServicesResponse,
    ListSubscribersRequest,
    ListSubscribersResponse,
    Subscriber,
)
from tianlu_registry.catalog import answers, validate
from tianlu_registry.catalog.entries import ServiceSnapshot
from tianlu_registry.catalog.wire import Encoded
from tianlu_registry.errors import InvalidArgument
from tianlu_registry.governance.feed import ViewFeed
from tianlu_registry.governance.registrar import unknown_service
from tianlu_registry.governance.subscriptions import Subscriptions


class Queries:
    """Answers the reading requests of the catalogue's API.

    Every method waits for the view to be ready and to show `min_revision`.

    Raises (all): `Unavailable` if that takes too long, `InvalidArgument` for a malformed name,
    `ServiceNotFound` where one service is asked for.
    """

    def __init__(self, feed: ViewFeed, subscriptions: Subscriptions) -> None:
        self._feed = feed
        self._subscriptions = subscriptions

    async def list_namespaces(self, request: ListNamespacesRequest) -> ListNamespacesResponse:
        await self._wait(request.min_revision)
        return ListNamespacesResponse(
            namespaces=self._feed.view.namespaces(), revision=self._feed.revision
        )

    async def list_services(self, request: ListServicesRequest) -> ListServicesResponse:
        if request.namespace:
            validate.namespace("namespace", request.namespace)
        await self._wait(request.min_revision)
        services = self._feed.view.services(request.namespace)
        return ListServicesResponse(
            services=[service.summary() for service in services], revision=self._feed.revision
        )

    async def get_service(self, request: GetServiceRequest) -> GetServiceResponse:
        validate.service_name("name", request.name)
        found = await self._service(request.namespace, request.name, request.min_revision)
        return GetServiceResponse(summary=found.summary(), revision=self._feed.revision)

    async def list_instances(self, request: ListInstancesRequest) -> Encoded[ListInstancesResponse]:
        validate.service_name("service", request.service)
        found = await self._service(request.namespace, request.service, request.min_revision)
        return answers.list_instances(found, self._feed.revision)

    async def discover(self, request: DiscoverRequest) -> Encoded[DiscoverResponse]:
        validate.service_name("service", request.service)
        found = await self._service(request.namespace, request.service, request.min_revision)
        return answers.discover(found, self._feed.revision)

    async def list_subscribers(self, request: ListSubscribersRequest) -> ListSubscribersResponse:
        """List the subscribers of this node, the oldest first."""
        if request.namespace:
            validate.namespace("namespace", request.namespace)
        if request.service:
            validate.service_name("service", request.service)
        await self._feed.wait_ready()
        found = self._subscriptions.matching(request.namespace, request.service)
        return ListSubscribersResponse(
            subscribers=[
                Subscriber(
                    subscriber=subscription.subscriber,
                    peer=subscription.peer,
                    namespace=subscription.wanted.namespace,
                    services=sorted(subscription.wanted.services),
                    sent_revision=subscription.sent_revision,
                    applied_revision=subscription.applied_revision,
                    since_unix_ms=subscription.since_unix_ms,
                )
                for subscription in found
            ],
            revision=self._feed.revision,
        )

    async def _wait(self, min_revision: int) -> None:
        if min_revision < 0:
            raise InvalidArgument("min_revision", "must not be negative")
        await self._feed.wait_revision(min_revision)

    async def _service(self, namespace: str, name: str, min_revision: int) -> ServiceSnapshot:
        validate.namespace("namespace", namespace)
        await self._wait(min_revision)
        found = self._feed.view.service(namespace, name)
        if found is None:
            raise unknown_service(namespace, name)
        return found
