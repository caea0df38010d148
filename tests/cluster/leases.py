"""Keys under leases: one that is kept alive stays, one that is not goes."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import grpc
from cluster.client import CallFailed, Client
from cluster.histories import now
from cluster.watches import Seen

from tianlu._proto.etcd import rpc_pb2

TTL_SECONDS = 5
_CALL_SECONDS = 1.0


@dataclass
class Tenancy:
    """One key's life under one lease.

    Attributes:
        revision: of the key's put.
        kept_until: the moment before which the lease cannot have ended, by the last answer: the
            time to live that it granted, counted from when it was asked for.
        abandoned: nobody keeps it alive any more.
    """

    key: str
    lease: int
    revision: int
    kept_until: float
    renewals: int = 0
    abandoned: bool = False


@dataclass
class Tenant(threading.Thread):
    """Holds keys under leases one after the other: keeps each alive for a while, then abandons it.

    Attributes:
        refused: renewals answered with "no such lease".
    """

    addresses: Sequence[str]
    prefix: str
    draw: random.Random
    tenancies: list[Tenancy] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self._clients = [Client(address) for address in self.addresses]
        self._home = 0

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        while not self.stopped.is_set():
            tenancy = self._move_in()
            if tenancy is None:
                self._home += 1
                self.stopped.wait(0.1)
                continue
            self.tenancies.append(tenancy)
            until = now() + self.draw.uniform(1.0, 3.0) * TTL_SECONDS
            while now() < until and not self.stopped.wait(TTL_SECONDS / 10):
                if not self._renew(tenancy):
                    break
            tenancy.abandoned = True

    def stop(self) -> None:
        self.stopped.set()
        self.join(20)
        for client in self._clients:
            client.close()

    @property
    def _client(self) -> Client:
        return self._clients[self._home % len(self._clients)]

    def _move_in(self) -> Tenancy | None:
        """Grant a lease and put a key under it; None when either failed."""
        asked = now()
        key = f"{self.prefix}{len(self.tenancies):05}-{self.draw.randrange(1 << 30)}"
        try:
            grant = rpc_pb2.LeaseGrantRequest(TTL=TTL_SECONDS)
            lease = self._client.call("Lease/LeaseGrant", grant, _CALL_SECONDS)
            revision = self._client.put(key, "held", lease.ID).revision
        except CallFailed:
            return None
        return Tenancy(key, lease.ID, revision, asked + lease.TTL)

    def _renew(self, tenancy: Tenancy) -> bool:
        """Renew once, at any member; return whether the lease is still there as far as known."""
        asked = now()
        request = rpc_pb2.LeaseKeepAliveRequest(ID=tenancy.lease)
        answer = keep_alive_once(self._client, request)
        if answer is None:
            self._home += 1
            return True
        if answer.TTL <= 0:
            self.refused += 1
            return False
        tenancy.renewals += 1
        tenancy.kept_until = asked + answer.TTL
        return True


def keep_alive_once(
    client: Client, request: rpc_pb2.LeaseKeepAliveRequest
) -> rpc_pb2.LeaseKeepAliveResponse | None:
    """Renew a lease on a stream of its own; None when no answer came."""
    call = client.stream("Lease/LeaseKeepAlive", iter([request]), _CALL_SECONDS)
    try:
        return next(call, None)
    except grpc.RpcError:
        return None
    finally:
        call.cancel()


def judge(tenancies: Iterable[Tenancy], watches: Iterable[Sequence[Seen]]) -> list[str]:
    """Return the keys that vanished while they were kept alive.

    Args:
        watches: of the tenancies' prefix; the earliest sight of a deletion counts.
    """
    gone: dict[str, float] = {}
    for watch in watches:
        for one in watch:
            if one.event.value is None:
                gone[one.event.key] = min(one.at, gone.get(one.event.key, one.at))
    return [
        f"{tenancy} was gone {tenancy.kept_until - gone[tenancy.key]:.2f} s before its lease ended"
        for tenancy in tenancies
        if gone.get(tenancy.key, tenancy.kept_until) < tenancy.kept_until
    ]
