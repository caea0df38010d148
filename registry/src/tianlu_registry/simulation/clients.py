"""What the cluster is asked to do: writes, reads, leases, watches, compactions.

Values are unique, keys and leases few, so that requests meet.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
)
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.raft import NO_MEMBER
from tianlu_registry.simulation.machine import Outcome
from tianlu_registry.simulation.watchers import SimulatedWatcher

if TYPE_CHECKING:
    from tianlu_registry.simulation.cluster import Cluster
    from tianlu_registry.simulation.member import SimulatedMember

TTL_TICKS: Final = (10, 80)
"""Leases are granted for so many ticks, at least one second."""

CHANCE_LEASED: Final = 0.3
"""That a put hangs on a lease."""

_WEIGHTS: Final = {"put": 8, "delete": 2, "txn": 4, "grant": 2, "revoke": 1, "compact": 1}


class Clients:
    """All clients of a cluster. Each request goes to any member that runs.

    Attributes:
        watchers: see `watchers`.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        plan = cluster.plan
        self._keys = [b"key/%d" % number for number in range(plan.keys)]
        self._leases = list(range(1, plan.leases + 1)) if plan.lease_units else []
        self._known: dict[bytes, int] = {}  # mod_revision of each key, as last read
        self._values = 0
        self.watchers = [self._new_watcher(number) for number in range(plan.watchers)]

    def _new_watcher(self, number: int) -> SimulatedWatcher:
        chance = self._cluster.scenario.chance("range", number)
        first, last = sorted(chance.choices(self._keys, k=2))
        key, range_end = chance.choice([(first, b""), (first, last + b"\0"), (b"key/", b"key0")])
        return SimulatedWatcher(self._cluster, f"watcher {number}", key, range_end)

    # Writes

    def write(self, chance: random.Random) -> None:
        """Make one write at some member."""
        member = self._any_member(chance)
        if member is None:
            return
        kinds = [kind for kind in _WEIGHTS if self._leases or kind not in ("grant", "revoke")]
        drawn = chance.choices(kinds, [_WEIGHTS[kind] for kind in kinds])[0]
        make: dict[str, Callable[[random.Random], tuple[CommandKind, Request]]] = {
            "put": self._put,
            "delete": self._delete,
            "txn": self._txn,
            "grant": self._grant,
            "revoke": self._revoke,
            "compact": self._compact,
        }
        self.propose(member, *make[drawn](chance))

    def propose(
        self,
        member: SimulatedMember,
        kind: CommandKind,
        request: Request,
        then: Callable[[Outcome], None] | None = None,
    ) -> None:
        """Ask a member for a write, and judge its answer."""
        history = self._cluster.history
        floor = history.floor
        numbers: list[int] = []

        def answered(outcome: Outcome) -> None:
            history.on_acknowledged(numbers[0], outcome, floor)
            if then is not None:
                then(outcome)

        def ask() -> None:
            number = member.service.propose(kind, request, answered)
            numbers.extend([number] if number is not None else [])

        member.awake(ask)

    def _put(self, chance: random.Random) -> tuple[CommandKind, Request]:
        return CommandKind.PUT, self._put_request(chance, chance.choice(self._keys))

    def _put_request(self, chance: random.Random, key: bytes) -> PutRequest:
        self._values += 1
        padding = b"x" * chance.randint(0, self._cluster.plan.value_bytes_max)
        leased = self._leases and chance.random() < CHANCE_LEASED
        lease = chance.choice(self._leases) if leased else 0
        return PutRequest(key=key, value=b"%d." % self._values + padding, lease=lease)

    def _delete(self, chance: random.Random) -> tuple[CommandKind, Request]:
        first, last = sorted(chance.choices(self._keys, k=2))
        range_end = chance.choice([b"", last])
        return CommandKind.DELETE_RANGE, DeleteRangeRequest(
            key=first, range_end=range_end if range_end > first else b""
        )

    def _txn(self, chance: random.Random) -> tuple[CommandKind, Request]:
        """Compare and set one key, or change several at once."""
        keys = chance.sample(self._keys, chance.randint(1, min(3, len(self._keys))))
        revision = self._known.get(keys[0], 0)
        success = [RequestOp(request_put=self._put_request(chance, key)) for key in keys]
        if chance.random() < 0.3:
            success[0] = RequestOp(request_delete_range=DeleteRangeRequest(key=keys[0]))
        compare = Compare(
            result=Compare.EQUAL, target=Compare.MOD, key=keys[0], mod_revision=revision
        )
        failure = [RequestOp(request_range=RangeRequest(key=keys[0]))]
        return CommandKind.TXN, TxnRequest(compare=[compare], success=success, failure=failure)

    def _grant(self, chance: random.Random) -> tuple[CommandKind, Request]:
        ticks = chance.randint(*TTL_TICKS)
        ttl_seconds = max(1, round(ticks * self._cluster.plan.tick_seconds))
        lease_id = chance.choice(self._leases)
        return CommandKind.LEASE_GRANT, LeaseGrantRequest(ID=lease_id, TTL=ttl_seconds)

    def _revoke(self, chance: random.Random) -> tuple[CommandKind, Request]:
        return CommandKind.LEASE_REVOKE, LeaseRevokeRequest(ID=chance.choice(self._leases))

    def _compact(self, chance: random.Random) -> tuple[CommandKind, Request]:
        revision = max(1, self._cluster.history.floor - chance.randint(0, 20))
        return CommandKind.COMPACTION, CompactionRequest(revision=revision)

    # Reads

    def look_up(self, chance: random.Random) -> None:
        """Read one key at some member."""
        member = self._any_member(chance)
        if member is not None:
            self.read(member, chance.choice(self._keys))

    def read(self, member: SimulatedMember, key: bytes) -> None:
        """Read one key at a member, and judge its answer."""
        history = self._cluster.history
        floor = history.floor

        def served(response: RangeResponse) -> None:
            history.on_read(key, response, floor)
            self._known[key] = response.kvs[0].mod_revision if response.kvs else 0

        member.awake(lambda: member.service.read(RangeRequest(key=key), served))

    # Leases

    def renew(self, chance: random.Random) -> None:
        """Keep a lease alive, through some member that passes the call on to its leader."""
        member = self._any_member(chance)
        if member is None or not self._leases:
            return
        lease_id = chance.choice(self._leases)
        leader_id = member.node._raft.leader_id
        if leader_id == NO_MEMBER:
            return
        cluster = self._cluster
        leader = cluster.members[leader_id - 1]

        def arrive() -> None:
            arrived_at = cluster.clock.now

            def answered(ttl_seconds: int) -> None:
                cluster.network.call(leader.id, member.id, lambda: told(ttl_seconds))

            def told(ttl_seconds: int) -> None:
                if ttl_seconds:
                    cluster.leases.on_kept_alive(lease_id, arrived_at)

            if leader.running:
                leader.awake(lambda: leader.service.keep_alive(lease_id, answered))

        if leader is member:
            arrive()
        else:
            cluster.network.call(member.id, leader.id, arrive)

    # Watches

    def watch(self, chance: random.Random) -> None:
        """Let a watcher go to another member, or ask how far it is."""
        if not self.watchers:
            return
        watcher = chance.choice(self.watchers)
        if watcher.is_connected and chance.random() < 0.8:
            watcher.note_progress()
            return
        member = self._any_member(chance)
        if member is not None:
            watcher.connect(member)

    def _any_member(self, chance: random.Random) -> SimulatedMember | None:
        running = self._cluster.running()
        return chance.choice(running) if running else None
