"""The catalogue on a real node: the same answers and the same errors over gRPC and JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from registry.api.catalog_node import Client, NodeProcess, Watching, json_lines
from registry.catalog.catalog_fakes import instance, registration

from tianlu._proto.v1.catalog_pb2 import (
    AwaitAppliedRequest,
    CloseSessionRequest,
    DeleteServiceRequest,
    DeregisterRequest,
    DiscoverRequest,
    GetServiceRequest,
    KeepAliveRequest,
    ListInstancesRequest,
    ListNamespacesRequest,
    ListServicesRequest,
    ListSubscribersRequest,
    OpenSessionRequest,
    OverrideInstanceRequest,
    PutServiceRequest,
    RegisterRequest,
    RenewSessionRequest,
    UpdateInstanceRequest,
    WatchCreate,
    WatchRequest,
)
from tianlu._proto.v1.model_pb2 import Service

_numbers = itertools.count()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    process = NodeProcess(tmp_path_factory.mktemp("node"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
async def client(node: NodeProcess) -> AsyncIterator[Client]:
    async with Client(node.target) as connected:
        yield connected


@pytest.fixture
async def http(node: NodeProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=node.url + "/v1/", timeout=10, verify=False) as connected:
        yield connected


@pytest.fixture
def namespace() -> str:
    return f"api-{next(_numbers)}"


def body(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


# One life over JSON, with gRPC as the witness


async def test_an_instances_life_over_json(
    client: Client, http: httpx.AsyncClient, namespace: str
) -> None:
    service = f"namespaces/{namespace}/services/orders"
    opened = (await http.post("sessions", json={"client": "test"})).json()
    assert opened["ttl_seconds"] == 10
    session = int(opened["session_id"])
    renewed = await http.post(f"sessions/{session}/renew")
    assert renewed.json()["ttl_seconds"] == 10
    put = await http.put(service, json={"service": {"owner": "shop"}})
    assert put.json()["service"]["name"] == "orders"
    owned = body(instance(namespace, weight=7))
    for named in ("namespace", "service", "id"):
        del owned[named]
    registered = await http.put(
        f"{service}/instances/orders-1", json={"session_id": session, "instance": owned}
    )
    assert registered.status_code == 200, registered.text
    revision = registered.json()["revision"]
    found = (await http.get(f"{service}/discover", params={"min_revision": revision})).json()
    witness = await client.call("Discover", DiscoverRequest(namespace=namespace, service="orders"))
    assert [each["id"] for each in found["instances"]] == ["orders-1"]
    assert body(witness.instances[0]).items() <= found["instances"][0].items()
    patched = await http.patch(
        f"{service}/instances/orders-1",
        json={"status": "INSTANCE_STATUS_DRAINING", "metadata": {"a": "b"}},
    )
    assert patched.json()["instance"]["metadata"] == {"a": "b"}
    isolated = await http.post(f"{service}/instances/orders-1/isolate", json={"reason": "why"})
    assert isolated.json()["instance"]["override"]["isolated"] is True
    restored = await http.post(f"{service}/instances/orders-1/restore")
    assert restored.json()["instance"]["override"]["isolated"] is False
    listed = (await http.get(f"{service}/instances")).json()
    assert listed["instances"][0]["status"] == "INSTANCE_STATUS_DRAINING"
    summaries = (await http.get(f"namespaces/{namespace}/services")).json()["services"]
    assert summaries[0]["instances"] == 1
    assert summaries[0]["serving"] == 0
    assert namespace in (await http.get("namespaces")).json()["namespaces"]
    everywhere = (await http.get("services")).json()["services"]
    assert namespace in {each["service"]["namespace"] for each in everywhere}
    refused = await http.delete(service)
    assert refused.status_code == 409
    gone = await http.delete(f"{service}/instances/orders-1", params={"session_id": session})
    assert gone.status_code == 200
    assert (await http.get(service)).json()["summary"]["instances"] == 0
    assert (await http.delete(service)).status_code == 200
    assert (await http.get(service)).status_code == 404
    assert (await http.delete(f"sessions/{session}")).status_code == 200
    assert (await http.delete(f"sessions/{session}")).status_code == 404
    assert (await http.post(f"sessions/{session}/renew")).status_code == 404


# Errors


def _long() -> dict[str, str]:
    return {"k": "v" * 2000}


SAME_ERRORS: list[tuple[str, Message, str, str, dict[str, Any] | None, str]] = [
    (
        "Register",
        RegisterRequest(session_id=1, instance=instance("default", address="")),
        "PUT",
        "namespaces/default/services/orders/instances/orders-1",
        {"session_id": 1, "instance": {"ports": []}},
        "instance.address",
    ),
    (
        "Register",
        RegisterRequest(session_id=1, instance=instance("default", metadata=_long())),
        "PUT",
        "namespaces/default/services/orders/instances/orders-1",
        {"session_id": 1, "instance": body(instance("default", metadata=_long()))},
        "instance.metadata[k]",
    ),
    (
        "Register",
        RegisterRequest(instance=instance("default")),
        "PUT",
        "namespaces/default/services/orders/instances/orders-1",
        {"instance": body(instance("default"))},
        "session_id",
    ),
    (
        "Register",
        RegisterRequest(session_id=1, instance=instance("Default")),
        "PUT",
        "namespaces/Default/services/orders/instances/orders-1",
        {"session_id": 1, "instance": {}},
        "instance.namespace",
    ),
    (
        "UpdateInstance",
        UpdateInstanceRequest(namespace="default", service="orders", id="x", weight=10_001),
        "PATCH",
        "namespaces/default/services/orders/instances/x",
        {"weight": 10_001},
        "weight",
    ),
    (
        "UpdateInstance",
        UpdateInstanceRequest(namespace="default", service="orders", id="x", metadata=_long()),
        "PATCH",
        "namespaces/default/services/orders/instances/x",
        {"metadata": _long()},
        "metadata[k]",
    ),
    (
        "OverrideInstance",
        OverrideInstanceRequest(namespace="default", service="orders", id="x", isolated=True),
        "POST",
        "namespaces/default/services/orders/instances/x/isolate",
        {},
        "reason",
    ),
    (
        "Deregister",
        DeregisterRequest(namespace="default", service="Orders", id="x"),
        "DELETE",
        "namespaces/default/services/Orders/instances/x",
        None,
        "service",
    ),
    (
        "PutService",
        PutServiceRequest(service=Service(namespace="default", name="orders", owner="x" * 300)),
        "PUT",
        "namespaces/default/services/orders",
        {"service": {"owner": "x" * 300}},
        "service.owner",
    ),
    (
        "DeleteService",
        DeleteServiceRequest(namespace="default", name="a.b"),
        "DELETE",
        "namespaces/default/services/a.b",
        None,
        "name",
    ),
    (
        "GetService",
        GetServiceRequest(namespace="-", name="orders"),
        "GET",
        "namespaces/-/services/orders",
        None,
        "namespace",
    ),
    (
        "ListServices",
        ListServicesRequest(namespace="A"),
        "GET",
        "namespaces/A/services",
        None,
        "namespace",
    ),
    (
        "ListInstances",
        ListInstancesRequest(namespace="default", service="A"),
        "GET",
        "namespaces/default/services/A/instances",
        None,
        "service",
    ),
    (
        "Discover",
        DiscoverRequest(namespace="default", service="orders", min_revision=-1),
        "GET",
        "namespaces/default/services/orders/discover?min_revision=-1",
        None,
        "min_revision",
    ),
    (
        "ListNamespaces",
        ListNamespacesRequest(min_revision=-1),
        "GET",
        "namespaces?min_revision=-1",
        None,
        "min_revision",
    ),
    (
        "OpenSession",
        OpenSessionRequest(ttl_seconds=1),
        "POST",
        "sessions",
        {"ttl_seconds": 1},
        "ttl_seconds",
    ),
    ("RenewSession", RenewSessionRequest(), "POST", "sessions/0/renew", {}, "session_id"),
    ("CloseSession", CloseSessionRequest(), "DELETE", "sessions/0", None, "session_id"),
    (
        "ListSubscribers",
        ListSubscribersRequest(namespace="A"),
        "GET",
        "subscribers?namespace=A",
        None,
        "namespace",
    ),
    (
        "AwaitApplied",
        AwaitAppliedRequest(namespace="default", service="orders", percent=101),
        "GET",
        "applied?namespace=default&service=orders&percent=101",
        None,
        "percent",
    ),
]


def _field_of(error: grpc.aio.AioRpcError) -> str:
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    violations = BadRequest()
    assert status.details[0].Unpack(violations)
    return str(violations.field_violations[0].field)


@pytest.mark.parametrize(
    ("rpc", "request_", "method", "path", "content", "field"),
    SAME_ERRORS,
    ids=[f"{each[0]}-{each[5]}" for each in SAME_ERRORS],
)
async def test_grpc_and_json_name_the_same_field(
    client: Client,
    http: httpx.AsyncClient,
    rpc: str,
    request_: Message,
    method: str,
    path: str,
    content: dict[str, Any] | None,
    field: str,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.call(rpc, request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _field_of(caught.value) == field
    answer = await http.request(method, path, json=content)
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "INVALID_ARGUMENT",
        "message": caught.value.details(),
        "field": field,
        "code": 3,
    }


INSTANCE = "namespaces/default/services/orders/instances/orders-1"


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "field"),
    [
        ("PUT", INSTANCE, b"{", 400, "body"),
        ("PUT", INSTANCE, b"[]", 400, "body"),
        ("PUT", INSTANCE, b"\xff", 400, "body"),
        ("PUT", INSTANCE, b'{"nonsense": 1}', 400, "nonsense"),
        ("PUT", INSTANCE, b'{"instance": {"wieght": 1}}', 400, "instance.wieght"),
        ("PUT", INSTANCE, b'{"instance": {"weight": "much"}}', 400, "instance.weight"),
        ("PUT", INSTANCE, b'{"instance": {"ports": [{"number": "x"}]}}', 400,
         "instance.ports[0].number"),
        ("PUT", INSTANCE, b'{"instance": {"id": "other"}}', 400, "instance.id"),
        ("PUT", INSTANCE, b'{"session_id": 1, "session_id": 2}', 400, "session_id"),
        ("PATCH", INSTANCE, b'{"status": "UPPISH"}', 400, "status"),
        ("PUT", INSTANCE, b" " * 300_000, 413, "body"),
        ("GET", "namespaces?min_revision=x", None, 400, "min_revision"),
        ("GET", "namespaces?min_revision=1&min_revision=2", None, 400, "min_revision"),
        ("GET", "namespaces?colour=red", None, 400, "colour"),
        ("POST", "sessions/abc/renew", b"", 400, "session_id"),
        ("GET", "watch?namespace=A", None, 400, "create.namespace"),
        ("GET", "watch?service=a,B", None, 400, "create.services[1]"),
        ("GET", "watch?resume_revision=-1", None, 400, "create.resume_revision"),
        ("GET", "nothing", None, 404, "path"),
        ("GET", "namespaces/default/services/orders/", None, 404, "path"),
        ("POST", "namespaces", b"{}", 405, "method"),
    ],
)  # fmt: skip
async def test_what_json_refuses(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    content: bytes | None,
    status: int,
    field: str,
) -> None:
    answer = await http.request(method, path, content=content)
    assert answer.status_code == status, answer.text
    error = answer.json()
    assert error["field"] == field
    assert set(error) == {"error", "message", "field", "code"}
    assert isinstance(error["code"], int)


async def test_what_is_not_there_and_what_conflicts(
    client: Client, http: httpx.AsyncClient, namespace: str
) -> None:
    missing = await http.get(f"namespaces/{namespace}/services/orders/discover")
    assert missing.status_code == 404
    assert missing.json()["error"] == "NOT_FOUND"
    assert namespace in missing.json()["message"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.call("Discover", DiscoverRequest(namespace=namespace, service="orders"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == missing.json()["message"]
    holder, other = await client.session(), await client.session()
    await client.call("Register", registration(holder, namespace))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.call("Register", registration(other, namespace))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    conflict = await http.put(
        f"namespaces/{namespace}/services/orders/instances/orders-1",
        json=body(registration(other, namespace)),
    )
    assert conflict.status_code == 409
    assert conflict.json()["message"] == caught.value.details()
    assert str(holder) in conflict.json()["message"]


async def test_metrics(client: Client, node: NodeProcess, namespace: str) -> None:
    await client.call("Register", registration(await client.session(), namespace))
    async with httpx.AsyncClient(verify=False) as plain:
        page = (await plain.get(node.url + "/metrics")).text
    values = dict(
        line.split(" ") for line in page.splitlines() if line.startswith("tianlu_catalog")
    )
    assert values["tianlu_catalog_ready"] == "1.0"
    assert float(values["tianlu_catalog_instances"]) >= 1
    assert float(values["tianlu_catalog_revision"]) > 1
    assert values['tianlu_catalog_marks_total{liveness="suspect"}'] == "0.0"


# Watching


async def test_watch_acknowledge_and_wait(client: Client, namespace: str) -> None:
    session = await client.session()
    await client.call("Register", registration(session, namespace))
    watching = Watching(client)
    await watching.begin(namespace, name="mesher host-7")
    await watching.next()
    assert watching.snapshots == 1
    assert set(watching.instances) == {"orders-1"}
    await watching.acknowledge()
    registered = await client.call("Register", registration(session, namespace, "orders-2"))
    await watching.until(lambda: "orders-2" in watching.instances)
    assert watching.revision == registered.revision
    asked = AwaitAppliedRequest(
        namespace=namespace, service="orders", revision=registered.revision, timeout_ms=50
    )
    late = await client.call("AwaitApplied", asked)
    assert not late.reached
    assert list(late.laggards) == ["mesher host-7"]
    await watching.acknowledge()
    asked.timeout_ms = 5000
    assert (await client.call("AwaitApplied", asked)).reached
    listed = await client.call("ListSubscribers", ListSubscribersRequest(namespace=namespace))
    (subscriber,) = [each for each in listed.subscribers if each.namespace == namespace]
    assert subscriber.applied_revision == registered.revision
    assert subscriber.peer.startswith("127.0.0.1:")
    watching.cancel()
    resumed = Watching(client)
    await resumed.begin(namespace, resume_revision=registered.revision)
    bookmark = await resumed.next()
    assert not bookmark.events
    assert bookmark.revision >= registered.revision
    await client.call(
        "Deregister", DeregisterRequest(namespace=namespace, service="orders", id="orders-2")
    )
    message = await resumed.next()
    assert not message.snapshot
    assert message.events[0].instance_removed.id == "orders-2"
    resumed.cancel()


@pytest.mark.parametrize(
    "requests",
    [
        [WatchRequest()],
        [WatchRequest(create=WatchCreate()), WatchRequest(create=WatchCreate())],
    ],
)
async def test_a_watch_stream_begins_with_one_creation(
    client: Client, requests: list[WatchRequest]
) -> None:
    watching = Watching(client)
    for request in requests:
        await watching._stream.write(request)
    error = await watching.error()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _field_of(error) == "create"


async def test_keeping_alive_what_has_ended(client: Client) -> None:
    session = await client.session()
    stream = await client.keep_alive(session)
    await client.call("CloseSession", CloseSessionRequest(session_id=session))
    await stream.write(KeepAliveRequest(session_id=session))
    assert (await stream.read()).ttl_seconds == 0
    stream.cancel()


async def test_watching_lines_of_json(
    client: Client, http: httpx.AsyncClient, namespace: str
) -> None:
    session = await client.session()
    await client.call("Register", registration(session, namespace))
    query = {"namespace": namespace, "service": "orders,web"}
    async with http.stream("GET", "watch", params=query) as response:
        assert response.headers["content-type"].startswith("application/x-ndjson")
        async with aclosing(json_lines(response)) as messages:
            snapshot = await anext(messages)
            assert snapshot["snapshot_end"] is True
            assert snapshot["events"][0]["instance_put"]["id"] == "orders-1"
            registered = await client.call("Register", registration(session, namespace, "orders-2"))
            changes = await anext(messages)
            assert changes["revision"] == str(registered.revision)
            assert changes["events"][0]["instance_put"]["id"] == "orders-2"


async def test_server_sent_events_resume(
    client: Client, http: httpx.AsyncClient, namespace: str
) -> None:
    session = await client.session()
    first = await client.call("Register", registration(session, namespace))
    await client.call("Register", registration(session, namespace, "orders-2"))
    headers = {"accept": "text/event-stream", "last-event-id": str(first.revision)}
    query = {"namespace": namespace}
    async with http.stream("GET", "watch", params=query, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async with aclosing(response.aiter_lines()) as lines:
            got = [await anext(lines) for _ in range(4)]
    assert got[0] == "event: changes"
    assert got[1].startswith("id: ")
    data = json.loads(got[2].removeprefix("data: "))
    assert [event["instance_put"]["id"] for event in data["events"]] == ["orders-2"]
    assert got[3] == ""
