# ruff: noqa: A002 -- `id` is the public name of an instance's id
"""The catalogue's single calls: read and change services, instances and overrides.

Each method is one remote call with a deadline. All of them may be repeated without harm, and are
retried on other endpoints while the deadline lasts. A read shows this client's own writes,
whichever node answers.
"""

from __future__ import annotations

from typing import Final

from tianlu._channel import Connection
from tianlu._convert import (
    applied_from_proto,
    instance_from_proto,
    service_from_proto,
    service_to_proto,
    subscriber_from_proto,
    summary_from_proto,
)
from tianlu._errors import InvalidInput
from tianlu._input import check_int, check_metadata, check_name, check_seconds, check_weight
from tianlu._model import Applied, Instance, Service, ServiceSummary, Subscriber
from tianlu._proto.v1 import catalog_pb2 as v1
from tianlu._retry import Deadline
from tianlu._rpc import (
    AWAIT_APPLIED,
    DELETE_SERVICE,
    DEREGISTER,
    GET_SERVICE,
    LIST_INSTANCES,
    LIST_NAMESPACES,
    LIST_SERVICES,
    LIST_SUBSCRIBERS,
    OVERRIDE_INSTANCE,
    PUT_SERVICE,
    UPDATE_INSTANCE,
)
from tianlu._view import Listing, ServiceKey

ANSWER_SECONDS: Final = 1.0
"""Time that an answer may take beyond the time that the registry was told to wait."""


