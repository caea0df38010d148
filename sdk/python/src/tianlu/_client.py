# ruff: noqa: A002 -- `id` is the public name of an instance's id
"""The asynchronous client: everything that an application, a proxy or a person does with Tianlu.

`tianlu.Client` is generated from this module by tools/unasync.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import weakref
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from tianlu import _fork
from tianlu._address import advertised_address
from tianlu._auth import AsyncAuth
from tianlu._balancer import Balancer
from tianlu._catalog import AsyncCatalog
from tianlu._channel import Connection
from tianlu._convert import instance_from_proto, service_from_proto
from tianlu._credentials import resolve_credentials
from tianlu._endpoint import parse_endpoints
from tianlu._errors import (
    ClientClosed,
    InvalidInput,
    LimitReached,
    NoInstance,
    NotAllowed,
    NotFound,
    Unavailable,
)
from tianlu._follow import Follower, Scope
from tianlu._input import (
    PORT_MAX,
    TIMEOUT_SECONDS_MAX,
    TTL_SECONDS_MAX,
    TTL_SECONDS_MIN,
    check_int,
    check_metadata,
    check_name,
    check_ports,
    check_seconds,
    check_weight,
)
from tianlu._kv import AsyncKv
from tianlu._members import MemberLearner
from tianlu._mirror import AsyncMirror
from tianlu._model import NO_METADATA, WEIGHT_DEFAULT, Instance, InstanceStatus, Port, Rung
from tianlu._proto.v1 import catalog_pb2 as v1
from tianlu._registrar import Registrar
from tianlu._registration import DRAIN_SECONDS_DEFAULT, DRAIN_SECONDS_MAX, AsyncRegistration
from tianlu._replica import PATIENCE_SECONDS, Replica
from tianlu._retry import Deadline, draw
from tianlu._rpc import DISCOVER
from tianlu._signals import DrainOnSignal
from tianlu._snapshot import HostSnapshot
from tianlu._view import Change, ClientStatus, Discovery, ServiceKey, ServiceView

CLOSE_SECONDS_MAX: Final = 2.0
"""How long closing waits for the registry: a session that is not ended ends by itself."""

STREAMS_MAX: Final = 500
"""Watch streams of one client's subscriptions. A registry takes 1024 calls on one connection."""


