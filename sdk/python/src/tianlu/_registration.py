"""One instance that a client registered."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from tianlu._channel import Connection
from tianlu._convert import instance_from_proto, instance_to_proto, status_to_proto
from tianlu._errors import Conflict, NotFound, SessionLost, TianluError
from tianlu._input import check_metadata, check_seconds, check_weight
from tianlu._model import Instance, InstanceStatus
from tianlu._proto.v1 import catalog_pb2
from tianlu._retry import Deadline
from tianlu._rpc import AWAIT_APPLIED, DEREGISTER, REGISTER, UPDATE_INSTANCE

_log: Final = logging.getLogger(__name__)

DRAIN_SECONDS_DEFAULT: Final = 3.0
DRAIN_SECONDS_MAX: Final = 3600.0

APPLIED_SECONDS_MAX: Final = 2.0
"""How long a deregistration waits for subscribers to notice that the instance drains. One that has
not noticed by then is not waited for: it meets a closed port and retries elsewhere."""

TAKEOVER_SECONDS_MAX: Final = 1.5
"""How long a registration waits for another session to let go of the instance. The registry calls
the session of a killed process suspect within 1 s, and then its instances can be taken over."""

AGAIN_SECONDS: Final = 0.1
"""Pause before a registration that was refused for a passing reason is tried again."""


class SessionHolder(Protocol):
    """What a registration needs of the client's session. Same event loop."""

    async def held_session(self, deadline: Deadline) -> int:
        """Return the id of a live session; see `tianlu._registrar.Registrar.held_session`."""
        ...

    def forget(self, registration: AsyncRegistration) -> None:
        """Stop keeping `registration`."""
        ...

    def remove_later(self, request: catalog_pb2.DeregisterRequest) -> None:
        """Make a deregistration as soon as a registry takes it."""
        ...


