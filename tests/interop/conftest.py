"""A real etcd and a Tianlu node, both fresh, for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from interop.interop_servers import Server
from registry.etcd_process import EtcdProcess
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd.rpc_pb2 import RangeRequest, RangeResponse


@pytest.fixture(scope="session")
def etcd_and_tianlu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    etcd = EtcdProcess(tmp_path_factory.mktemp("interop-etcd"))
    tianlu = RegistryProcess(tmp_path_factory.mktemp("interop-tianlu"), "--log-level=warn")
    try:
        etcd.start()
        tianlu.start()
        yield etcd.endpoint.removeprefix("http://"), tianlu.target
    finally:
        etcd.kill()
        tianlu.kill()


@pytest.fixture
def servers(etcd_and_tianlu: tuple[str, str]) -> tuple[Server, Server]:
    """Both servers, with their present revisions as base."""
    etcd, tianlu = etcd_and_tianlu
    return (
        Server("etcd", etcd, _revision(etcd)),
        Server("tianlu", tianlu, _revision(tianlu)),
    )


def _revision(target: str) -> int:
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=RangeRequest.SerializeToString,
            response_deserializer=RangeResponse.FromString,
        )
        revision: int = call(
            RangeRequest(key=b"x"), timeout=10, wait_for_ready=True
        ).header.revision
        return revision