class AsyncClient(AsyncCatalog):
    """A client of one registry, over one shared connection.

    Use it as `async with AsyncClient(...) as client:` or call `close` when done. It belongs to the
    event loop that it is first used in, and to the process: after a fork the child makes its own.

    Args:
        endpoints: one or several of "host:port", "unix:/path", "http://host:port" or
            "https://host:port", in an iterable or with commas between; None takes the environment
            variable TIANLU_ENDPOINTS or else 127.0.0.1:8080. The first is used until it fails, then
            any of the others that did not fail lately.
        namespace: the namespace of calls that name none.
        name: who this is, for people, in lists of sessions and subscribers; None makes one from
            the program, host and process id.
        snapshot_dir: directory of the host snapshot: read when no registry can be reached, and
            written with what this client holds unless another process writes it.
        timeout_seconds: deadline of a single call with all its retries, 0.001 to 3600.
        ttl_seconds: how long registrations outlive a lost contact, 2 to 3600.
        learn_endpoints: also use the client URLs that the cluster's members announce, those at
            which the member itself answers from here. Looked at again every 15 to 30 s.
        user: who this is towards a registry with authentication; it logs in by itself, and again
            when its token has ended. None takes TIANLU_USER, "" means nobody.
        password: the user's; None takes `password_file`, TIANLU_PASSWORD or TIANLU_PASSWORD_FILE.
        password_file: a file whose first line is the password; read anew at every login.
        token: a token that somebody else has made, such as a JWT, instead of a user; None takes
            TIANLU_TOKEN.
        ca_file: PEM, the authorities that https endpoints are verified by; None takes TIANLU_CACERT
            or else gRPC's.
        cert_file, key_file: PEM, this client's certificate and key, for registries that ask for
            one; None takes TIANLU_CERT and TIANLU_KEY. Files of certificates that change are read
            again.
        server_name: the name that the registry's certificate must have, if it is not the one in
            the endpoint; None takes TIANLU_SERVER_NAME.

    Raises:
        InvalidInput: an argument cannot be, or a file cannot be read.
    """

    def __init__(
        self,
        endpoints: str | Iterable[str] | None = None,
        *,
        namespace: str = "default",
        name: str | None = None,
        snapshot_dir: Path | str | None = None,
        timeout_seconds: float = 5.0,
        ttl_seconds: int = 10,
        learn_endpoints: bool = False,
        user: str | None = None,
        password: str | None = None,
        password_file: Path | str | None = None,
        token: str | None = None,
        ca_file: Path | str | None = None,
        cert_file: Path | str | None = None,
        key_file: Path | str | None = None,
        server_name: str | None = None,
    ) -> None:
        check_seconds("timeout_seconds", timeout_seconds, 0.001, TIMEOUT_SECONDS_MAX)
        check_int("ttl_seconds", ttl_seconds, TTL_SECONDS_MIN, TTL_SECONDS_MAX)
        credentials = resolve_credentials(
            user=user,
            password=password,
            password_file=password_file,
            token=token,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            server_name=server_name,
        )
        connection = Connection(
            parse_endpoints(endpoints), timeout_seconds=timeout_seconds, credentials=credentials
        )
        super().__init__(connection, check_name("namespace", namespace))
        self._name = name or _default_name()
        self._snapshot_dir = None if snapshot_dir is None else Path(snapshot_dir)
        self._registrar = Registrar(connection, name=self._name, ttl_seconds=ttl_seconds)
        self._subscriptions = Replica(
            connection,
            subscriber=self._name,
            snapshot_dir=self._snapshot_dir,
            complete=False,
            acknowledge=True,
        )
        self._subscribed: dict[ServiceKey, Follower] = {}
        self._balancers: dict[ServiceKey, Balancer] = {}
        self._kv = AsyncKv(connection)
        self._auth = AsyncAuth(connection)
        self._learner = MemberLearner(connection) if learn_endpoints else None
        if self._learner is not None:
            connection.when_used(self._learner.start)
        self._mirrors: weakref.WeakSet[AsyncMirror] = weakref.WeakSet()
        self._drains: list[DrainOnSignal] = []
        self._closed = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        _fork.remember(self)

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
        """Deregister at once what this client registered, end its watches, close its connection.

        Takes at most 2 s with the registry away. Calling it again does nothing. To let requests
        under way finish first, call `drain`.
        """
        if self._closed:
            return
        self._closed = "the client is closed"
        for one in self._drains:
            one.uninstall()
        for mirror in list(self._mirrors):
            await mirror.close()
        await self._subscriptions.close()
        await self._registrar.close(Deadline.after(CLOSE_SECONDS_MAX))
        if self._learner is not None:
            await self._learner.close()
        await self._connection.close()

    @property
    def namespace(self) -> str:
        """The namespace of calls that name none."""
        return self._namespace

    @property
    def kv(self) -> AsyncKv:
        """The registry's raw etcd v3 key-value API."""
        return self._kv

    @property
    def auth(self) -> AsyncAuth:
        """The registry's users and roles."""
        return self._auth

    def status(self) -> ClientStatus:
        """Return how the client stands towards the registry. No I/O; any thread."""
        return ClientStatus(
            endpoint=str(self._connection.endpoint),
            endpoints=tuple(map(str, self._connection.endpoints)),
            session_id=self._registrar.session_id,
            session=self._registrar.state.value,
            registered=tuple(one.instance.id for one in self._registrar.registrations),
            subscribed=tuple(sorted(self._subscribed)),
            revision=self._subscriptions.revision,
            age_seconds=self._subscriptions.age_seconds,
            degraded=self._subscriptions.degraded,
        )

    # Registering.

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
            service: "name", or "name.namespace".
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
            Unavailable: no registry could be reached in time. Nothing is registered then.
        """
        self._check_open()
        key = self.service_key(service, namespace)
        found = check_ports(port, ports)
        if not found:
            raise InvalidInput("port", f"is needed: give port=1 to {PORT_MAX}, or ports")
        reachable = check_name("address", advertised_address(address, self._connection.endpoint))
        instance = Instance(
            namespace=key.namespace,
            service=key.name,
            id=check_name("id", id or f"{reachable}:{found[0].number}".lstrip(":")),
            address=reachable,
            ports=found,
            version=version,
            weight=check_weight(weight),
            zone=zone,
            metadata=MappingProxyType(dict(check_metadata(metadata))),
            status=InstanceStatus(status),
        )
        return await self._registrar.register(instance, self._connection.deadline())

    async def drain(self, drain_seconds: float = DRAIN_SECONDS_DEFAULT) -> None:
        """Deregister everything that this client registered, without losing requests.

        All at the same time, each like `AsyncRegistration.deregister`.

        Args:
            drain_seconds: 0 to 3600, for requests under way.
        """
        check_seconds("drain_seconds", drain_seconds, 0, DRAIN_SECONDS_MAX)
        registrations = self._registrar.registrations
        await asyncio.gather(*(one.deregister(drain_seconds) for one in registrations))

    def drain_on_signals(
        self,
        signals: Iterable[signal.Signals] = (signal.SIGTERM,),
        *,
        drain_seconds: float = DRAIN_SECONDS_DEFAULT,
    ) -> None:
        """Drain when the process is told to stop, then let the signal do what it did before.

        Call it from the main thread after the server has set its own handlers (with uvicorn: in
        the application's lifespan start-up). The first signal drains; the previous handler is
        called when that is done, and at once by a second signal. Handlers set by
        `loop.add_signal_handler` cannot be put off: there, call `drain` in the handler.

        Raises:
            InvalidInput: `drain_seconds` cannot be.
            ValueError: this is not the main thread.
        """
        self._check_open()
        check_seconds("drain_seconds", drain_seconds, 0, DRAIN_SECONDS_MAX)
        loop = self._loop or asyncio.get_running_loop()
        handler = DrainOnSignal(lambda: self.drain(drain_seconds), loop)
        handler.install(signals)
        self._drains.append(handler)

    # Finding.

    async def discover(
        self, service: str, *, namespace: str | None = None, min_revision: int = 0
    ) -> Discovery:
        """Return the instances of `service` that may be sent traffic.

        A subscribed service is answered from the process's own view, without I/O, if the view is
        at least as new as `min_revision`. Otherwise the registry is asked; if no registry can be
        reached, the process's view or else the host snapshot answers, and says so by its rung and
        age. With a snapshot to turn to, the registry is given 1 s.

        Args:
            service: "name", or "name.namespace".
            min_revision: wait until the answer is at least this new (read your own writes).

        Raises:
            NotFound: the service is neither described nor has instances.
            Unavailable: no registry can be reached and nothing is known of the service, or
                nothing as new as `min_revision`.
        """
        self._check_open()
        key = self.service_key(service, namespace)
        follower = self._subscribed.get(key)
        held = follower is not None and follower.cache.filled
        if follower is not None and held and follower.cache.revision >= min_revision:
            return _from_cache(key, follower)
        request = v1.DiscoverRequest(
            namespace=key.namespace, service=key.name, min_revision=self._least(min_revision)
        )
        deadline = self._connection.deadline()
        if self._snapshot_dir is not None and not min_revision:
            deadline = deadline.at_most(PATIENCE_SECONDS)
        try:
            response = await self._connection.call(DISCOVER, request, deadline=deadline)
        except Unavailable:
            found = await self._from_snapshot(key)
            if found is None or found.revision < min_revision:
                raise
            return found
        instances = tuple(instance_from_proto(one) for one in response.instances)
        found_service = service_from_proto(response.service)
        return Discovery(found_service, instances, response.revision, 0.0, Rung.REGISTRY)

    async def subscribe(self, *services: str, namespace: str | None = None) -> None:
        """Keep services in the local cache, so that `pick` and `discover` answer without I/O.

        Returns when all are cached. With no registry reachable the host snapshot fills the cache,
        and the watch is taken up in the background when a registry returns. Each call opens one
        watch stream for each namespace, so name many services in one call.

        Args:
            services: "name", or "name.namespace"; naming one again does nothing.

        Raises:
            InvalidInput: a name cannot be. Nothing is subscribed then.
            NotAllowed: the registry or the gateway refuses. Nothing is subscribed then.
            LimitReached: the client has 500 watch streams already.
            Unavailable: no registry was reachable in time and no snapshot holds them. The
                subscription stays; the background keeps trying.
        """
        self._check_open()
        keys = [self.service_key(service, namespace) for service in services]
        fresh: dict[str, list[str]] = {}
        for key in dict.fromkeys(keys):
            if key not in self._subscribed:
                fresh.setdefault(key.namespace, []).append(key.name)
        if fresh and len(self._subscriptions.followers) + len(fresh) > STREAMS_MAX:
            raise LimitReached(
                f"this client has {STREAMS_MAX} watch streams: subscribe to more services at once"
            )
        for space, names in fresh.items():
            follower = self._subscriptions.follow(Scope(space, tuple(names)))
            self._subscribed.update({ServiceKey(space, name): follower for name in names})
        wanted = list(dict.fromkeys(self._subscribed[key] for key in keys))
        try:
            await self._subscriptions.filled(wanted, self._connection.deadline())
        except (InvalidInput, NotAllowed):
            for key in keys:
                self._subscribed.pop(key, None)
            raise

    def subscribed(self, service: str, *, namespace: str | None = None) -> bool:
        """Return whether a service is in the local cache. No I/O; any thread."""
        follower = self._subscribed.get(self.service_key(service, namespace))
        return follower is not None and follower.cache.filled

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
            service: "name", or "name.namespace".
            exclude: ids of instances already tried; ignored once nothing else is left.

        Raises:
            NoInstance: the service is not subscribed, or nothing of it may be sent traffic.
        """
        if self._closed:
            raise ClientClosed(self._closed)
        key = self.service_key(service, namespace)
        view = self._subscribed_view(key)
        chosen = self.balancer(key).pick(view, frozenset(exclude)) if view is not None else None
        if chosen is None:
            raise NoInstance(self._why_none(key, view))
        return chosen

    def balancer(self, key: ServiceKey) -> Balancer:
        """Return the choosing state of a service; transports count requests in it."""
        return self._balancers.setdefault(key, Balancer(draw))

    def watch(
        self, service: str | None = None, namespace: str | None = None, *, resume_revision: int = 0
    ) -> AsyncGenerator[Change, None]:
        """Yield changes of a service, or of a whole namespace, until the iterator is closed.

        First everything that is there, as "put" changes; then each change as it happens, none
        missed and none twice, across reconnections. Slow readers hold the stream back and do not
        grow memory; one that the registry has given up on gets what changed since, without the
        steps in between.

        Args:
            service: "name" or "name.namespace"; None watches all services of the namespace.
            namespace: None means the client's; "" means all namespaces.
            resume_revision: leave out what happened up to this revision, which the caller holds
                already; 0 begins with the full state.

        Raises:
            InvalidInput: an argument cannot be.
        """
        self._check_open()
        scope = Scope(self._namespace if namespace is None else namespace)
        if service is not None:
            key = self.service_key(service, namespace or None)
            scope = Scope(key.namespace, (key.name,))
        check_int("resume_revision", resume_revision, 0, 2**63 - 1)
        follower = Follower(
            self._connection, scope, subscriber=f"{self._name} (watch)", acknowledge=True
        )
        if resume_revision:
            follower.cache.resume_at(resume_revision)
        return _each(follower)

    def mirror(
        self, namespaces: Iterable[str] | None = None, *, acknowledge: bool = False
    ) -> AsyncMirror:
        """Return a mirror of whole namespaces; use it as `async with client.mirror() as mirror:`.

        Args:
            namespaces: None means all.
            acknowledge: whether a revision counts as applied once it is in the mirror. Otherwise
                call `AsyncMirror.applied`, or `await_applied` waits for this mirror in vain.
        """
        self._check_open()
        wanted = ("",) if namespaces is None else tuple(dict.fromkeys(namespaces))
        replica = Replica(
            self._connection,
            subscriber=self._name,
            snapshot_dir=self._snapshot_dir,
            complete=namespaces is None,
            acknowledge=acknowledge,
        )
        mirror = AsyncMirror(replica, wanted, self._connection.deadline)
        self._mirrors.add(mirror)
        return mirror

    # Private parts.

    def bind_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop this client belongs to, for calls from outside of it."""
        self._loop = loop

    def abandon(self, why: str) -> None:
        """Refuse every later call: the loop and connection belong to another process."""
        self._closed = why
        self._connection.abandon(why)

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed(self._closed)

    def _subscribed_view(self, key: ServiceKey) -> ServiceView | None:
        follower = self._subscribed.get(key)
        return follower.cache.service(key) if follower is not None else None

    def _why_none(self, key: ServiceKey, view: ServiceView | None) -> str:
        follower = self._subscribed.get(key)
        if follower is None:
            return f"service {key} is not subscribed: await client.subscribe({str(key)!r}) first"
        if not follower.cache.filled:
            return f"nothing is known of service {key} yet: {follower.cache.degraded}"
        if view is None:
            return f"service {key.name} in namespace {key.namespace} is not registered"
        return f"service {key} has {len(view.instances)} instances, none may be sent traffic"

    async def _from_snapshot(self, key: ServiceKey) -> Discovery | None:
        if self._snapshot_dir is None:
            return None
        view = await asyncio.to_thread(HostSnapshot(self._snapshot_dir).view)
        held = view.services.get(key) if view is not None else None
        if view is None or held is None:
            return None
        return _discovery(held, view.revision, view.age_seconds, Rung.SNAPSHOT)


def _from_cache(key: ServiceKey, follower: Follower) -> Discovery:
    cache = follower.cache
    view = cache.service(key)
    if view is None:
        raise NotFound(f"service {key.name} in namespace {key.namespace} is not registered")
    return _discovery(view, cache.revision, follower.age_seconds, cache.rung)


def _discovery(view: ServiceView, revision: int, age_seconds: float, rung: Rung) -> Discovery:
    eligible = tuple(instance for instance in view.instances if instance.eligible)
    return Discovery(view.service, eligible, revision, age_seconds, rung)


async def _each(follower: Follower) -> AsyncGenerator[Change, None]:
    async for changes in follower.changes():
        for change in changes:
            yield change


def _default_name() -> str:
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return f"{program} on {socket.gethostname()}, pid {os.getpid()}"[:200]
