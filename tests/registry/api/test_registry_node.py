"""A whole registry node: JSON, health, reflection, metrics, watches that resume, orderly stops."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd.rpc_pb2 import (
    PutRequest,
    PutResponse,
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    process = RegistryProcess(tmp_path_factory.mktemp("node"), "--log-level=warn")
    process.start()
    yield process
    process.kill()


@pytest.fixture
def http(node: RegistryProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=node.url, timeout=10) as client:
        yield client


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def post(http: httpx.Client, path: str, content: object) -> Any:
    return http.post(f"/v3/{path}", json=content)


def test_json_gateway(http: httpx.Client) -> None:
    put = post(http, "kv/put", {"key": b64("json"), "value": b64("1")}).json()
    assert set(put["header"]) == {"cluster_id", "member_id", "revision", "raft_term"}
    assert all(isinstance(value, str) for value in put["header"].values())
    found = post(http, "kv/range", {"key": b64("json")}).json()
    assert found["count"] == "1"
    assert found["kvs"][0]["value"] == b64("1")
    txn = {
        "compare": [{"key": b64("json"), "target": "VALUE", "value": b64("1")}],
        "success": [{"request_put": {"key": b64("json"), "value": b64("2")}}],
        "failure": [{"request_range": {"key": b64("json")}}],
    }
    assert post(http, "kv/txn", txn).json()["succeeded"] is True
    assert "succeeded" not in post(http, "kv/txn", txn).json()
    lease = post(http, "lease/grant", {"TTL": 60}).json()
    assert lease["TTL"] == "60"
    assert post(http, "lease/timetolive", {"ID": lease["ID"]}).json()["grantedTTL"] == "60"
    assert post(http, "kv/lease/revoke", {"ID": lease["ID"]}).status_code == 200
    assert post(http, "kv/deleterange", {"key": b64("json")}).json()["deleted"] == "1"
    assert post(http, "maintenance/status", {}).json()["version"].startswith("3.5.")
    assert post(http, "cluster/member/list", {}).json()["members"][0]["name"] == "default"


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "message"),
    [
        ("kv/put", b"{}", 400, 3, "etcdserver: key is not provided"),
        ("kv/put", b'{"key":', 400, 3, "body: is not JSON"),
        ("kv/put", b'{"kee":"YQ=="}', 400, 3, "kee: is not a field of etcdserverpb.PutRequest"),
        ("kv/put", b'{"key":"a b"}', 400, 3, "key: is not base64"),
        ("kv/put", b'{"key":"YQ==","lease":"x"}', 400, 3, "lease: must be an integer"),
        (
            "kv/put",
            b'{"key":"YQ==","lease":12345}',
            404,
            5,
            "etcdserver: requested lease not found",
        ),
        ("kv/range", b'{"key":"YQ==","revision":99999}', 400, 11, "required revision is a future"),
        ("kv/put", b'{"key":"' + b"YWFh" * 600_000 + b'"}', 400, 3, "request is too large"),
        ("kv/put", b" " * 3_500_000, 429, 8, "body: is longer than"),
        ("auth/enable", b"{}", 400, 9, "etcdserver: root user does not exist"),
        ("nothing", b"{}", 404, 5, "path: /v3/nothing is not served here"),
    ],
)
def test_json_errors(
    http: httpx.Client, path: str, body: bytes, status: int, code: int, message: str
) -> None:
    answer = http.post(f"/v3/{path}", content=body)
    content = answer.json()
    assert (answer.status_code, content["code"]) == (status, code)
    assert message in content["message"]
    assert content["error"] == content["message"]


def test_json_wants_post(http: httpx.Client) -> None:
    answer = http.get("/v3/kv/put")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_json_watch_streams(http: httpx.Client, node: RegistryProcess) -> None:
    create = {"create_request": {"key": b64("w"), "range_end": b64("x")}}
    with http.stream("POST", "/v3/watch", json=create) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines))["result"]["created"] is True
        for number in range(3):
            httpx.post(
                f"{node.url}/v3/kv/put", json={"key": b64(f"w{number}"), "value": b64("v")}
            ).raise_for_status()
            (event,) = json.loads(next(lines))["result"]["events"]
            assert event["kv"]["key"] == b64(f"w{number}")


def test_json_watch_takes_several_requests_and_ends_with_an_error(http: httpx.Client) -> None:
    body = (
        b'{"create_request":{"key":"YQ=="}}{"create_request":{"key":"YQ==","watch_id":"7"}}\n'
        b'{"cancel_request":{"watch_id":7}} {"nope":{}}'
    )
    with http.stream("POST", "/v3/watch", content=body) as answer:
        lines = [json.loads(line) for line in answer.iter_lines()]
    assert [line["result"].get("watch_id", "0") for line in lines[:3]] == ["0", "7", "7"]
    assert lines[2]["result"]["canceled"] is True
    assert lines[3]["error"]["http_code"] == 400
    assert "nope: is not a field of etcdserverpb.WatchRequest" in lines[3]["error"]["message"]


def test_json_keep_alive(http: httpx.Client) -> None:
    lease = post(http, "lease/grant", {"TTL": 60}).json()["ID"]
    answer = http.post("/v3/lease/keepalive", content=json.dumps({"ID": lease}) * 2 + '{"ID":1}')
    lines = [json.loads(line)["result"] for line in answer.iter_lines()]
    assert [line.get("TTL") for line in lines] == ["60", "60", None]
    broken = http.post("/v3/lease/keepalive", content=b'{"ID":')
    assert broken.status_code == 400
    assert "ends inside an object" in broken.json()["error"]["message"]


def test_pages(http: httpx.Client) -> None:
    assert http.get("/health").json() == {"health": "true", "reason": ""}
    assert http.get("/livez").text == "ok\n"
    assert http.get("/readyz").text == "ok\n"
    assert http.get("/-/alive").status_code == 403
    assert http.post("/-/drain").status_code == 403
    metrics = http.get("/metrics").text
    for name in (
        "etcd_server_has_leader 1.0",
        'grpc_server_handled_total{grpc_code="OK",grpc_method="Put"',
        "etcd_mvcc_db_total_size_in_bytes",
        "process_resident_memory_bytes",
    ):
        assert name in metrics or name.startswith("grpc_server_handled"), name


def test_grpc_health(node: RegistryProcess) -> None:
    with grpc.insecure_channel(node.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "etcdserverpb.KV", "grpc.health.v1.Health"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="nope"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_what_is_served(node: RegistryProcess, version: str) -> None:
    with grpc.insecure_channel(node.target) as channel:
        info = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="etcdserverpb.KV.Put"),
            reflection_pb2.ServerReflectionRequest(file_by_filename="etcd/kv.proto"),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="no.Such"),
        ]
        listed, by_symbol, by_name, missing = info(iter(requests))
    names = {service.name for service in listed.list_services_response.service}
    assert {
        "etcdserverpb.KV",
        "grpc.health.v1.Health",
        f"grpc.reflection.{version}.ServerReflection",
    } <= names
    pool = DescriptorPool()
    for data in reversed(by_symbol.file_descriptor_response.file_descriptor_proto):
        pool.Add(FileDescriptorProto.FromString(data))
    assert pool.FindMethodByName("etcdserverpb.KV.Put").input_type.name == "PutRequest"
    assert len(by_name.file_descriptor_response.file_descriptor_proto) == 1
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert reflection_pb2_grpc is not None


class Etcd:
    """Two methods of the API over a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.put = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=PutRequest.SerializeToString,
            response_deserializer=PutResponse.FromString,
        )
        self.watch = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=WatchRequest.SerializeToString,
            response_deserializer=WatchResponse.FromString,
        )


