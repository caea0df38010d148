"""Bad input gets an error that names the field, on gRPC, JSON and the command line alike."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import grpc
import httpx
import pytest
from e2e.platform_process import Platform, tianlu

from tianlu._proto.etcd import rpc_pb2
from tianlu._proto.v1 import catalog_pb2, model_pb2

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def channel(shop: Platform) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(shop.authority) as made:
        yield made


def refused(channel: grpc.Channel, method: str, request: object, answer: type) -> grpc.RpcError:
    call = channel.unary_unary(
        method,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,  # type: ignore[attr-defined]
    )
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    return caught.value


def register(channel: grpc.Channel, **fields: object) -> grpc.RpcError:
    instance = model_pb2.Instance(
        namespace="default",
        service="bad",
        id="bad-1",
        address="127.0.0.1",
        ports=[model_pb2.Port(name="http", number=80, protocol="http")],
    )
    instance.MergeFrom(model_pb2.Instance(**fields))  # type: ignore[arg-type]
    return refused(
        channel,
        "/tianlu.v1.Catalog/Register",
        catalog_pb2.RegisterRequest(session_id=1, instance=instance),
        catalog_pb2.RegisterResponse,
    )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"metadata": {"note": "x" * 5000}}, "metadata"),
        ({"metadata": {f"k{number}": "v" for number in range(1000)}}, "metadata"),
        ({"weight": 10_001}, "weight"),
        ({"service": "No Such Name!"}, "service"),
        ({"ports": [model_pb2.Port(name="x", number=70_000, protocol="http")]}, "ports[1].number"),
    ],
)
def test_grpc_names_the_field(channel: grpc.Channel, fields: dict[str, object], named: str) -> None:
    error = register(channel, **fields)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert named in error.details()


def test_grpc_unknown_service(channel: grpc.Channel) -> None:
    request = catalog_pb2.GetServiceRequest(namespace="default", name="nothing")
    error = refused(
        channel, "/tianlu.v1.Catalog/GetService", request, catalog_pb2.GetServiceResponse
    )
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "nothing" in error.details()


def test_a_value_of_two_megabytes_is_refused_on_grpc_and_json(
    shop: Platform, channel: grpc.Channel
) -> None:
    big = rpc_pb2.PutRequest(key=b"big", value=b"x" * (2_000_000))
    error = refused(channel, "/etcdserverpb.KV/Put", big, rpc_pb2.PutResponse)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "etcdserver: request is too large"
    body = {"key": _base64(b"big"), "value": _base64(b"x" * (2_000_000))}
    answer = httpx.post(f"{shop.entrance}/v3/kv/put", json=body)
    assert answer.status_code in {400, 413}
    assert "too large" in answer.text


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/v3/kv/put", '{"key": 5}', "key"),
        ("/v3/kv/put", '{"key": "a2V5", "vaule": "eA=="}', "vaule"),
        ("/v3/kv/put", '{"key": "a2V5"', "JSON"),
        ("/v3/kv/range", '{"key": "a2V5", "limit": "many"}', "limit"),
        ("/v1/sessions", '{"ttl_seconds": "soon"}', "ttl_seconds"),
        ("/v1/sessions", '{"ttl": 5}', "ttl"),
        ("/v1/sessions", "[]", "body"),
    ],
)
def test_json_names_the_field(shop: Platform, path: str, body: str, named: str) -> None:
    answer = httpx.post(shop.entrance + path, content=body)
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert named in answer.json()["message"]


def test_json_unknown_service(shop: Platform) -> None:
    answer = httpx.get(f"{shop.entrance}/v1/namespaces/default/services/nothing")
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert "nothing" in answer.json()["message"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["service", "show", "nothing"], "nothing"),
        (["instance", "isolate", "orders", "no-such-id", "--reason", "x"], "no-such-id"),
        (["kv", "put", "big", "x" * 100_000], None),
    ],
)
def test_the_command_line_says_it_in_one_line(
    shop: Platform, arguments: list[str], named: str | None
) -> None:
    done = tianlu(*arguments, endpoints=shop.authority, check=False)
    if named is None:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 1
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_line_says_when_nobody_answers() -> None:
    done = tianlu("service", "list", endpoints="127.0.0.1:1", check=False)
    assert done.returncode == 3
    assert "127.0.0.1:1" in done.stderr


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