class AsyncCatalog:
    """The part of `AsyncClient` that asks and tells the registry, one call at a time."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection = connection
        self._namespace = namespace

    def service_key(self, service: str, namespace: str | None = None) -> ServiceKey:
        """Return the key of a service written as "name" or "name.namespace".

        Args:
            namespace: None takes the one in `service`, or else the client's.

        Raises:
            InvalidInput: a name is empty, or `service` names another namespace than `namespace`.
        """
        name, _, inner = check_name("service", service).partition(".")
        if inner and namespace is not None and inner != namespace:
            raise InvalidInput("namespace", f"is {namespace!r}, but the service is {service!r}")
        found = inner or (self._namespace if namespace is None else namespace)
        return ServiceKey(check_name("namespace", found), check_name("service", name))

    async def list_namespaces(self, *, min_revision: int = 0) -> Listing[str]:
        """Return the namespaces that have services or instances, in order."""
        response = await self._connection.call(
            LIST_NAMESPACES, v1.ListNamespacesRequest(min_revision=self._least(min_revision))
        )
        return Listing(tuple(response.namespaces), response.revision)

    async def list_services(
        self, namespace: str | None = None, *, min_revision: int = 0
    ) -> Listing[ServiceSummary]:
        """Return the services of a namespace with their counts.

        Args:
            namespace: None means the client's; "" means all namespaces.
        """
        wanted = self._namespace if namespace is None else namespace
        request = v1.ListServicesRequest(namespace=wanted, min_revision=self._least(min_revision))
        response = await self._connection.call(LIST_SERVICES, request)
        return Listing(
            tuple(summary_from_proto(one) for one in response.services), response.revision
        )

    async def list_instances(
        self, service: str, namespace: str | None = None, *, min_revision: int = 0
    ) -> Listing[Instance]:
        """Return all instances of a service, whatever their state."""
        key = self.service_key(service, namespace)
        request = v1.ListInstancesRequest(
            namespace=key.namespace, service=key.name, min_revision=self._least(min_revision)
        )
        response = await self._connection.call(LIST_INSTANCES, request)
        return Listing(
            tuple(instance_from_proto(one) for one in response.instances), response.revision
        )

    async def get_service(
        self, service: str, namespace: str | None = None, *, min_revision: int = 0
    ) -> ServiceSummary:
        """Return a service's description and counts.

        Raises:
            NotFound: the service is neither described nor has instances.
        """
        key = self.service_key(service, namespace)
        request = v1.GetServiceRequest(
            namespace=key.namespace, name=key.name, min_revision=self._least(min_revision)
        )
        return summary_from_proto((await self._connection.call(GET_SERVICE, request)).summary)

    async def put_service(self, service: Service) -> Service:
        """Write a service's description. Returns it with its revisions."""
        check_name("namespace", service.namespace)
        check_name("name", service.name)
        check_metadata(service.metadata)
        request = v1.PutServiceRequest(service=service_to_proto(service))
        return service_from_proto((await self._connection.call(PUT_SERVICE, request)).service)

    async def delete_service(self, service: str, namespace: str | None = None) -> int:
        """Delete a service's description. Returns the revision.

        Raises:
            NotFound: there is no description.
            Conflict: the service still has instances.
        """
        key = self.service_key(service, namespace)
        request = v1.DeleteServiceRequest(namespace=key.namespace, name=key.name)
        return (await self._connection.call(DELETE_SERVICE, request)).revision

    async def isolate(
        self,
        service: str,
        id: str,
        *,
        reason: str,
        actor: str = "",
        expires_unix_ms: int = 0,
        namespace: str | None = None,
    ) -> Instance:
        """Keep traffic away from an instance until somebody restores it.

        The isolation outlives the instance's registration.

        Args:
            reason: for people; must not be empty.
            actor: who asks; for people and the audit.
            expires_unix_ms: lift it at this time, in milliseconds since 1970; 0: never.

        Raises:
            NotFound: there is no such instance.
        """
        request = self._override_request(service, id, namespace, reason=reason, actor=actor)
        request.isolated = True
        request.expires_unix_ms = expires_unix_ms
        response = await self._connection.call(OVERRIDE_INSTANCE, request)
        return instance_from_proto(response.instance)

    async def restore(
        self,
        service: str,
        id: str,
        *,
        reason: str = "",
        actor: str = "",
        namespace: str | None = None,
    ) -> Instance:
        """Lift an instance's isolation. Does nothing if it is not isolated.

        Raises:
            NotFound: there is no such instance.
        """
        request = self._override_request(service, id, namespace, reason=reason, actor=actor)
        response = await self._connection.call(OVERRIDE_INSTANCE, request)
        return instance_from_proto(response.instance)

    async def deregister(self, service: str, id: str, namespace: str | None = None) -> int:
        """Remove an instance as an operator, whoever owns it. Returns the revision.

        Its owner is not told and registers it again if its session is ever lost. To end an
        instance of your own use `AsyncRegistration.deregister`.

        Raises:
            NotFound: there is no such instance.
        """
        key = self.service_key(service, namespace)
        request = v1.DeregisterRequest(
            namespace=key.namespace, service=key.name, id=check_name("id", id)
        )
        return (await self._connection.call(DEREGISTER, request)).revision

    async def set_weight(
        self, service: str, id: str, weight: int, *, namespace: str | None = None
    ) -> Instance:
        """Set an instance's weight as an operator.

        Args:
            weight: 0 to 10000; 0 takes no traffic.

        Raises:
            NotFound: there is no such instance.
        """
        key = self.service_key(service, namespace)
        request = v1.UpdateInstanceRequest(
            namespace=key.namespace,
            service=key.name,
            id=check_name("id", id),
            weight=check_weight(weight),
        )
        response = await self._connection.call(UPDATE_INSTANCE, request)
        return instance_from_proto(response.instance)

    async def await_applied(
        self,
        revision: int,
        service: str,
        *,
        namespace: str | None = None,
        percent: int = 100,
        timeout_seconds: float = 5.0,
    ) -> Applied:
        """Wait until a share of a service's subscribers has applied a revision.

        Args:
            percent: 1 to 100.
            timeout_seconds: 0.001 to 60.
        """
        key = self.service_key(service, namespace)
        check_seconds("timeout_seconds", timeout_seconds, 0.001, 60.0)
        request = v1.AwaitAppliedRequest(
            namespace=key.namespace,
            service=key.name,
            revision=revision,
            percent=check_int("percent", percent, 1, 100),
            timeout_ms=round(timeout_seconds * 1000),
        )
        # The registry answers when time is up; the margin is for the way there and back.
        deadline = Deadline.after(timeout_seconds + ANSWER_SECONDS)
        response = await self._connection.call(AWAIT_APPLIED, request, deadline=deadline)
        return applied_from_proto(response)

    async def list_subscribers(
        self, namespace: str | None = None, service: str = ""
    ) -> Listing[Subscriber]:
        """Return who watches a namespace, or one service of it, and how far they have got."""
        wanted = self._namespace if namespace is None else namespace
        request = v1.ListSubscribersRequest(namespace=wanted, service=service)
        response = await self._connection.call(LIST_SUBSCRIBERS, request)
        return Listing(
            tuple(subscriber_from_proto(one) for one in response.subscribers), response.revision
        )

    def _least(self, min_revision: int) -> int:
        """Return the revision that an answer must have: as asked, and with this client's writes."""
        return max(min_revision, self._connection.own_revision)

    def _override_request(
        self, service: str, id: str, namespace: str | None, *, reason: str, actor: str
    ) -> v1.OverrideInstanceRequest:
        key = self.service_key(service, namespace)
        return v1.OverrideInstanceRequest(
            namespace=key.namespace,
            service=key.name,
            id=check_name("id", id),
            reason=reason,
            actor=actor,
        )
