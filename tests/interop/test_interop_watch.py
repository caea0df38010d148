"""One watch stream does the same, in the same order, on etcd and on Tianlu."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from interop.interop_calls import Caller, Conversation, compare
from interop.interop_servers import Server

from tianlu._proto.etcd import rpc_pb2 as pb

RANGE = {"key": b"wa/", "range_end": b"wa0"}


def create(**fields: Any) -> pb.WatchRequest:
    return pb.WatchRequest(create_request=pb.WatchCreateRequest(**(RANGE | fields)))


def cancel(watch_id: int) -> pb.WatchRequest:
    return pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id))


PROGRESS = pb.WatchRequest(progress_request=pb.WatchProgressRequest())


def put(caller: Caller, key: bytes, value: bytes = b"", **options: Any) -> int:
    request = pb.PutRequest(key=b"wa/" + key, value=value, **options)
    revision: int = caller.answer("KV/Put", request).header.revision
    return revision


def begin(caller: Caller) -> int:
    """Return the revision that this scenario begins at."""
    caller.answer("KV/DeleteRange", pb.DeleteRangeRequest(**RANGE))
    caller.server.base_revision = put(caller, b"begin")
    return caller.server.base_revision


def events(stream: Conversation, count: int) -> list[Any]:
    """Hear so many events, however many responses they come in, and say which watch and what."""
    heard: list[Any] = []
    while len(heard) < count:
        answer = stream.hear()
        assert isinstance(answer, dict), answer
        assert answer.get("events"), answer
        heard.extend((answer.get("watch_id"), event) for event in answer["events"])
    return heard


def test_same_ids(servers: tuple[Server, Server]) -> None:
    """Ids: given, chosen, given twice, used again after a cancel; cancels of what is not there."""

    def script(caller: Caller) -> Iterator[Any]:
        with caller.stream("Watch/Watch") as stream:
            for request in (
                create(),
                create(watch_id=1),
                create(),
                create(watch_id=7),
                create(watch_id=7),
                cancel(7),
                create(watch_id=7),
                cancel(0),
                create(watch_id=-3),
                cancel(-3),
                create(),
                create(range_end=b"w"),
                create(key=b"", range_end=b""),
                create(filters=[0, 1, 1]),
            ):
                stream.say(request)
                yield str(request), stream.hear()
            stream.say(cancel(99))  # no answer
            stream.say(pb.WatchRequest())  # no answer
            stream.say(create(watch_id=50))
            yield stream.hear()

    compare(servers, script)


def test_same_events(servers: tuple[Server, Server]) -> None:
    """A transaction's events together, values before, leases and deletions, for two watches."""

    def script(caller: Caller) -> Iterator[Any]:
        start = begin(caller)
        caller.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=77))
        caller.answer("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=77, TTL=600))
        with caller.stream("Watch/Watch") as stream:
            for request in (create(start_revision=start + 1, prev_kv=True),):
                stream.say(request)
                yield stream.hear()
            put(caller, b"a", b"1", lease=77)
            put(caller, b"a", b"2", lease=77)
            put(caller, b"b", b"1", lease=77)
            yield events(stream, 3)
            both = [
                pb.RequestOp(request_put=pb.PutRequest(key=b"wa/c", value=b"1")),
                pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"wa/a")),
            ]
            caller.answer("KV/Txn", pb.TxnRequest(success=both))
            yield events(stream, 2)
            caller.answer("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=77))
            yield events(stream, 1)
            caller.answer("KV/DeleteRange", pb.DeleteRangeRequest(**RANGE))
            yield events(stream, 2)

    compare(servers, script)


@pytest.mark.parametrize("filters", [[0], [1], [0, 1]])
def test_same_filtered_events(servers: tuple[Server, Server], filters: list[int]) -> None:
    def script(caller: Caller) -> Iterator[Any]:
        start = begin(caller)
        with caller.stream("Watch/Watch") as stream:
            stream.say(create(start_revision=start + 1, filters=filters))
            stream.say(create(start_revision=start + 1, key=b"wa/z", range_end=b""))
            yield stream.hear()
            yield stream.hear()
            put(caller, b"a", b"1")
            caller.answer("KV/DeleteRange", pb.DeleteRangeRequest(key=b"wa/a"))
            put(caller, b"z")  # the other watch's, and so the last
            heard = events(stream, 3 if filters == [1] else 1 if len(filters) == 2 else 2)
            yield sorted(heard, key=str)  # which of two watches comes first is left open

    compare(servers, script)


def test_same_future(servers: tuple[Server, Server]) -> None:
    """A watch from a revision that is still to come is silent until then."""

    def script(caller: Caller) -> Iterator[Any]:
        start = begin(caller)
        with caller.stream("Watch/Watch") as stream:
            stream.say(create(start_revision=start + 3))
            yield stream.hear()
            for key in (b"a", b"b", b"c", b"d"):
                put(caller, key)
            yield events(stream, 2)

    compare(servers, script)


def test_same_compaction(servers: tuple[Server, Server]) -> None:
    def script(caller: Caller) -> Iterator[Any]:
        start = begin(caller)
        for key in (b"a", b"b", b"c"):
            put(caller, key)
        caller.answer("KV/Compact", pb.CompactionRequest(revision=start + 2))
        with caller.stream("Watch/Watch") as stream:
            stream.say(create(start_revision=start + 1))
            yield stream.hear()
            yield stream.hear()  # canceled, with the revision compacted at
            stream.say(create(start_revision=start + 2, prev_kv=True, watch_id=5))
            yield stream.hear()
            yield events(stream, 2)

    compare(servers, script)


def test_same_progress(servers: tuple[Server, Server]) -> None:
    """A progress request is answered with the revision up to which everything has come."""

    def script(caller: Caller) -> Iterator[Any]:
        start = begin(caller)
        with caller.stream("Watch/Watch") as stream:
            stream.say(create(start_revision=start + 1))
            yield stream.hear()
            put(caller, b"a")
            yield events(stream, 1)
            stream.say(PROGRESS)
            yield stream.hear()
            caller.answer("KV/Put", pb.PutRequest(key=b"elsewhere"))
            stream.say(PROGRESS)
            yield stream.hear()

    compare(servers, script)


def test_same_fragments(servers: tuple[Server, Server]) -> None:
    """A revision too large for a response comes in marked parts to those who want that."""

    def script(caller: Caller) -> Iterator[Any]:
        start = begin(caller)
        for number in range(4):
            put(caller, b"%d" % number, bytes(1024 * 1024))
        with caller.stream("Watch/Watch") as stream:
            stream.say(create(start_revision=start + 1, fragment=True, prev_kv=True))
            yield stream.hear()
            yield [event["kv"]["key"] for _, event in events(stream, 4)]
            caller.answer("KV/DeleteRange", pb.DeleteRangeRequest(**RANGE))
            parts = [stream.hear_raw()]
            while parts[-1].fragment:
                parts.append(stream.hear_raw())
            yield [(len(part.events), part.fragment) for part in parts]

    compare(servers, script)
