"""The store as the clients of this node get it: etcd is asked with their own tokens.

Calls carry the token of whoever is served. Watches and renewals of all who have the same token
share a stream to etcd, which goes when nobody needs it any more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from tianlu._proto.etcd.rpc_pb2 import LeaseKeepAliveResponse, ResponseHeader
from tianlu_registry.engine.etcd import EtcdStore
from tianlu_registry.engine.etcd_calls import EtcdCalls
from tianlu_registry.engine.etcd_identity import Caller
from tianlu_registry.engine.etcd_lease import EtcdKeepAlive, renew
from tianlu_registry.engine.etcd_requests import EtcdRequests
from tianlu_registry.engine.etcd_watch import EtcdWatcher, EtcdWatchStream
from tianlu_registry.engine.store import StoreStatus
from tianlu_registry.mvcc.types import WatchSink, WatchSpec

KEEP_ALIVES_MAX: Final = 256
"""Streams for renewals; the one not used for longest is closed for another token's."""


class CallersEtcdStore(EtcdRequests):
    """Implements `engine.store.Store` for callers, on the connections of the node's own store.

    Args:
        own: what it stands on; closed by its owner, after this.
        token: returns the token of whoever is being served.
    """

    def __init__(self, own: EtcdStore, token: Callable[[], str | None]) -> None:
        calls = own.calls
        self._caller = Caller(token, self._nobody_is_asked_for)
        super().__init__(EtcdCalls(calls.channels, calls.timeout_seconds, self._caller))
        self._own = own
        self._streams: dict[str | None, tuple[EtcdWatchStream, asyncio.Task[None]]] = {}
        self._keep_alives: OrderedDict[str | None, EtcdKeepAlive] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End the watches of all callers with `Stopped`."""
        for stream, task in self._streams.values():
            task.cancel()
            stream.close()
        tasks = [task for _, task in self._streams.values()]
        self._streams.clear()
        await asyncio.gather(*tasks, *self._closing, return_exceptions=True)
        for keep_alive in self._keep_alives.values():
            await keep_alive.close()

    def note(self, response: Any) -> None:  # noqa: ANN401 - see the parent's
        self._own.note(response)

    def note_compaction(self, revision: int) -> None:
        self._own.note_compaction(revision)

    def header(self) -> ResponseHeader:
        return self._own.header()

    def status(self) -> StoreStatus:
        return self._own.status()

    def watch(self, spec: WatchSpec, sink: WatchSink) -> EtcdWatcher:
        """Start a watch. What etcd has against it is told by `WatchSink.ended`, not raised.

        Raises:
            UserEmpty: see `Caller`.
        """
        token = self._caller.checked()
        self._end_idle(token)
        found = self._streams.get(token)
        if found is None or found[1].done():
            stream = EtcdWatchStream(
                self.calls.channels, lambda: self._own.header().revision, self._bearer_of(token)
            )
            task = asyncio.create_task(stream.run(), name="etcd-callers-watch")
            found = self._streams[token] = stream, task
        return found[0].watch(spec, sink)

    async def lease_keep_alive(self, lease_id: int) -> LeaseKeepAliveResponse:
        token = self._caller.checked()
        response = await renew(self.calls, lambda: self._keep_alive_of(token), lease_id)
        self.note(response)
        return response

    async def lease_keep_alives(self, lease_ids: Sequence[int]) -> list[LeaseKeepAliveResponse]:
        return await asyncio.gather(*(self.lease_keep_alive(lease_id) for lease_id in lease_ids))

    def _nobody_is_asked_for(self) -> bool:
        return not self._own.knows_by_certificate

    def _bearer_of(self, token: str | None) -> Caller:
        return Caller(lambda: token, self._nobody_is_asked_for)

    def _end_idle(self, wanted: str | None) -> None:
        """End the streams of tokens with which nobody watches any more."""
        idle = [token for token, (stream, _) in self._streams.items() if stream.is_idle]
        for token in idle:
            if token != wanted:
                self._streams.pop(token)[1].cancel()

    def _keep_alive_of(self, token: str | None) -> EtcdKeepAlive:
        keep_alive = self._keep_alives.pop(token, None)
        if keep_alive is None:
            keep_alive = EtcdKeepAlive(self.calls.channels, self._bearer_of(token))
        self._keep_alives[token] = keep_alive  # at the end: used last
        if len(self._keep_alives) > KEEP_ALIVES_MAX:
            _, oldest = self._keep_alives.popitem(last=False)
            task = asyncio.create_task(oldest.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return keep_alive
