"""etcdserverpb.Cluster and Maintenance over a cluster of which the test says everything."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from registry.api.asgi_fakes import FakeCall, framed
from registry.api.cluster_fakes import FakeCluster
from registry.api.store_fakes import FakeStore

from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu_registry import errors
from tianlu_registry.api import etcd_json
from tianlu_registry.api.errors import error_status
from tianlu_registry.api.etcd_cluster import ClusterServicer, checked_urls
from tianlu_registry.api.etcd_json_stream import JsonSnapshot
from tianlu_registry.api.etcd_maintenance import MaintenanceServicer
from tianlu_registry.api.grpc_asgi import GrpcApp
from tianlu_registry.api.http import HttpRouter

PEER = "http://10.0.0.4:2380"
JSON = ((b"content-type", b"application/json"),)


class Apis:
    """Both services, over gRPC and JSON."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.cluster = FakeCluster()
        http = HttpRouter()
        self.app = GrpcApp(error_status, fallback=http)
        maintenance = MaintenanceServicer(self.store, self.cluster)
        self.app.add(pb.DESCRIPTOR.services_by_name["Cluster"], ClusterServicer(self.cluster))
        self.app.add(pb.DESCRIPTOR.services_by_name["Maintenance"], maintenance)
        etcd_json.add_routes(http, self.app)
        snapshot = JsonSnapshot(maintenance, self.app)
        http.add_stream("POST", "/v3/maintenance/snapshot", snapshot)

    async def call(self, method: str, request: Message) -> Any:
        """Return the answer, or the code and text of the refusal."""
        call = await FakeCall(f"/etcdserverpb.{method}", [framed(request)]).run(self.app)
        if call.code:
            return call.code, call.message
        service, _, name = method.partition("/")
        descriptor = pb.DESCRIPTOR.services_by_name[service].methods_by_name[name]
        answer = GetMessageClass(descriptor.output_type)
        return [answer.FromString(content) for _, content in call.frames]

    async def post(self, path: str, body: str = "{}") -> Any:
        """Return the status and the lines of a JSON call."""
        call = await FakeCall(f"/v3/{path}", [body.encode()], headers=JSON).run(self.app)
        return call.status, [json.loads(line) for line in call.body.splitlines()]


@pytest.fixture
def apis() -> Apis:
    return Apis()


