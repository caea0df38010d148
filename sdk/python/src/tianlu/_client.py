# ruff: noqa: A002 -- `id` is the public name of an instance's id
"""The asynchronous client: everything that an application, a proxy or a person does with Tianlu.

`tianlu.Client` is generated from this module by tools/unasync.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tianlu._catalog import AsyncCatalog
from tianlu._model import NO_METADATA, WEIGHT_DEFAULT, Instance, InstanceStatus, Port
from tianlu._view import Change, ClientStatus

if TYPE_CHECKING:
    from tianlu._kv import AsyncKv
    from tianlu._mirror import AsyncMirror
    from tianlu._registration import AsyncRegistration

ENDPOINT_DEFAULT = "127.0.0.1:8080"


class AsyncClient(AsyncCatalog):
    """A client of one registry, over one shared connection.

    Use it as `async with AsyncClient(...) as client:` or call `close` when done. It belongs to the
    event loop that it is first used in.

    Args:
        endpoints: one or several of "host:port", "unix:/path", "http://host:port" or
            "https://host:port". The first is used until it fails, then the next, round and round.
        namespace: the namespace of calls that name none.
        name: who this is, for people, in lists of sessions and subscribers; None makes one from
            the program, host and process id.
        snapshot_dir: directory of the host snapshot: read when no registry can be reached, and
            written with what this client subscribes to unless another process writes it.
        timeout_seconds: deadline of a single call with all its retries, 0.001 to 3600.
        ttl_seconds: how long registrations outlive a lost contact, 2 to 3600.

    Raises:
        InvalidInput: an argument cannot be.
    """

    def __init__(
        self,
        endpoints: str | Iterable[str] = ENDPOINT_DEFAULT,
        *,
        namespace: str = "default",
        name: str | None = None,
        snapshot_dir: Path | str | None = None,
        timeout_seconds: float = 5.0,
        ttl_seconds: int = 10,
    ) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Deregister what this client registered, end its watches and close its connection.

        Calling it again does nothing. Takes at most `timeout_seconds` with the registry away.
        """
        raise NotImplementedError

    @property
    def namespace(self) -> str:
        """The namespace of calls that name none."""
        raise NotImplementedError

    @property
    def kv(self) -> AsyncKv:
        """The registry's raw etcd v3 key-value API."""
        raise NotImplementedError

    def status(self) -> ClientStatus:
        """Return how the client stands towards the registry. No I/O."""
        raise NotImplementedError

    async def register(
        self,
        service: str,
        *,
        port: int | None = None,
        ports: Sequence[Port] = (),
        address: str | None = None,
        version: str = "",
        weight: int = WEIGHT_DEFAULT,
        zone: str = "",
        metadata: Mapping[str, str] = NO_METADATA,
        id: str | None = None,
        status: InstanceStatus = InstanceStatus.UP,
        namespace: str | None = None,
    ) -> AsyncRegistration:
        """Register an instance and keep it registered until it is deregistered.

        All registrations of a client share one session, renewed in the background. If the session
        is lost, a new one is opened and everything is registered again under the same ids.

        Args:
            port: short for ports=[Port("http", port)].
            ports: the instance's ports; the first is the default one. Give `port` or `ports`.
            address: what callers on other hosts can reach; None takes TIANLU_ADVERTISE_ADDRESS or
                else the address of the interface that leads to the registry.
            weight: 0 to 10000.
            id: unique within the service; None makes one from address and port, so that a
                restarted process takes its own place.
            status: STARTING to register before being ready, then `update(status=UP)`.

        Raises:
            InvalidInput: an argument cannot be; `field` names it.
            Conflict: another live session holds an instance with this id.
            Unavailable: no registry could be reached in time.
        """
        raise NotImplementedError

    async def subscribe(self, *services: str, namespace: str | None = None) -> None:
        """Keep services in the local cache, so that `pick` and `discover` answer without I/O.

        Returns when all are cached. With no registry reachable the host snapshot fills the cache,
        and the watch is taken up in the background when a registry returns.

        Args:
            services: "name", or "name.namespace"; naming one again does nothing.

        Raises:
            Unavailable: no registry was reachable in time and no snapshot holds them. The
                subscription stays; the background keeps trying.
        """
        raise NotImplementedError

    def pick(
        self,
        service: str,
        *,
        namespace: str | None = None,
        exclude: Iterable[str] = (),
    ) -> Instance:
        """Choose an instance of a subscribed service for the next request. No I/O; any thread.

        Chooses by the service's load balancer and the instances' weights among those that serve.
        Suspect ones are left out unless fewer than half of the eligible ones would remain.

        Args:
            exclude: ids of instances already tried; ignored once nothing else is left.

        Raises:
            NoInstance: the service is not subscribed, or nothing of it may be sent traffic.
        """
        raise NotImplementedError

    def watch(
        self, service: str | None = None, namespace: str | None = None, *, resume_revision: int = 0
    ) -> AsyncIterator[Change]:
        """Yield changes of a service, or of a whole namespace, until the iterator is closed.

        First everything that is there, as "put" changes; then each change as it happens, none
        missed and none twice, across reconnections. Slow readers hold the stream back and do not
        grow memory.

        Args:
            service: None watches all services of the namespace.
            namespace: None means the client's; "" means all namespaces.
            resume_revision: leave out the state up to this revision, which the caller holds
                already; 0 begins with the full state.
        """
        raise NotImplementedError

    def mirror(self, namespaces: Iterable[str] | None = None) -> AsyncMirror:
        """Return a mirror of whole namespaces; use it as `async with client.mirror() as mirror:`.

        Args:
            namespaces: None means all.
        """
        raise NotImplementedError
