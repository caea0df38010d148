"""The registry's raw key-value API, as etcd v3 defines it.

Source: etcd, api/etcdserverpb/rpc.proto. Keys and values are bytes; text is encoded as UTF-8.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from tianlu._channel import Connection
from tianlu._endpoint import Endpoint
from tianlu._errors import (
    Compacted,
    InvalidInput,
    NotFound,
    ProtocolError,
    Unauthenticated,
    Unavailable,
    from_rpc,
)
from tianlu._input import check_int
from tianlu._key_range import Bytes, key_range, to_bytes
from tianlu._key_value import KeyChange, KeyRange, KeyValue, Lease, TxnResult
from tianlu._proto.etcd import kv_pb2
from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._retry import CALL_WAIT, STREAM_WAIT, Deadline, draw
from tianlu._rpc import (
    KV_COMPACT,
    KV_DELETE,
    KV_PUT,
    KV_RANGE,
    KV_TXN,
    KV_WATCH,
    LEASE_GRANT,
    LEASE_KEEP_ALIVE,
    LEASE_REVOKE,
    LEASE_TIME_TO_LIVE,
)
from tianlu._view import ChangeKind

_LEASE_SECONDS_MAX: Final = 9_000_000_000

_FUTURE: Final = "is a future revision"
_PASSING: Final = frozenset(
    {"etcdserver: no leader", "etcdserver: server stopped", "etcdserver: leader changed"}
)
"""Reasons for which a node ends a watch that another node can go on with.

Source: etcd, api/v3rpc/rpctypes/error.go.
"""

_GO_STATUS: Final = re.compile(r"rpc error: code = (\w+) desc = (.*)", re.DOTALL)
"""How etcd writes a refusal where there is room for a text only: as Go's gRPC library prints it."""


