"""The same requests, over gRPC and over JSON, get the same answers from etcd and from Tianlu."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from interop.interop_servers import Server

from tianlu._proto.etcd import rpc_pb2 as pb


def call(server: Server, method: str, *requests: Message, responses: int = 1) -> Any:
    """Make a call and return its answer, or its status, in comparable form."""
    service, _, name = method.partition("/")
    descriptor = pb.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    with grpc.insecure_channel(server.target) as channel:
        shape = {False: channel.unary_unary, True: channel.stream_stream}
        stub = shape[descriptor.client_streaming](
            f"/etcdserverpb.{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        try:
            if not descriptor.client_streaming:
                return server.comparable(stub(requests[0], timeout=10))
            stream = stub(iter(requests), timeout=10)
            return [server.comparable(answer) for answer in first(stream, responses)]
        except grpc.RpcError as error:
            return error.code().name, error.details()


def first(stream: Iterable[Any], count: int) -> Iterator[Any]:
    """Take `count` answers and end the call."""
    for number, answer in enumerate(stream, start=1):
        yield answer
        if number == count:
            stream.cancel()  # type: ignore[attr-defined]
            return


def put(key: bytes, value: bytes = b"", **fields: Any) -> pb.PutRequest:
    return pb.PutRequest(key=key, value=value, **fields)


def txn(*operations: Any, compare: Any = (), failure: Any = ()) -> pb.TxnRequest:
    return pb.TxnRequest(success=operations, failure=failure, compare=compare)


def op(**fields: Any) -> pb.RequestOp:
    return pb.RequestOp(**fields)


NESTED = txn(
    op(request_put=put(b"ap/n")),
    op(
        request_txn=txn(
            op(request_put=put(b"ap/m", b"1")), op(request_range=pb.RangeRequest(key=b"ap/n"))
        )
    ),
)

REQUESTS: list[tuple[str, Message]] = [
    ("KV/Put", put(b"")),
    ("KV/Put", put(b"ap/a", b"1")),
    ("KV/Put", put(b"ap/a", b"2", prev_kv=True)),
    ("KV/Put", put(b"ap/a", b"x", ignore_value=True)),
    ("KV/Put", put(b"ap/none", ignore_value=True)),
    ("KV/Put", put(b"ap/a", lease=5, ignore_lease=True)),
    ("KV/Put", put(b"ap/a", lease=424242)),
    ("KV/Put", put(b"ap/big", bytes(1536 * 1024 + 1))),
    ("KV/Put", put(b"ap/huge", bytes(3 * 1024 * 1024))),
    ("KV/Range", pb.RangeRequest()),
    ("KV/Range", pb.RangeRequest(key=b"ap/a")),
    ("KV/Range", pb.RangeRequest(key=b"ap/", range_end=b"ap0", limit=1)),
    ("KV/Range", pb.RangeRequest(key=b"b", range_end=b"a")),
    ("KV/Range", pb.RangeRequest(key=b"ap/a", revision=1 << 40)),
    ("KV/Range", pb.RangeRequest(key=b"ap/a", revision=-1)),
    ("KV/Range", pb.RangeRequest(key=b"ap/", range_end=b"ap0", count_only=True)),
    ("KV/Range", pb.RangeRequest(key=b"ap/", range_end=b"ap0", keys_only=True)),
    ("KV/Range", pb.RangeRequest(key=b"ap/", range_end=b"ap0", min_mod_revision=1 << 40)),
    ("KV/DeleteRange", pb.DeleteRangeRequest()),
    ("KV/DeleteRange", pb.DeleteRangeRequest(key=b"ap/none")),
    ("KV/DeleteRange", pb.DeleteRangeRequest(key=b"ap/a", prev_kv=True)),
    ("KV/Txn", txn()),
    ("KV/Txn", NESTED),
    ("KV/Txn", txn(op())),
    ("KV/Txn", txn(op(request_put=put(b"")))),
    ("KV/Txn", txn(compare=[pb.Compare()])),
    ("KV/Txn", txn(*[op(request_put=put(b"ap/%d" % n)) for n in range(129)])),
    ("KV/Txn", txn(op(request_put=put(b"ap/d")), op(request_put=put(b"ap/d")))),
    (
        "KV/Txn",
        txn(
            op(request_delete_range=pb.DeleteRangeRequest(key=b"ap/", range_end=b"ap0")),
            op(request_put=put(b"ap/d")),
        ),
    ),
    ("KV/Txn", txn(op(request_put=put(b"ap/l", lease=424242)))),
    ("KV/Txn", txn(op(request_range=pb.RangeRequest(key=b"a", revision=1 << 40)))),
    ("KV/Compact", pb.CompactionRequest(revision=1 << 40)),
    ("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=9_000_000_001)),
    ("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60, ID=777)),
    ("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60, ID=777)),
    ("Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=777, keys=True)),
    ("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=777)),
    ("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=777)),
    ("Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=777)),
    ("Lease/LeaseKeepAlive", pb.LeaseKeepAliveRequest(ID=777)),
    ("Maintenance/Alarm", pb.AlarmRequest()),
    ("Auth/AuthStatus", pb.AuthStatusRequest()),
]


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_same_grpc_answers(servers: tuple[Server, Server], number: int) -> None:
    method, request = REQUESTS[number]
    etcd, tianlu = (call(server, method, request) for server in servers)
    assert tianlu == etcd


def create(**fields: Any) -> pb.WatchRequest:
    return pb.WatchRequest(create_request=pb.WatchCreateRequest(**fields))


CANCEL = pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=0))

WATCHES: dict[str, tuple[list[pb.WatchRequest], int]] = {
    "created and cancelled": ([create(key=b"ap/w"), CANCEL], 2),
    "chosen ids": ([create(key=b"a", watch_id=9), create(key=b"b"), create(key=b"c")], 3),
    "same id twice": ([create(key=b"a", watch_id=9), create(key=b"b", watch_id=9)], 2),
    "empty range": ([create(key=b"b", range_end=b"a")], 1),
    "whole keyspace": ([create(key=b"", range_end=b"\0")], 1),
    "unknown cancel": ([CANCEL, create(key=b"a")], 1),
}


@pytest.mark.parametrize("name", WATCHES)
def test_same_watch_answers(servers: tuple[Server, Server], name: str) -> None:
    requests, responses = WATCHES[name]
    etcd, tianlu = (
        call(server, "Watch/Watch", *requests, responses=responses) for server in servers
    )
    assert tianlu == etcd


def test_same_history(servers: tuple[Server, Server]) -> None:
    """Filters and previous values, over revisions that have passed."""
    answers = []
    for server in servers:
        for value in (b"1", b"2"):
            call(server, "KV/Put", put(b"hi/a", value))
        call(server, "KV/DeleteRange", pb.DeleteRangeRequest(key=b"hi/a"))
        start = server.base_revision + 1
        both = {"key": b"hi/", "range_end": b"hi0", "start_revision": start, "prev_kv": True}
        for filters, count in (((), 3), ((0,), 1), ((1,), 2)):
            events: list[Any] = []
            requests = [create(**both, filters=filters)]
            # A history may come as one response or as several.
            for responses in range(2, 5):
                got = call(server, "Watch/Watch", *requests, responses=responses)
                events = [event for answer in got for event in answer.get("events", ())]
                if len(events) == count:
                    break
            answers.append((server.name, filters, events))
    half = len(answers) // 2
    assert [each[1:] for each in answers[half:]] == [each[1:] for each in answers[:half]]
    assert all(each[2] for each in answers)


JSON_TXN = """{
  "compare": [{"key": "anM=", "target": "VALUE", "value": "Mg=="}],
  "success": [{"request_put": {"key": "anM=", "value": "Mw=="}}],
  "failure": [{"request_range": {"key": "anM="}}]
}"""

JSON_REQUESTS: list[tuple[str, str]] = [
    ("kv/put", '{"key":"anM=","value":"MQ=="}'),
    ("kv/put", '{"key":"anM=","value":"Mg==","prev_kv":true}'),
    ("kv/put", "{}"),
    ("kv/put", ""),
    ("kv/put", '{"key":"anM=","lease":"424242"}'),
    ("kv/range", '{"key":"anM="}'),
    ("kv/range", '{"key":"anM=","rangeEnd":"anQ=","sort_order":"DESCEND"}'),
    ("kv/range", '{"key":"anM=","revision":"99999999999"}'),
    ("kv/txn", JSON_TXN),
    ("kv/deleterange", '{"key":"anM=","prev_kv":true}'),
    ("kv/compaction", '{"revision":"99999999999"}'),
    ("lease/grant", '{"TTL":"60","ID":"888"}'),
    ("lease/timetolive", '{"ID":"888"}'),
    ("lease/leases", "{}"),
    ("kv/lease/revoke", '{"ID":"888"}'),
    ("lease/revoke", '{"ID":"888"}'),
    ("auth/status", "{}"),
]


@pytest.mark.parametrize("number", range(len(JSON_REQUESTS)))
def test_same_json_answers(servers: tuple[Server, Server], number: int) -> None:
    path, body = JSON_REQUESTS[number]
    answers = []
    for server in servers:
        answer = httpx.post(f"http://{server.target}/v3/{path}", content=body, timeout=10)
        answers.append((answer.status_code, server.comparable(answer.json())))
    assert answers[1] == answers[0]


@pytest.mark.parametrize(
    "body", ["{", '{"nope":1}', '{"key":"*"}', '{"lease":"x"}', '{"lease":1.5}']
)
def test_same_json_refusals(servers: tuple[Server, Server], body: str) -> None:
    """Texts differ (ours name the field, docs/divergence.md); status and code do not."""
    answers = []
    for server in servers:
        answer = httpx.post(f"http://{server.target}/v3/kv/put", content=body, timeout=10)
        answers.append(
            (answer.status_code, answer.json()["code"], set(answer.json()) - {"details"})
        )
    assert answers[1] == answers[0]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "kv/put"), ("PUT", "watch"), ("POST", "nope"), ("POST", "kv/put/")]
)
def test_same_statuses_of_wrong_paths(
    servers: tuple[Server, Server], method: str, path: str
) -> None:
    """etcd's body is plain text (docs/divergence.md)."""
    etcd, tianlu = (
        httpx.request(method, f"http://{server.target}/v3/{path}").status_code for server in servers
    )
    assert tianlu == etcd


