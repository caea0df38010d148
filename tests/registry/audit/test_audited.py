"""Servicers that leave lines: who, from where, what, and how it ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from registry.audit.audit_sinks import KeepingSink, running_log

from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu_registry.audit.actors import Actors
from tianlu_registry.audit.audited import Auditor, audited
from tianlu_registry.audit.entries import Lines
from tianlu_registry.audit.log import AuditLog, AuditLogUnavailable
from tianlu_registry.authn.caller import serving
from tianlu_registry.errors import InvalidArgument, PermissionDenied, RequestTimeout

SERVICES = etcd.DESCRIPTOR.services_by_name
CERTIFICATE = (b"x-forwarded-client-cert", b'Subject="CN=ada"')


class Kv:
    """KV whose puts end as told."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.puts = 0

    async def Put(self, request: etcd.PutRequest, context: object) -> etcd.PutResponse:
        self.puts += 1
        if self.error is not None:
            raise self.error
        return etcd.PutResponse(header=etcd.ResponseHeader(revision=7))

    async def Range(self, request: etcd.RangeRequest, context: object) -> etcd.RangeResponse:
        return etcd.RangeResponse()


class Maintenance:
    async def Snapshot(self, request: object, context: object) -> AsyncGenerator[str, None]:
        yield "one"
        yield "two"


@pytest.fixture
def sink() -> KeepingSink:
    return KeepingSink()


@pytest.fixture
def log(sink: KeepingSink) -> Iterator[AuditLog]:
    with running_log(sink) as log:
        yield log


def auditor(log: AuditLog, *, certificates: bool = False) -> Auditor:
    return Auditor(log, Lines("n1"), Actors(None, client_certificates=certificates))


def written(log: AuditLog, sink: KeepingSink) -> list[dict[str, Any]]:
    log.close()
    lines = [json.loads(line) for line in sink.lines]
    for line in lines:
        assert line.pop("time").endswith("Z")
        assert line.pop("node") == "n1"
    return lines


def test_without_a_log_a_servicer_is_itself() -> None:
    kv = Kv()
    assert audited(None, SERVICES["KV"], kv) is kv


async def test_methods_that_only_read_are_not_wrapped(log: AuditLog) -> None:
    kv = Kv()
    wrapped = audited(auditor(log), SERVICES["KV"], kv)
    assert wrapped.Range == kv.Range
    assert wrapped.Put != kv.Put
    assert not hasattr(wrapped, "DeleteRange")


@pytest.mark.parametrize(
    ("client", "certificates", "who"),
    [
        (("192.0.2.7", 4711), False, ("-", "none", "192.0.2.7")),
        (("192.0.2.7", 4711), True, ("ada", "certificate", "192.0.2.7")),
        (None, True, ("ada", "certificate", "unix")),
    ],
)
async def test_a_line_says_who_and_what(
    log: AuditLog,
    sink: KeepingSink,
    client: tuple[str, int] | None,
    certificates: bool,
    who: tuple[str, str, str],
) -> None:
    serving({"type": "http", "headers": [CERTIFICATE], "client": client})
    kv = auditor(log, certificates=certificates).audited(SERVICES["KV"], Kv())
    await kv.Put(etcd.PutRequest(key=b"k", value=b"v"), None)
    assert written(log, sink) == [
        {
            **dict(zip(("actor", "known_by", "address"), who, strict=True)),
            "method": "etcdserverpb.KV/Put",
            "keys": [{"op": "put", "key": "k"}],
            "revision": 7,
            "outcome": "applied",
            "code": "OK",
        }
    ]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (PermissionDenied(), ("refused", "PermissionDenied", "etcdserver: permission denied")),
        (
            InvalidArgument("value", "is not 's3cret'"),
            ("refused", "InvalidArgument", "value: invalid"),
        ),
        (RequestTimeout(), ("unknown", "Unavailable", "etcdserver: request timed out")),
        (RuntimeError("s3cret"), ("unknown", "Unknown", None)),
        (asyncio.CancelledError(), ("unknown", "Canceled", None)),
    ],
)
async def test_a_line_says_how_it_ended(
    log: AuditLog, sink: KeepingSink, error: BaseException, end: tuple[str, str, str | None]
) -> None:
    kv = auditor(log).audited(SERVICES["KV"], Kv(error))
    with pytest.raises(type(error)):
        await kv.Put(etcd.PutRequest(key=b"k"), None)
    (line,) = written(log, sink)
    assert (line["outcome"], line["code"], line.get("error")) == end
    assert "revision" not in line


async def test_a_stream_leaves_a_line_at_its_end(log: AuditLog, sink: KeepingSink) -> None:
    maintenance = auditor(log).audited(SERVICES["Maintenance"], Maintenance())
    pieces = [piece async for piece in maintenance.Snapshot(etcd.SnapshotRequest(), None)]
    left = maintenance.Snapshot(etcd.SnapshotRequest(), None)
    assert await anext(left) == pieces[0]
    await left.aclose()
    assert [line["outcome"] for line in written(log, sink)] == ["applied", "unknown"]


async def test_strictly_nothing_is_begun_that_could_not_be_written(sink: KeepingSink) -> None:
    sink.broken = True
    with running_log(sink, strict=True) as log:
        kv = Kv()
        wrapped = auditor(log).audited(SERVICES["KV"], kv)
        with pytest.raises(AuditLogUnavailable):
            await wrapped.Put(etcd.PutRequest(key=b"k"), None)  # nobody knew before
        for _ in range(3):
            with pytest.raises(AuditLogUnavailable):
                await wrapped.Put(etcd.PutRequest(key=b"k"), None)
        assert kv.puts == 1
        await wrapped.Range(etcd.RangeRequest(key=b"k"), None)
