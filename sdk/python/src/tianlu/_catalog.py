# ruff: noqa: A002 -- `id` is the public name of an instance's id
"""The catalogue's single calls: read and change services, instances and overrides.

Each method is one remote call with a deadline. Reads, and writes that may be repeated without harm,
are retried on other endpoints while the deadline lasts.
"""

from __future__ import annotations

from tianlu._model import Applied, Instance, Service, ServiceSummary, Subscriber
from tianlu._view import Discovery, Listing


class AsyncCatalog:
    """The part of `AsyncClient` that asks and tells the registry, one call at a time."""

    _namespace: str

    async def discover(
        self, service: str, *, namespace: str | None = None, min_revision: int = 0
    ) -> Discovery:
        """Return the instances of `service` that may be sent traffic.

        A subscribed service is answered from the process's own view, without I/O, if the view is
        at least as new as `min_revision`. Otherwise the registry is asked; if no registry can be
        reached, the newest of the process's view and the host snapshot answers, and says so by
        its rung and age.

        Args:
            min_revision: wait until the answer is at least this new (read your own writes).

        Raises:
            NotFound: the service is neither described nor has instances.
            Unavailable: no registry can be reached and nothing is known of the service, or
                `min_revision` was not reached in time.
        """
        raise NotImplementedError

    async def list_namespaces(self, *, min_revision: int = 0) -> Listing[str]:
        """Return the namespaces that have services or instances, in order."""
        raise NotImplementedError

    async def list_services(
        self, namespace: str | None = None, *, min_revision: int = 0
    ) -> Listing[ServiceSummary]:
        """Return the services of a namespace with their counts.

        Args:
            namespace: None means the client's; "" means all namespaces.
        """
        raise NotImplementedError

    async def list_instances(
        self, service: str, namespace: str | None = None, *, min_revision: int = 0
    ) -> Listing[Instance]:
        """Return all instances of a service, whatever their state."""
        raise NotImplementedError

    async def get_service(
        self, service: str, namespace: str | None = None, *, min_revision: int = 0
    ) -> ServiceSummary:
        """Return a service's description and counts.

        Raises:
            NotFound: the service is neither described nor has instances.
        """
        raise NotImplementedError

    async def put_service(self, service: Service) -> Service:
        """Write a service's description. Returns it with its revisions."""
        raise NotImplementedError

    async def delete_service(self, service: str, namespace: str | None = None) -> int:
        """Delete a service's description. Returns the revision.

        Raises:
            NotFound: there is no description.
            Conflict: the service still has instances.
        """
        raise NotImplementedError

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
        raise NotImplementedError

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
        raise NotImplementedError

    async def deregister(self, service: str, id: str, namespace: str | None = None) -> int:
        """Remove an instance as an operator, whoever owns it. Returns the revision.

        Its owner is not told and registers it again if its session is ever lost. To end an
        instance of your own use `AsyncRegistration.deregister`.

        Raises:
            NotFound: there is no such instance.
        """
        raise NotImplementedError

    async def set_weight(
        self, service: str, id: str, weight: int, *, namespace: str | None = None
    ) -> Instance:
        """Set an instance's weight as an operator.

        Args:
            weight: 0 to 10000; 0 takes no traffic.

        Raises:
            NotFound: there is no such instance.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    async def list_subscribers(
        self, namespace: str | None = None, service: str = ""
    ) -> Listing[Subscriber]:
        """Return who watches a namespace, or one service of it, and how far they have got."""
        raise NotImplementedError
