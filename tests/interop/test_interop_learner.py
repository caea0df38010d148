"""A learner refuses and serves the same on etcd and on Tianlu."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from interop.interop_calls import Caller, callers, compare
from interop.interop_servers import Server
from registry.etcd_process import free_port
from registry.etcd_trio import EtcdMember
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd import rpc_pb2 as pb

DEADLINE_SECONDS = 60


class Tianlu:
    """Two nodes, the second of which learns."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.peers: dict[str, str] = {}
        self.processes: list[RegistryProcess] = []

    def start(self, name: str, state: str) -> Server:
        self.peers[name] = self.peers.get(name) or f"http://127.0.0.1:{free_port()}"
        (self.directory / name).mkdir()
        process = RegistryProcess(
            self.directory / name,
            f"--name={name}",
            f"--listen-peer-urls={self.peers[name]}",
            f"--initial-advertise-peer-urls={self.peers[name]}",
            f"--initial-cluster={','.join(f'{n}={url}' for n, url in self.peers.items())}",
            f"--initial-cluster-state={state}",
            "--log-level=warn",
        )
        self.processes.append(process)
        process.start(DEADLINE_SECONDS)
        return Server("tianlu", process.target)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()


@dataclass(frozen=True)
class Learners:
    """A learner of etcd's and one of ours, and the only voters beside them."""

    servers: tuple[Server, Server]
    voters: tuple[Server, Server]
    voters_processes: tuple[EtcdMember, RegistryProcess]


def add_learner(voter: Server, peer_url: str) -> None:
    """Add one, as soon as the voter feels well enough."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    request = pb.MemberAddRequest(peerURLs=[peer_url], isLearner=True)
    with callers([voter]) as (caller,):
        while isinstance(answer := caller.call("Cluster/MemberAdd", request), tuple):
            assert time.monotonic() < deadline, answer


def wait_for(server: Server, key: bytes) -> None:
    """Wait until a key has come to a member."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    request = pb.RangeRequest(key=key, serializable=True, count_only=True)
    with callers([server]) as (caller,):
        while True:
            try:
                if caller.answer("KV/Range", request).count:
                    return
            except grpc.RpcError:
                pass  # it does not serve yet
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def learners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Learners]:
    directory = tmp_path_factory.mktemp("learners")
    one, two = EtcdMember("one", directory), EtcdMember("two", directory, state="existing")
    one.initial_cluster = f"one={one.peer_url}"
    two.initial_cluster = f"{one.initial_cluster},two={two.peer_url}"
    tianlu = Tianlu(directory)
    try:
        one.start()
        voters = [tianlu.start("t1", "new"), Server("etcd", one.endpoint)]
        tianlu.peers["t2"] = f"http://127.0.0.1:{free_port()}"
        with callers(voters) as each:
            for caller in each:
                deadline = time.monotonic() + DEADLINE_SECONDS
                put = pb.PutRequest(key=b"le", value=b"1")
                while isinstance(caller.call("KV/Put", put), tuple):
                    assert time.monotonic() < deadline
        add_learner(voters[0], tianlu.peers["t2"])
        add_learner(voters[1], two.peer_url)
        two.start()
        servers = (Server("etcd", two.endpoint), tianlu.start("t2", "existing"))
        for server in servers:
            wait_for(server, b"le")
        yield Learners(servers, (voters[1], voters[0]), (one, tianlu.processes[0]))
    finally:
        one.kill()
        two.kill()
        tianlu.kill()


def test_same_answers_of_a_learner(learners: Learners) -> None:
    def script(caller: Caller) -> Iterator[Any]:
        start = caller.answer("KV/Range", pb.RangeRequest(key=b"le", serializable=True))
        caller.server.base_revision = start.header.revision
        get = pb.RequestOp(request_range=pb.RangeRequest(key=b"le", serializable=True))
        for method, request in (
            ("KV/Range", pb.RangeRequest(key=b"le", serializable=True)),
            ("KV/Range", pb.RangeRequest(key=b"le")),
            ("KV/Put", pb.PutRequest(key=b"le")),
            ("KV/DeleteRange", pb.DeleteRangeRequest(key=b"le")),
            ("KV/Txn", pb.TxnRequest(success=[get])),
            ("KV/Compact", pb.CompactionRequest(revision=1)),
            ("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60)),
            ("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=1)),
            ("Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=1)),
            ("Lease/LeaseLeases", pb.LeaseLeasesRequest()),
            ("Cluster/MemberList", pb.MemberListRequest()),
            ("Cluster/MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"])),
            ("Cluster/MemberPromote", pb.MemberPromoteRequest(ID=1)),
            ("Maintenance/Alarm", pb.AlarmRequest()),
            ("Maintenance/Defragment", pb.DefragmentRequest()),
            ("Maintenance/Hash", pb.HashRequest()),
            ("Maintenance/HashKV", pb.HashKVRequest()),
            ("Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=1)),
            ("Maintenance/Downgrade", pb.DowngradeRequest(version="3.4.0")),
            ("Auth/AuthStatus", pb.AuthStatusRequest()),
            ("Auth/UserList", pb.AuthUserListRequest()),
            ("Auth/Authenticate", pb.AuthenticateRequest(name="a", password="b")),
        ):
            yield method, caller.call(method, request)
        status = caller.answer("Maintenance/Status", pb.StatusRequest())
        yield status.isLearner, status.leader != 0, list(status.errors)
        pieces = caller.streamed("Maintenance/Snapshot", pb.SnapshotRequest())
        yield isinstance(pieces, list) and len(pieces) > 0 and pieces[-1].remaining_bytes
        for method, request in (
            ("Watch/Watch", pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"le"))),
            ("Lease/LeaseKeepAlive", pb.LeaseKeepAliveRequest(ID=1)),
        ):
            with caller.stream(method) as stream:
                stream.say(request)
                yield method, stream.hear()

    compare(learners.servers, script)


def test_same_wish_for_a_leader(learners: Learners) -> None:
    """What wants a leader is refused where none is known; the rest is served. Last: the learners
    become voters, because a learner goes on believing in its leader, and the others are killed."""
    request = pb.RangeRequest(key=b"le", serializable=True)
    for server, voter in zip(learners.servers, learners.voters, strict=True):
        promote(server, voter)
    with callers(learners.servers) as each:
        for caller in each:
            assert caller.answer("KV/Range", request, hasleader="true").count == 1
        for process in learners.voters_processes:
            process.kill()
        for caller in each:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while (refusal := refusal_of(caller, request)) is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert refusal == ("UNAVAILABLE", "etcdserver: no leader")
            assert caller.answer("KV/Range", request).count == 1


def promote(learner: Server, voter: Server) -> None:
    """Give a learner its vote, and wait until it knows."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    with callers([learner, voter]) as (own, other):
        status = own.answer("Maintenance/Status", pb.StatusRequest())
        request = pb.MemberPromoteRequest(ID=status.header.member_id)
        while isinstance(refused := other.call("Cluster/MemberPromote", request), tuple):
            assert time.monotonic() < deadline, refused
        while own.answer("Maintenance/Status", pb.StatusRequest()).isLearner:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def refusal_of(caller: Caller, request: pb.RangeRequest) -> tuple[str, str] | None:
    """Return how a call that wants a leader is refused; None if it is not."""
    try:
        caller.answer("KV/Range", request, hasleader="true")
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return None
