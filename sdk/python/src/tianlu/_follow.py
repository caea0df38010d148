"""Follows a part of the catalogue: keeps one watch stream open and a `CatalogCache` fed from it.

`Follower.changes` is the one loop: open the stream, resume after the revision held, apply what
comes, reopen when it breaks. Whoever iterates paces the stream: what is not read stays in HTTP/2
flow control and in the registry's bounded backlog, never in this process's memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from tianlu._cache import Batch, CatalogCache
from tianlu._channel import Connection
from tianlu._convert import instance_from_proto, service_from_proto
from tianlu._errors import (
    Compacted,
    InvalidInput,
    NotAllowed,
    ProtocolError,
    TianluError,
    Unavailable,
)
from tianlu._proto.v1 import catalog_pb2
from tianlu._retry import STREAM_WAIT, draw
from tianlu._rpc import WATCH
from tianlu._stream import Stream
from tianlu._view import Change, ChangeKind, ServiceKey

_log: Final = logging.getLogger(__name__)

_Watch: TypeAlias = Stream[catalog_pb2.WatchRequest, catalog_pb2.WatchResponse]

SILENCE_SECONDS: Final = 30.0
"""Ten bookmarks of a registry with default settings. Pings catch a host that is gone long before;
this catches a registry whose connections live while it does not answer."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What to follow.

    Attributes:
        namespace: "" means all namespaces.
        services: empty means all of the namespace.
    """

    namespace: str
    services: tuple[str, ...] = ()


class Follower:
    """One watch stream and the cache that it feeds. Belongs to one event loop.

    Args:
        subscriber: who watches, for people.
        acknowledge: tell the registry that a revision is in effect as soon as whoever iterates
            `changes` comes back for more.
        silence_seconds: a stream without even a bookmark for so long is given up.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        connection: Connection,
        scope: Scope,
        *,
        subscriber: str,
        acknowledge: bool,
        silence_seconds: float = SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scope: Final = scope
        self.cache: Final = CatalogCache()
        self._connection = connection
        self._subscriber = subscriber
        self._acknowledge = acknowledge
        self._silence_seconds = silence_seconds
        self._clock = clock
        self._stream: _Watch | None = None
        self._writing = asyncio.Lock()
        self._failures = 0
        self._snapshot_needed = False

    @property
    def age_seconds(self) -> float:
        return self.cache.age_seconds(self._clock())

    async def changes(self) -> AsyncGenerator[tuple[Change, ...], None]:
        """Yield what each message of the watch changed, for ever.

        An empty tuple says that only the revision, or the standing (`cache.degraded`), changed.

        Raises:
            InvalidInput, NotAllowed: the registry refuses the watch; trying again cannot help.
        """
        while True:
            try:
                async for changes in self._one_stream():
                    yield changes
                    if self._acknowledge:
                        await self.applied(self.cache.revision)
                self._break(Unavailable("the registry ended the watch"))
            except (InvalidInput, NotAllowed) as error:
                if not self.cache.synced and not error.retryable:
                    raise
                self._break(error)
            except (Compacted, ProtocolError) as error:
                self._snapshot_needed = True
                self._break(error)
            except TianluError as error:
                self._break(error)
            except Exception as error:  # noqa: BLE001 -- the watch's supervisor
                # Ended silently, what is held would look current for ever.
                _log.exception("watch.failed scope=%s", self.scope)
                self._snapshot_needed = True
                self._break(ProtocolError(f"the watch failed: {error!r}"))
            yield ()
            self._failures += 1
            await asyncio.sleep(STREAM_WAIT.seconds(self._failures, draw()))
            yield self.cache.expire(self._clock())

    async def applied(self, revision: int) -> None:
        """Acknowledge a revision. Does nothing while the watch is down."""
        stream = self._stream
        if stream is None:
            return
        ack = catalog_pb2.WatchAck(applied_revision=revision)
        async with self._writing:
            # The reader meets the same break and reports it.
            with contextlib.suppress(TianluError):
                await stream.write(catalog_pb2.WatchRequest(ack=ack))

    async def _one_stream(self) -> AsyncGenerator[tuple[Change, ...], None]:
        stream: _Watch = await self._connection.stream(WATCH)
        try:
            await stream.write(catalog_pb2.WatchRequest(create=self._create()))
            self._stream = stream
            while (response := await stream.read(self._silence_seconds)) is not None:
                changes = self.cache.apply(decode(response), self._clock())
                self._failures = 0
                self._connection.served(stream.endpoint)
                if not response.snapshot or response.snapshot_end:
                    self._snapshot_needed = False
                    yield (*changes, *self.cache.expire(self._clock()))
            self._connection.turn_from(stream.endpoint)
        except (Unavailable, ProtocolError):
            self._connection.turn_from(stream.endpoint)
            raise
        finally:
            self._stream = None
            stream.cancel()

    def _create(self) -> catalog_pb2.WatchCreate:
        resume = self.cache.synced and not self._snapshot_needed
        return catalog_pb2.WatchCreate(
            namespace=self.scope.namespace,
            services=self.scope.services,
            resume_revision=self.cache.revision if resume else 0,
            subscriber=self._subscriber,
        )

    def _break(self, error: TianluError) -> None:
        if not self.cache.degraded:
            _log.warning("watch.broken revision=%d error=%s", self.cache.revision, error)
        self.cache.lost(str(error), self._clock())


def decode(response: catalog_pb2.WatchResponse) -> Batch:
    """Decode a message of the watch.

    Raises:
        ProtocolError: it has an event of no known kind.
    """
    return Batch(
        revision=response.revision,
        changes=tuple(_decode_event(event) for event in response.events),
        snapshot=response.snapshot,
        snapshot_end=response.snapshot_end,
    )


def _decode_event(event: catalog_pb2.CatalogEvent) -> Change:
    match event.WhichOneof("change"):
        case "instance_put":
            instance = instance_from_proto(event.instance_put)
            key = ServiceKey(instance.namespace, instance.service)
            return Change(ChangeKind.PUT, event.revision, key, instance.id, instance=instance)
        case "instance_removed":
            gone = event.instance_removed
            key = ServiceKey(gone.namespace, gone.service)
            return Change(ChangeKind.REMOVED, event.revision, key, gone.id)
        case "service_put":
            service = service_from_proto(event.service_put)
            key = ServiceKey(service.namespace, service.name)
            return Change(ChangeKind.PUT, event.revision, key, service=service)
        case "service_removed":
            key = ServiceKey(event.service_removed.namespace, event.service_removed.name)
            return Change(ChangeKind.REMOVED, event.revision, key)
    raise ProtocolError("the registry sent an event of a kind that this release does not know")