class AsyncRegistration:
    """An instance that this client registered; made by `AsyncClient.register`.

    It stays registered, across lost sessions and restarted registries, until it is deregistered
    or the client is closed.
    """

    def __init__(self, holder: SessionHolder, connection: Connection, instance: Instance) -> None:
        self._holder = holder
        self._connection = connection
        self._wanted = instance
        self._instance = instance
        self._revision = 0
        self._changing = asyncio.Lock()
        self._over = False

    @property
    def instance(self) -> Instance:
        """The instance as the registry last answered it."""
        return self._instance

    @property
    def revision(self) -> int:
        """The revision of the last change; pass it as `min_revision` to read it back."""
        return self._revision

    @property
    def session_id(self) -> int:
        """The session that it is registered under; 0 if it is not."""
        return self._instance.session_id

    async def update(
        self,
        *,
        status: InstanceStatus | None = None,
        weight: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Instance:
        """Change what the owner says of the instance. What is None stays as it is.

        Args:
            weight: 0 to 10000.
            metadata: replaces all metadata.

        Raises:
            InvalidInput: an argument cannot be.
            Unavailable: no registry in time. The change is kept, and made when the session is
                next registered anew.
        """
        request = catalog_pb2.UpdateInstanceRequest(
            namespace=self._wanted.namespace,
            service=self._wanted.service,
            id=self._wanted.id,
            session_id=self.session_id,
        )
        wanted = self._wanted
        if status is not None:
            wanted = dataclasses.replace(wanted, status=InstanceStatus(status))
            request.status = status_to_proto(wanted.status)
        if weight is not None:
            wanted = dataclasses.replace(wanted, weight=check_weight(weight))
            request.weight = wanted.weight
        if metadata is not None:
            kept = MappingProxyType(dict(check_metadata(metadata)))
            wanted = dataclasses.replace(wanted, metadata=kept)
            request.metadata.update(kept)
            request.replace_metadata = True
        self._wanted = wanted
        async with self._changing:
            try:
                response = await self._connection.call(UPDATE_INSTANCE, request)
            except NotFound:
                pass  # The session ended: the registration below carries the change.
            else:
                self._instance = instance_from_proto(response.instance)
                self._revision = response.revision
                return self._instance
        await self.put(self._connection.deadline())
        return self._instance

    async def deregister(self, drain_seconds: float = DRAIN_SECONDS_DEFAULT) -> None:
        """Take the instance out of service without losing requests, then remove it.

        Sets it DRAINING, waits until its subscribers have applied that (at most 2 s), waits
        `drain_seconds` for requests under way, and removes it. Failing to reach the registry is
        logged, not raised: it is tried again in the background until a registry has done it or
        the session, and the instance with it, has ended. Calling it again does nothing.

        Args:
            drain_seconds: 0 to 3600; 0 removes it at once.
        """
        check_seconds("drain_seconds", drain_seconds, 0, DRAIN_SECONDS_MAX)
        if drain_seconds > 0:
            await self._drain(drain_seconds)
        self._holder.forget(self)
        async with self._changing:
            self._over = True
            session_id, self._instance = self.session_id, _ended(self._instance)
            if not session_id:
                return
            request = self.removal(session_id)
            try:
                response = await self._connection.call(DEREGISTER, request)
                self._revision = response.revision
            except NotFound:
                pass  # The session ended, or an operator was faster.
            except TianluError as error:
                _log.warning("instance.deregister_failed id=%s error=%s", self._wanted.id, error)
                if error.retryable:
                    self._holder.remove_later(request)

    def is_same_as(self, other: AsyncRegistration) -> bool:
        """Whether both are about one instance."""
        return self.removal(0) == other.removal(0)

    def removal(self, session_id: int) -> catalog_pb2.DeregisterRequest:
        """Return the request that removes it from a session."""
        return catalog_pb2.DeregisterRequest(
            namespace=self._wanted.namespace,
            service=self._wanted.service,
            id=self._wanted.id,
            session_id=session_id,
        )

    async def put(self, deadline: Deadline) -> None:
        """Write the instance as wanted under the client's present session. Does nothing once it was
        deregistered: whoever wants to register it again may have waited for that.

        Raises:
            TianluError: it could not be written before the deadline.
        """
        async with self._changing:
            if self._over:
                return
            takeover = Deadline.after(TAKEOVER_SECONDS_MAX)
            while True:
                session_id = await self._holder.held_session(deadline)
                request = catalog_pb2.RegisterRequest(
                    session_id=session_id, instance=instance_to_proto(self._wanted)
                )
                try:
                    response = await self._connection.call(REGISTER, request, deadline=deadline)
                    break
                except NotFound as error:
                    # The session ended between the two calls; its keeper is about to notice.
                    if deadline.remaining() <= AGAIN_SECONDS:
                        raise SessionLost(f"no new session in time: {error}") from error
                except Conflict:
                    # A process that was killed and restarted is faster than the registry.
                    if min(deadline.remaining(), takeover.remaining()) <= AGAIN_SECONDS:
                        raise
                await asyncio.sleep(AGAIN_SECONDS)
            self._instance = instance_from_proto(response.instance)
            self._revision = response.revision

    async def _drain(self, drain_seconds: float) -> None:
        try:
            await self.update(status=InstanceStatus.DRAINING)
            request = catalog_pb2.AwaitAppliedRequest(
                namespace=self._wanted.namespace,
                service=self._wanted.service,
                revision=self._revision,
                timeout_ms=round(APPLIED_SECONDS_MAX * 1000),
            )
            applied = await self._connection.call(
                AWAIT_APPLIED, request, deadline=Deadline.after(APPLIED_SECONDS_MAX + 1.0)
            )
            if not applied.reached:
                _log.info(
                    "instance.drain_unnoticed id=%s subscribers=%d applied=%d",
                    self._wanted.id,
                    applied.subscribers,
                    applied.applied,
                )
        except TianluError as error:
            _log.warning("instance.drain_failed id=%s error=%s", self._wanted.id, error)
        await asyncio.sleep(drain_seconds)


def _ended(instance: Instance) -> Instance:
    return dataclasses.replace(instance, session_id=0, status=InstanceStatus.DOWN)
