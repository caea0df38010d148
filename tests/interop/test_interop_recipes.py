"""Locks and elections, by service, by JSON and by etcdctl, go alike on etcd and on Tianlu."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from interop.interop_servers import ETCDCTL, Server

from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu._proto.etcd import v3election_pb2 as election_pb
from tianlu._proto.etcd import v3lock_pb2 as lock_pb
from tianlu._proto.etcd.v3election_pb2 import (
    CampaignRequest,
    LeaderKey,
    LeaderRequest,
    ProclaimRequest,
    ResignRequest,
)
from tianlu._proto.etcd.v3lock_pb2 import LockRequest, UnlockRequest

SECONDS = 20.0
SERVICES = {
    name: service
    for file in (pb.DESCRIPTOR, lock_pb.DESCRIPTOR, election_pb.DESCRIPTOR)
    for name, service in file.services_by_name.items()
}
LEASE, OTHER_LEASE = 0x7001, 0x7002


class Calls:
    """Calls of one server."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self._server = server
        self._channel = channel

    def begin(self, method: str, request: Message) -> Any:
        """Start a call; returns grpc's call."""
        service, _, name = method.partition("/")
        descriptor = SERVICES[service].methods_by_name[name]
        streams = descriptor.server_streaming
        shape = self._channel.unary_stream if streams else self._channel.unary_unary
        stub: Any = shape(
            f"/{SERVICES[service].full_name}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        return (stub if streams else stub.future)(request, timeout=SECONDS)

    def __call__(self, method: str, request: Message) -> Any:
        """Make a call of one answer; returns it, or the status, in comparable form."""
        try:
            return self.comparable(self.begin(method, request).result())
        except grpc.RpcError as error:
            return error.code().name, error.details()

    def comparable(self, answer: Message) -> Any:
        content = self._server.comparable(answer)
        for leader in (content, content.get("leader", {})):
            for name in ("rev", "lease"):
                if name in leader:
                    leader[name] = f"<{name}>"
        if "kv" in content:
            content["kv"]["lease"] = "<lease>"
        return content

    def keys(self, prefix: bytes) -> list[bytes]:
        end = prefix[:-1] + bytes((prefix[-1] + 1,))
        found = self.begin("KV/Range", pb.RangeRequest(key=prefix, range_end=end)).result()
        return [kv.key for kv in found.kvs]


@contextmanager
def calls(server: Server) -> Iterator[Calls]:
    """Open a channel and two leases; revoke them afterwards."""
    with grpc.insecure_channel(server.target) as channel:
        call = Calls(server, channel)
        for lease in (LEASE, OTHER_LEASE):
            call("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=600, ID=lease))
        try:
            yield call
        finally:
            for lease in (LEASE, OTHER_LEASE):
                call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=lease))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def same(servers: tuple[Server, Server], scenario: Callable[[Calls], list[Any]]) -> None:
    """Check that a scenario ends alike on both servers."""
    seen = []
    for server in servers:
        with calls(server) as call:
            seen.append(scenario(call))
    assert seen[1] == seen[0]
    assert seen[0]


def test_same_answers(servers: tuple[Server, Server]) -> None:
    leader = LeaderKey(name=b"re/a", key=b"re/a/7001", rev=1, lease=LEASE)
    nobody = LeaderKey(name=b"re/a", key=b"re/a/99", lease=99)

    def scenario(call: Calls) -> list[Any]:
        return [
            call(method, request)
            for method, request in (
                ("Lock/Lock", LockRequest(name=b"rl/a", lease=99)),
                ("Lock/Lock", LockRequest(name=b"rl/a", lease=LEASE)),
                ("Lock/Lock", LockRequest(name=b"rl/a", lease=LEASE)),
                ("Lock/Lock", LockRequest(name=b"", lease=LEASE)),
                ("Lock/Unlock", UnlockRequest(key=b"rl/a/7001")),
                ("Lock/Unlock", UnlockRequest(key=b"rl/a/7001")),
                ("Lock/Unlock", UnlockRequest()),
                ("Election/Leader", LeaderRequest(name=b"re/a")),
                ("Election/Campaign", CampaignRequest(name=b"re/a", lease=99)),
                ("Election/Campaign", CampaignRequest(name=b"re/a", lease=LEASE, value=b"1")),
                ("Election/Campaign", CampaignRequest(name=b"re/a", lease=LEASE, value=b"2")),
                ("Election/Leader", LeaderRequest(name=b"re/a")),
                ("Election/Proclaim", ProclaimRequest(value=b"3")),
                ("Election/Proclaim", ProclaimRequest(leader=LeaderKey(lease=LEASE))),
                ("Election/Proclaim", ProclaimRequest(leader=leader, value=b"3")),
                ("Election/Proclaim", ProclaimRequest(leader=nobody, value=b"3")),
                ("Election/Resign", ResignRequest()),
                ("Election/Resign", ResignRequest(leader=LeaderKey(lease=LEASE))),
                ("Election/Resign", ResignRequest(leader=leader)),
                ("Election/Leader", LeaderRequest(name=b"re/a")),
            )
        ]

    same(servers, scenario)