class AsyncKv:
    """etcd v3 calls on the registry; `AsyncClient.kv`.

    Reads and renewals are repeated on other endpoints when one fails. Writes are not, unless it is
    certain that they were not done; otherwise the error is `OutcomeUnknown`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(
        self,
        key: Bytes,
        *,
        prefix: bool = False,
        range_end: Bytes | None = None,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        serializable: bool = False,
    ) -> KeyRange:
        """Return a key, or the keys of a range, in order.

        Args:
            prefix: all keys that begin with `key`; with an empty key, all keys.
            range_end: all keys from `key` up to, not including, this one.
            revision: as of this revision; 0 means now.
            limit: at most so many; 0 means all.
            serializable: let the node answer from what it has; may be stale, needs no majority
                unless `revision` is newer than what the node has.

        Raises:
            Compacted: the revision is gone or still to come.
        """
        start, end = key_range(key, prefix, range_end)
        request = etcd.RangeRequest(
            key=start,
            range_end=end,
            revision=revision,
            limit=limit,
            keys_only=keys_only,
            count_only=count_only,
            serializable=serializable,
        )
        try:
            response = await self._connection.call(KV_RANGE, request)
        except Compacted as error:
            if not serializable or not revision or _FUTURE not in str(error):
                raise
            # This node has not got there yet: it may be asked to catch up with the majority.
            request.serializable = False
            response = await self._connection.call(KV_RANGE, request)
        return KeyRange(
            tuple(_item(one) for one in response.kvs),
            response.count,
            response.more,
            response.header.revision,
        )

    async def put(self, key: Bytes, value: Bytes, *, lease: int = 0) -> int:
        """Write a key. Returns the revision.

        Args:
            lease: the key ends with this lease; 0 for none.

        Raises:
            NotFound: there is no such lease.
        """
        request = etcd.PutRequest(key=to_bytes(key), value=to_bytes(value), lease=lease)
        return (await self._connection.call(KV_PUT, request)).header.revision

    async def delete(
        self, key: Bytes, *, prefix: bool = False, range_end: Bytes | None = None
    ) -> int:
        """Delete a key or a range. Returns how many keys it deleted."""
        start, end = key_range(key, prefix, range_end)
        request = etcd.DeleteRangeRequest(key=start, range_end=end)
        return (await self._connection.call(KV_DELETE, request)).deleted

    async def txn(
        self,
        compare: Sequence[etcd.Compare],
        success: Sequence[etcd.RequestOp],
        failure: Sequence[etcd.RequestOp] = (),
    ) -> TxnResult:
        """Do `success` if every comparison holds, else `failure`, as one revision.

        The parts are etcd's messages, from `tianlu.etcd`.
        """
        request = etcd.TxnRequest(compare=compare, success=success, failure=failure)
        response = await self._connection.call(KV_TXN, request)
        return TxnResult(response.succeeded, tuple(response.responses), response.header.revision)

    async def compact(self, revision: int, *, physical: bool = False) -> int:
        """Forget history before `revision`. Returns the store's revision.

        Args:
            physical: answer only once the space has been given back.

        Raises:
            Compacted: it is compacted already, or still to come.
        """
        request = etcd.CompactionRequest(revision=revision, physical=physical)
        return (await self._connection.call(KV_COMPACT, request)).header.revision

    async def watch(
        self,
        key: Bytes,
        *,
        prefix: bool = False,
        range_end: Bytes | None = None,
        start_revision: int = 0,
        previous: bool = False,
    ) -> AsyncGenerator[KeyChange, None]:
        """Yield changes of a key or range, none missed and none twice, across reconnections.

        Args:
            start_revision: begin with this revision; 0 means with the next change.
            previous: give each change what was there before.

        Raises:
            Compacted: changes since the last one yielded have been compacted away.
        """
        start, end = key_range(key, prefix, range_end)
        request = etcd.WatchCreateRequest(
            key=start, range_end=end, start_revision=start_revision, prev_kv=previous
        )
        failures = 0
        while True:
            try:
                async for response in self._watch_once(request):
                    failures = 0
                    for event in response.events:
                        yield _change(event)
                    request.start_revision = response.events[-1].kv.mod_revision + 1
            except (Unavailable, ProtocolError):
                failures += 1
            await asyncio.sleep(STREAM_WAIT.seconds(max(1, failures), draw()))

    async def lease_grant(self, ttl_seconds: int, *, id: int = 0) -> Lease:  # noqa: A002
        """Make a lease. Keys put with it are deleted when it ends.

        Args:
            ttl_seconds: 1 to 9,000,000,000; the registry may grant more.
            id: 0 lets the registry choose.
        """
        check_int("ttl_seconds", ttl_seconds, 1, _LEASE_SECONDS_MAX)
        request = etcd.LeaseGrantRequest(TTL=ttl_seconds, ID=id)
        response = await self._connection.call(LEASE_GRANT, request)
        return Lease(response.ID, response.TTL, response.TTL)

    async def lease_revoke(self, id: int) -> None:  # noqa: A002
        """End a lease and delete its keys.

        Raises:
            NotFound: there is no such lease.
        """
        await self._connection.call(LEASE_REVOKE, etcd.LeaseRevokeRequest(ID=id))

    async def lease_keep_alive(self, id: int) -> Lease:  # noqa: A002
        """Renew a lease once.

        Raises:
            NotFound: there is no such lease.
        """
        deadline = self._connection.deadline()
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._renew_once(id, self._connection.share(deadline))
                break
            except Unavailable:
                pause = CALL_WAIT.seconds(attempt, draw())
                if deadline.remaining() <= pause:
                    raise
                await asyncio.sleep(pause)
        if response.TTL <= 0:
            raise NotFound(f"lease {id:x} does not exist")
        return Lease(response.ID, response.TTL, response.TTL)

    async def lease_time_to_live(self, id: int, *, keys: bool = False) -> Lease:  # noqa: A002
        """Return how long a lease has left, and with `keys` what is attached to it."""
        request = etcd.LeaseTimeToLiveRequest(ID=id, keys=keys)
        response = await self._connection.call(LEASE_TIME_TO_LIVE, request)
        return Lease(response.ID, response.grantedTTL, response.TTL, tuple(response.keys))

    async def _renew_once(
        self,
        id: int,  # noqa: A002
        timeout_seconds: float,
    ) -> etcd.LeaseKeepAliveResponse:
        """Renew over a stream of its own, on one endpoint.

        Raises:
            Unavailable: it did not answer; the next attempt is made elsewhere.
        """
        deadline = Deadline.after(timeout_seconds)
        stream = await self._connection.stream(LEASE_KEEP_ALIVE)
        try:
            async with asyncio.timeout(deadline.remaining()):
                await stream.write(etcd.LeaseKeepAliveRequest(ID=id))
                response = await stream.read()
        except TimeoutError:
            self._connection.turn_from(stream.endpoint)
            raise Unavailable(f"registry at {stream.endpoint}: no answer in time") from None
        except Unavailable:
            self._connection.turn_from(stream.endpoint)
            raise
        finally:
            stream.cancel()
        if response is None:
            self._connection.turn_from(stream.endpoint)
            raise Unavailable(f"registry at {stream.endpoint}: ended the renewal")
        return response

    async def _watch_once(
        self, request: etcd.WatchCreateRequest
    ) -> AsyncGenerator[etcd.WatchResponse, None]:
        """Yield the answers of one stream; ends when the registry ends it."""
        stream = await self._connection.stream(KV_WATCH)
        try:
            await stream.write(etcd.WatchRequest(create_request=request))
            while (response := await stream.read()) is not None:
                try:
                    _check_goes_on(response, stream.endpoint)
                except Unauthenticated as error:
                    await stream.begin_again(error)
                    continue
                if response.created and not request.start_revision:
                    # A reconnection must not skip what happens from now on.
                    request.start_revision = response.header.revision + 1
                if response.events:
                    yield response
        except Unavailable:
            self._connection.turn_from(stream.endpoint)
            raise
        finally:
            stream.cancel()


def _check_goes_on(response: etcd.WatchResponse, endpoint: Endpoint) -> None:
    """Raise what a message says of the end of the watch, if it says so.

    Raises:
        Compacted: what it would go on with has been compacted away.
        Unavailable: this node cannot go on; another can.
        Unauthenticated, PermissionDenied: the registry does not know who watches, or he may not.
        InvalidInput: the watch is refused.
    """
    if response.compact_revision:
        oldest = response.compact_revision
        raise Compacted(f"the revision has been compacted; the oldest is {oldest}")
    if not response.canceled:
        return
    reason = response.cancel_reason
    if reason in _PASSING:
        raise Unavailable(f"registry at {endpoint}: {reason}")
    if status := _GO_STATUS.fullmatch(reason):
        code = re.sub(r"\B(?=[A-Z])", "_", status[1]).upper()
        raise from_rpc(code, status[2], endpoint=str(endpoint))
    raise InvalidInput("", reason or "the watch was refused")


def _item(message: kv_pb2.KeyValue) -> KeyValue:
    return KeyValue(
        message.key,
        message.value,
        message.create_revision,
        message.mod_revision,
        message.version,
        message.lease,
    )


def _change(event: kv_pb2.Event) -> KeyChange:
    deleted = event.type == kv_pb2.Event.EventType.DELETE
    previous = _item(event.prev_kv) if event.HasField("prev_kv") else None
    return KeyChange(ChangeKind.REMOVED if deleted else ChangeKind.PUT, _item(event.kv), previous)
