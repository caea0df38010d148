"""Locks by etcd's recipe, and whether two clients ever wrote as the holder of one.

A client puts a key under a lease and holds the lock once no key of the lock was created before its
own. It writes only under the condition that its key is still there, and the key's create_revision
is written along: the fencing token. The store's account then tells, without any clock, whether
every write was made by the one that held the lock.

Source: etcd client/v3/concurrency/mutex.go (the recipe).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.client import CallFailed, Client
from cluster.histories import now
from cluster.leases import keep_alive_once
from cluster.revisions import Event
from cluster.watches import prefix_end

from tianlu._proto.etcd import rpc_pb2

TTL_SECONDS = 4
_WRITES_A_TURN = 5
_RENEW_SECONDS = 1.0


@dataclass
class Locker(threading.Thread):
    """Takes the lock again and again, and writes a few times while it holds it.

    Attributes:
        turns: how often it held the lock.
    """

    number: int
    addresses: Sequence[str]
    prefix: str
    draw: random.Random
    turns: int = 0
    writes: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self._clients = [Client(address, 2.0) for address in self.addresses]
        self._home = self.number
        self._renewed = 0.0

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                self._turn()
            except CallFailed:
                # Whatever was begun ends with its lease.
                self._home += 1
                self.stopped.wait(0.1)

    def stop(self) -> None:
        self.stopped.set()
        self.join(20)
        for client in self._clients:
            client.close()

    @property
    def _client(self) -> Client:
        return self._clients[self._home % len(self._clients)]

    def _turn(self) -> None:
        self._renewed = now()
        lease = self._client.call("Lease/LeaseGrant", rpc_pb2.LeaseGrantRequest(TTL=TTL_SECONDS)).ID
        key = f"{self.prefix}lock/{lease:x}"
        token = self._client.put(key, str(self.number), lease).revision
        while not self.stopped.wait(self.draw.uniform(0.02, 0.1)):
            self._renew(lease)
            if self._first() == token:
                self.turns += 1
                self._write(key, token)
                break
        self._client.call("Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=lease))

    def _renew(self, lease: int) -> None:
        if now() - self._renewed > _RENEW_SECONDS:
            request = rpc_pb2.LeaseKeepAliveRequest(ID=lease)
            if keep_alive_once(self._client, request) is None:
                self._home += 1
            self._renewed = now()

    def _first(self) -> int:
        """Return the create_revision of the lock's oldest key, 0 when there is none."""
        request = rpc_pb2.RangeRequest(
            key=f"{self.prefix}lock/".encode(),
            range_end=prefix_end(f"{self.prefix}lock/"),
            sort_target=rpc_pb2.RangeRequest.CREATE,
            sort_order=rpc_pb2.RangeRequest.ASCEND,
            limit=1,
        )
        pairs = self._client.call("KV/Range", request).kvs
        return int(pairs[0].create_revision) if pairs else 0

    def _write(self, key: str, token: int) -> None:
        for number in range(_WRITES_A_TURN):
            compare = rpc_pb2.Compare(
                key=key.encode(),
                target=rpc_pb2.Compare.CREATE,
                result=rpc_pb2.Compare.EQUAL,
                create_revision=token,
            )
            put = rpc_pb2.PutRequest(
                key=f"{self.prefix}guarded".encode(),
                value=f"{token} {self.number} {self.turns} {number}".encode(),
            )
            request = rpc_pb2.TxnRequest(
                compare=[compare], success=[rpc_pb2.RequestOp(request_put=put)]
            )
            if not self._client.call("KV/Txn", request).succeeded:
                return  # the lease ended: another one holds the lock
            self.writes += 1
            self.stopped.wait(self.draw.uniform(0.0, 0.05))


@dataclass
class _Lock:
    """Who waits for the lock: the tokens of the keys that are there, by key."""

    tokens: dict[str, int] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        if event.value is None:
            self.tokens.pop(event.key, None)
        else:
            self.tokens[event.key] = event.create_revision

    def holder(self) -> int | None:
        return min(self.tokens.values(), default=None)


def judge(account: Sequence[Event], prefix: str) -> list[str]:
    """Return the guarded writes that were not made by the holder of the lock."""
    lock, found, newest = _Lock(), [], 0
    for event in account:
        if event.key.startswith(f"{prefix}lock/"):
            lock.apply(event)
        elif event.key == f"{prefix}guarded" and event.value is not None:
            token = int(event.value.split()[0])
            if token != lock.holder():
                found.append(f"{event} was written while {lock.holder()} held the lock")
            if token < newest:
                found.append(f"{event} was written after the holder of token {newest}")
            newest = max(newest, token)
    return found