JSON_STREAMS: dict[str, tuple[str, str, int]] = {
    "a watch": ("watch", '{"create_request":{"key":"anc=","start_revision":"%d"}}', 2),
    "two requests": (
        "watch",
        '{"create_request":{"key":"anc=","watch_id":"4"}}{"cancel_request":{"watch_id":"4"}}',
        2,
    ),
    "a range that is empty": ("watch", '{"create_request":{"key":"Yg==","range_end":"YQ=="}}', 1),
    "a renewal": ("lease/keepalive", '{"ID":"889"}', 1),
    "a renewal of none": ("lease/keepalive", '{"ID":"9999"}', 1),
}


@pytest.mark.parametrize("name", JSON_STREAMS)
def test_same_json_streams(servers: tuple[Server, Server], name: str) -> None:
    path, body, lines = JSON_STREAMS[name]
    answers = []
    for server in servers:
        url = f"http://{server.target}/v3"
        start = int(
            httpx.post(f"{url}/kv/put", content='{"key":"anc="}').json()["header"]["revision"]
        )
        httpx.post(f"{url}/lease/grant", content='{"ID":"889","TTL":"600"}')
        server.base_revision = start
        content = body % start if "%d" in body else body
        with httpx.stream("POST", f"{url}/{path}", content=content, timeout=30) as answer:
            found = answer.iter_lines()
            heard = [json.loads(next(found)) for _ in range(lines)]
            answers.append((answer.status_code, server.comparable(heard)))
        httpx.post(f"{url}/lease/revoke", content='{"ID":"889"}')
    assert answers[1] == answers[0]