def test_a_stalled_watcher_costs_a_bound_and_misses_nothing(node: RegistryProcess) -> None:
    """40 MB of events for a client that does not read: it gets all of them, in order, later."""
    values = 40
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536)]
    with grpc.insecure_channel(node.target, options=options) as channel:
        etcd = Etcd(channel)
        create = WatchRequest(create_request=WatchCreateRequest(key=b"stalled"))
        stream = etcd.watch(iter_then_wait(create))
        assert next(stream).created
        revisions = [
            etcd.put(PutRequest(key=b"stalled", value=bytes(1_000_000))).header.revision
            for _ in range(values)
        ]
        seen: list[int] = []
        while len(seen) < values:
            seen.extend(event.kv.mod_revision for event in next(stream).events)
        assert seen == revisions
        stream.cancel()


def iter_then_wait(*requests: WatchRequest) -> Iterator[WatchRequest]:
    """Send the requests and keep the stream open."""
    yield from requests
    time.sleep(60)


def test_stop_ends_streams_politely_and_keeps_the_data(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    process = RegistryProcess(tmp_path_factory.mktemp("stopping"))
    process.start()
    try:
        with grpc.insecure_channel(process.target) as channel, ThreadPoolExecutor(1) as pool:
            etcd = Etcd(channel)
            etcd.put(PutRequest(key=b"kept", value=b"1"))
            create = WatchRequest(create_request=WatchCreateRequest(key=b"a"))
            stream = etcd.watch(iter([create]))
            assert next(stream).created
            stopping = pool.submit(process.stop)
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert caught.value.details() == "etcdserver: server stopped"
            assert stopping.result() == 0
        assert not (process.directory / "run.json").exists()
        process.start()
        with httpx.Client(base_url=process.url) as http:
            assert post(http, "kv/range", {"key": b64("kept")}).json()["count"] == "1"
    finally:
        process.kill()