def test_same_turns(servers: tuple[Server, Server]) -> None:
    """The second waits until the first is gone; one that gives up leaves the queue."""

    def scenario(call: Calls) -> list[Any]:
        first = call("Lock/Lock", LockRequest(name=b"rt/a", lease=LEASE))
        waiting = call.begin("Lock/Lock", LockRequest(name=b"rt/a", lease=OTHER_LEASE))
        wait_until(lambda: len(call.keys(b"rt/a/")) == 2, "nobody queues")
        assert not waiting.done()
        waiting.cancel()
        wait_until(lambda: call.keys(b"rt/a/") == [b"rt/a/7001"], "a place is left behind")
        waiting = call.begin("Lock/Lock", LockRequest(name=b"rt/a", lease=OTHER_LEASE))
        wait_until(lambda: len(call.keys(b"rt/a/")) == 2, "nobody queues")
        call("Lock/Unlock", UnlockRequest(key=b"rt/a/7001"))
        return [first, call.comparable(waiting.result()), call.keys(b"rt/a/")]

    same(servers, scenario)


def test_same_reigns(servers: tuple[Server, Server]) -> None:
    """An observer sees who leads, what is proclaimed, and who follows."""

    def scenario(call: Calls) -> list[Any]:
        observing = call.begin("Election/Observe", LeaderRequest(name=b"rr/a"))
        request = CampaignRequest(name=b"rr/a", lease=LEASE, value=b"one")
        leader = call.begin("Election/Campaign", request).result().leader
        seen = [next(observing).kv]
        request = CampaignRequest(name=b"rr/a", lease=OTHER_LEASE, value=b"two")
        waiting = call.begin("Election/Campaign", request)
        wait_until(lambda: len(call.keys(b"rr/a/")) == 2, "nobody stands")
        call("Election/Proclaim", ProclaimRequest(leader=leader, value=b"more"))
        seen.append(next(observing).kv)
        call("Election/Resign", ResignRequest(leader=leader))
        follower = waiting.result().leader
        seen.append(next(observing).kv)
        observing.cancel()
        return [follower.key, *((kv.key, kv.value, kv.version) for kv in seen)]

    same(servers, scenario)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


JSON_REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("lock/lock", {"name": encoded("rj/l"), "lease": str(LEASE)}),
    ("lock/unlock", {"key": encoded("rj/l/7001")}),
    ("lock/unlock", {}),
    ("election/campaign", {"name": encoded("rj/e"), "lease": "99"}),
    ("election/campaign", {"name": encoded("rj/e"), "lease": str(LEASE), "value": "MQ=="}),
    ("election/leader", {"name": encoded("rj/e")}),
    ("election/proclaim", {"value": "Mg=="}),
    ("election/resign", {"leader": {"key": encoded("rj/e/7001"), "lease": str(LEASE)}}),
    ("election/leader", {"name": encoded("rj/none")}),
]


def test_same_json_answers(servers: tuple[Server, Server]) -> None:
    def scenario(call: Calls) -> list[Any]:
        server = call._server
        answers: list[Any] = []
        for path, content in JSON_REQUESTS:
            answer = httpx.post(f"http://{server.target}/v3/{path}", json=content, timeout=SECONDS)
            text = re.sub(r'"(rev|lease)":"\d+"', r'"\1":"?"', answer.text)
            answers.append((answer.status_code, server.comparable(json.loads(text))))
        url = f"http://{server.target}/v3/election/observe"
        with httpx.stream("POST", url, json={"name": encoded("rj/e")}, timeout=SECONDS) as lines:
            told = json.loads(next(lines.iter_lines()))
        answers.append({name: told["result"]["kv"][name] for name in ("key", "value", "version")})
        return answers

    same(servers, scenario)


def test_same_etcdctl_lock(servers: tuple[Server, Server]) -> None:
    for command in (
        ["lock", "rc/l", "echo", "held"],
        ["lock", "rc/l", "--ttl=30", "echo", "held"],
        ["lock", "rc/l", "false"],
        ["lock"],
    ):
        etcd, tianlu = (server.etcdctl(*command).comparable(server) for server in servers)
        assert tianlu == etcd, command


@pytest.mark.parametrize("command", [["lock", "rc/h"], ["elect", "rc/e", "me"]])
def test_same_etcdctl_holding(servers: tuple[Server, Server], command: list[str]) -> None:
    """What is held until a signal comes is let go then."""
    seen = []
    for server in servers:
        flags = [ETCDCTL, f"--endpoints={server.target}"]
        holding = subprocess.Popen([*flags, *command], stdout=subprocess.PIPE, text=True)
        try:
            assert holding.stdout is not None
            printed = [holding.stdout.readline() for _ in range(len(command) - 1)]
            holding.send_signal(signal.SIGINT)
            holding.communicate(timeout=SECONDS)
        finally:
            holding.kill()
            holding.wait()
        left = server.etcdctl("get", command[1], "--prefix", "--keys-only").output
        seen.append([re.sub(r"[0-9a-f]{10,16}", "<id>", each) for each in (*printed, left)])
    assert seen[1] == seen[0]
    assert seen[0][0].startswith(command[1])
