"""Deregistrations that no registry could take yet, made again until one did.

The session that an instance was registered under lives on while its client does, and would keep an
instance listed that its owner has ended. So a deregistration that failed is tried again in the
background until a registry has done it, or the session is over and the instance gone with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeAlias

from tianlu._channel import Connection
from tianlu._errors import NotFound, TianluError, Unavailable
from tianlu._proto.v1 import catalog_pb2
from tianlu._retry import STREAM_WAIT, Deadline, draw
from tianlu._rpc import DEREGISTER

_log: Final = logging.getLogger(__name__)

ATTEMPT_SECONDS: Final = 5.0
"""Deadline of one attempt."""

_Key: TypeAlias = tuple[str, str, str]


class Removals:
    """The deregistrations of one client that are still to be made; at most one per instance.

    Args:
        session_id: says the client's present session; what was registered under another is gone.
    """

    def __init__(self, connection: Connection, session_id: Callable[[], int]) -> None:
        self._connection = connection
        self._session_id = session_id
        self._tasks: dict[_Key, asyncio.Task[None]] = {}

    def add(self, request: catalog_pb2.DeregisterRequest) -> None:
        """Make this deregistration as soon as a registry takes it."""
        key = (request.namespace, request.service, request.id)
        if key not in self._tasks:
            task = asyncio.create_task(self._remove(request), name="tianlu deregister")
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
            self._tasks[key] = task

    async def made(self, namespace: str, service: str, id_: str, deadline: Deadline) -> None:
        """Wait until nothing is left to be removed under this name: a removal that comes late
        would remove what is registered anew.

        Raises:
            Unavailable: not before the deadline.
        """
        task = self._tasks.get((namespace, service, id_))
        if task is None:
            return
        await asyncio.wait({task}, timeout=deadline.remaining())
        if not task.done():
            raise Unavailable(f"instance {id_} is still to be deregistered first: no registry")

    async def close(self) -> None:
        """Give all of them up: the session is about to be ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _remove(self, request: catalog_pb2.DeregisterRequest) -> None:
        attempt = 0
        while request.session_id == self._session_id():
            attempt += 1
            await asyncio.sleep(STREAM_WAIT.seconds(attempt, draw()))
            try:
                await self._connection.call(
                    DEREGISTER, request, deadline=Deadline.after(ATTEMPT_SECONDS)
                )
            except NotFound:
                return
            except TianluError as error:
                if error.retryable:
                    continue
                _log.warning("instance.deregister_refused id=%s error=%s", request.id, error)
                return
            _log.info("instance.deregistered_late id=%s attempts=%d", request.id, attempt)
            return