PASSED_ON: list[tuple[str, Message]] = [
    ("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=[PEER], isLearner=True)),
    ("Cluster/MemberRemove", pb.MemberRemoveRequest(ID=3)),
    ("Cluster/MemberUpdate", pb.MemberUpdateRequest(ID=3, peerURLs=[PEER])),
    ("Cluster/MemberList", pb.MemberListRequest(linearizable=True)),
    ("Cluster/MemberPromote", pb.MemberPromoteRequest(ID=3)),
    ("Maintenance/Alarm", pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, alarm=pb.NOSPACE)),
    ("Maintenance/Hash", pb.HashRequest()),
    ("Maintenance/HashKV", pb.HashKVRequest(revision=9)),
    ("Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=3)),
]


@pytest.mark.parametrize(("method", "request_"), PASSED_ON)
async def test_requests_reach_the_cluster_and_refusals_the_caller(
    apis: Apis, method: str, request_: Message
) -> None:
    (answer,) = await apis.call(method, request_)
    assert answer.header.cluster_id == (0 if method.endswith("MoveLeader") else 7)
    assert not (method.startswith("Cluster/") and answer.header.revision)
    assert apis.cluster.requests == [request_]
    apis.cluster.error = errors.NotLeader()
    assert await apis.call(method, request_) == (9, "etcdserver: not leader")


async def test_json_paths(apis: Apis) -> None:
    for path, body, request in (
        ("cluster/member/add", json.dumps({"peerURLs": [PEER]}), PASSED_ON[0][1]),
        ("cluster/member/remove", '{"ID":"3"}', PASSED_ON[1][1]),
        ("cluster/member/promote", '{"ID":"3"}', PASSED_ON[4][1]),
        ("maintenance/hash", "{}", PASSED_ON[6][1]),
        ("maintenance/hashkv", '{"revision":"9"}', PASSED_ON[7][1]),
    ):
        status, (answer,) = await apis.post(path, body)
        assert (status, answer["header"]["cluster_id"]) == (200, "7"), path
        assert type(apis.cluster.requests[-1]) is type(request), path
    status, (answer,) = await apis.post("maintenance/transfer-leadership", '{"targetID":"3"}')
    assert (status, answer) == (200, {})
    assert apis.cluster.requests[-1] == PASSED_ON[8][1]


# Source: etcd client/pkg/types/urls_test.go.
@pytest.mark.parametrize(
    "urls",
    [
        [],
        [""],
        ["10.0.0.4:2380"],
        ["http://10.0.0.4"],
        ["http://10.0.0.4:peer"],
        ["http://10.0.0.4:70000"],
        ["http://10.0.0.4:2380/path"],
        ["http://[::1:2380"],
        ["ftp://10.0.0.4:2380"],
        ["unix:"],
        [PEER, "nonsense"],
    ],
)
async def test_urls_that_cannot_be(apis: Apis, urls: list[str]) -> None:
    refused = (3, "etcdserver: given member URLs are invalid")
    assert await apis.call("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=urls)) == refused
    update = pb.MemberUpdateRequest(ID=3, peerURLs=urls)
    assert await apis.call("Cluster/MemberUpdate", update) == refused
    assert apis.cluster.requests == []


def test_urls_are_kept_in_order_and_without_spaces() -> None:
    urls = [" https://b:2380", "http://[::1]:2380 ", "unix:/run/peer.sock", "unixs://peer:0"]
    assert checked_urls(urls) == [
        "http://[::1]:2380",
        "https://b:2380",
        "unix:/run/peer.sock",
        "unixs://peer:0",
    ]


# Source: what etcd 3.5.1 answers; `test_interop_cluster.py` compares.
@pytest.mark.parametrize(
    ("action", "version", "answer"),
    [
        (0, "3.4.0", "3.5.0"),
        (0, "3.4", "3.5.0"),
        (0, "3.4.18-rc.1", "3.5.0"),
        (0, "3.5.0", (3, "etcdserver: invalid downgrade target version")),
        (0, "3", (3, "etcdserver: wrong downgrade target version format")),
        (0, "", (3, "etcdserver: wrong downgrade target version format")),
        (1, "3.3", (3, "etcdserver: invalid downgrade target version")),
        (2, "", (9, "etcdserver: no inflight downgrade job")),
        (7, "3.4", (2, "etcdserver: unknown method")),
    ],
)
async def test_downgrade_is_answered_as_by_etcd(
    apis: Apis, action: int, version: str, answer: Any
) -> None:
    got = await apis.call(
        "Maintenance/Downgrade", pb.DowngradeRequest(action=action, version=version)
    )
    assert got == answer if isinstance(answer, tuple) else got[0].version == answer


async def test_downgrade_is_not_done(apis: Apis) -> None:
    request = pb.DowngradeRequest(action=pb.DowngradeRequest.ENABLE, version="3.4")
    code, text = await apis.call("Maintenance/Downgrade", request)
    assert code == 9
    assert "restore a snapshot" in text


async def test_status_is_complete(apis: Apis) -> None:
    apis.store.leader_id = 0
    apis.store.errors = ("NOSPACE: 12 bytes free",)
    apis.store.alarms = (pb.AlarmMember(memberID=1, alarm=pb.NOSPACE),)
    (status,) = await apis.call("Maintenance/Status", pb.StatusRequest())
    unset = {field.name for field in status.DESCRIPTOR.fields} - {
        field.name for field, _ in status.ListFields()
    }
    assert unset == {"leader", "isLearner"}  # 0 and false
    assert list(status.errors) == [
        "etcdserver: no leader",
        "memberID:1 alarm:NOSPACE ",
        "NOSPACE: 12 bytes free",
    ]
    assert status.storageVersion == "3.5.0"
    assert not status.downgradeInfo.enabled


async def test_what_is_no_alarm_is_not_raised(apis: Apis) -> None:
    """Enums are open: callers may send any number. etcd's members end at such an alarm."""
    unknown: Any = 99
    request = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, alarm=unknown)
    refused = (3, "alarm: is 99, which is no type of alarm")
    assert await apis.call("Maintenance/Alarm", request) == refused
    assert apis.cluster.requests == []
    request.action = pb.AlarmRequest.DEACTIVATE
    await apis.call("Maintenance/Alarm", request)
    assert apis.cluster.requests == [request]


async def test_an_alarm_that_has_no_name_here_is_told_by_its_number(apis: Apis) -> None:
    unknown: Any = 99
    apis.store.alarms = (pb.AlarmMember(memberID=1, alarm=unknown),)
    (status,) = await apis.call("Maintenance/Status", pb.StatusRequest())
    assert list(status.errors) == ["memberID:1 alarm:99 "]


async def test_defragment_says_that_it_does_nothing(
    apis: Apis, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await apis.call("Maintenance/Defragment", pb.DefragmentRequest())
    assert "defragment_not_needed peer=198.51.100.7:4711" in caplog.text


async def test_a_snapshot_is_streamed(apis: Apis) -> None:
    assert await apis.call("Maintenance/Snapshot", pb.SnapshotRequest()) == apis.cluster.pieces
    status, lines = await apis.post("maintenance/snapshot")
    assert status == 200
    assert lines == [
        {"result": {"remaining_bytes": "3", "blob": "YWJj"}},
        {"result": {"blob": "ZGVm"}},
        {"result": {"blob": "ZGlnZXN0"}},
    ]
    assert (await apis.post("maintenance/snapshot", ""))[0] == 200
    assert apis.cluster.snapshots_open == 0


async def test_a_snapshot_that_breaks_says_so(apis: Apis) -> None:
    apis.cluster.error = errors.Stopped()
    code, text = await apis.call("Maintenance/Snapshot", pb.SnapshotRequest())
    assert (code, text) == (14, "etcdserver: server stopped")
    status, lines = await apis.post("maintenance/snapshot")
    assert status == 200  # said before the first piece
    assert lines[-1]["error"]["message"] == "etcdserver: server stopped"


async def test_json_snapshot_refuses_what_it_does_not_understand(apis: Apis) -> None:
    status, (line,) = await apis.post("maintenance/snapshot", '{"compress":true}')
    assert status == 400
    assert line["error"]["message"].startswith("compress: ")


async def test_a_snapshot_ends_with_its_caller(apis: Apis) -> None:
    """A caller that goes away while its connection is slow releases the copy."""
    request = framed(pb.SnapshotRequest())
    for path, body in (
        ("/etcdserverpb.Maintenance/Snapshot", request),
        ("/v3/maintenance/snapshot", b"{}"),
    ):
        headers = JSON if path.startswith("/v3") else FakeCall("/").scope["headers"]
        call = FakeCall(path, [body], headers=headers)
        call.send_blocked = asyncio.Event()
        running = asyncio.create_task(call.run(apis.app))
        while apis.cluster.snapshots_open == 0:
            await asyncio.sleep(0)
        call.send_error = OSError("gone")
        call.send_blocked.set()
        try:
            await running
        except OSError:
            assert path.startswith("/v3")
        assert apis.cluster.snapshots_open == 0, path
