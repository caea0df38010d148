"""Clusters under measurement: three members of etcd or of the registry on loopback ports."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.client import CallFailed, Client
from cluster.processes import ProcessTree, wait_for
from cluster.systems import SYSTEMS
from servers import free_port, scratch

from tianlu._proto.etcd import rpc_pb2

HEALTH_SECONDS = 300.0
VALUE_BYTES = 300
_KEYS_A_TXN = 100
_QUOTA_BYTES = 8 << 30


@dataclass
class LoopbackMember:
    """One member: its ports, files and processes."""

    name: str
    directory: Path
    client_port: int
    peer_port: int
    processes: ProcessTree | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"


@dataclass
class LoopbackCluster:
    """Members on ports of the kernel's, with default timing. Closed by `running`."""

    program: str
    directory: Path
    members: list[LoopbackMember] = field(default_factory=list)

    def add(self) -> LoopbackMember:
        """Make the next member, without starting it."""
        name = f"n{len(self.members) + 1}"
        member = LoopbackMember(name, self.directory, free_port(), free_port())
        self.members.append(member)
        return member

    def start(self, member: LoopbackMember, *, joins: bool = False) -> None:
        client, peer = f"http://{member.address}", member.peer_url
        founders = ",".join(f"{one.name}={one.peer_url}" for one in self.members)
        command = [
            *SYSTEMS[self.program].program,
            *("--name", member.name, "--data-dir", str(self.directory / member.name)),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", founders, "--quota-backend-bytes", str(_QUOTA_BYTES)),
            *("--initial-cluster-state", "existing" if joins else "new"),
            *("--log-level", "error"),
        ]
        member.processes = ProcessTree(command, self.directory / f"{member.name}.log")

    def kill(self, member: LoopbackMember) -> None:
        if member.processes is not None:
            member.processes.kill()
            member.processes = None

    def wait_healthy(self, member: LoopbackMember) -> float:
        """Wait for a member's first answer to a linearizable read; return the moment of it."""
        wait_for(member.name, lambda: _answers(member), HEALTH_SECONDS)
        return time.monotonic()

    def leader(self) -> LoopbackMember:
        """Return the member that leads, once there is one."""
        found: list[LoopbackMember] = []

        def ask() -> bool:
            found[:] = [one for one in self.members if one.processes is not None and _leads(one)]
            return bool(found)

        wait_for("a leader", ask, HEALTH_SECONDS)
        return found[0]


def _answers(member: LoopbackMember) -> bool:
    try:
        with Client(member.address, 1.0) as client:
            client.get("bench/health")
    except CallFailed:
        return False
    return True


def _leads(member: LoopbackMember) -> bool:
    try:
        with Client(member.address, 1.0) as client:
            status = client.status()
    except CallFailed:
        return False
    return bool(status.leader) and status.leader == status.header.member_id


@contextlib.contextmanager
def running(program: str, size: int, where: Path | None = None) -> Iterator[LoopbackCluster]:
    """Run a healthy cluster for the length of a block.

    Args:
        where: directory on the disk to measure on.
    """
    with scratch(where) as directory:
        cluster = LoopbackCluster(program, directory)
        members = [cluster.add() for _ in range(size)]
        try:
            for member in members:
                cluster.start(member)
            for member in members:
                cluster.wait_healthy(member)
            yield cluster
        finally:
            for member in cluster.members:
                cluster.kill(member)


def fill(address: str, keys: int, say: Callable[[str], None] = print) -> None:
    """Put so many keys of 300 bytes, key and value together being a little more."""
    with Client(address, 30.0) as client:
        began = time.monotonic()
        for first in range(0, keys, _KEYS_A_TXN):
            puts = [
                rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key(n), value=value(n)))
                for n in range(first, min(keys, first + _KEYS_A_TXN))
            ]
            client.call("KV/Txn", rpc_pb2.TxnRequest(success=puts))
        say(f"  filled with {keys:,} keys in {time.monotonic() - began:.1f} s")


def key(number: int) -> bytes:
    return b"bench/%09d" % number


def value(number: int) -> bytes:
    return (b"%09d " % number) * (VALUE_BYTES // 10)
