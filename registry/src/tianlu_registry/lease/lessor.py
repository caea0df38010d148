"""Leases: promises that keys live on only while somebody renews.

Which leases there are, their TTLs, their keys and their checkpointed remaining time are
replicated: every node's lessor changes them by the same requests in the same order. *When* a
lease ends is known to the leader alone, which hears the renewals; they do not go through the log.
`promote` makes a lessor the leader's: every lease starts anew with its full time, or with the
remaining time last checkpointed. `demote` forgets all times. An expired lease ends for everybody
only by a revoke in the log.

Times are seconds of any steady clock, passed in as `now`.

Invariants:
    the lease of a key and the keys of a lease agree;
    as the leader's, every lease is in the expiry queue, at its expiry or earlier (a renewal only
    moves the lease's own expiry; the queue is corrected when the earlier time comes up).

Source: etcd server/lease/lessor.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf
from struct import Struct

from tianlu_registry.errors import LeaseExists, LeaseNotFound, LeaseTtlTooLarge, NoLeader
from tianlu_registry.lease.due_queue import DueQueue
from tianlu_registry.lease.protocols import LeaseBackend

NO_LEASE = 0
TTL_SECONDS_MAX = 9_000_000_000
CHECKPOINT_INTERVAL_SECONDS = 300.0
"""Leases with more time than this left have their remaining time checkpointed this often."""
REVOKE_RETRY_SECONDS = 3.0
"""An expired lease that is not revoked by then is handed out again."""

_RECORD = Struct(">qq")  # TTL, checkpointed remaining seconds


class Lease:
    """A lease. Owned by the lessor; others only read.

    Attributes:
        ttl_seconds: time that a grant or renewal gives.
        remaining_seconds: time left when last checkpointed; 0 if not since the last renewal.
        checkpointing: the leader's: a checkpoint was handed out and none applied since.
        keys: the keys attached, in order of attachment.
        expiry: when it expires; infinite where the lessor is not the leader's.
    """

    __slots__ = (
        "checkpointing",
        "expiry",
        "keys",
        "lease_id",
        "remaining_seconds",
        "ttl_seconds",
    )

    def __init__(self, lease_id: int, ttl_seconds: int, remaining_seconds: int = 0) -> None:
        self.lease_id = lease_id
        self.ttl_seconds = ttl_seconds
        self.remaining_seconds = remaining_seconds
        self.keys: dict[bytes, None] = {}
        self.expiry = inf
        self.checkpointing = False


class Lessor:
    """All leases of the store. Implements `mvcc.LeaseBook`.

    Args:
        backend: holds the records of the leases, which are restored now. Their keys are not in the
            records: the MVCC store attaches them while it restores.
        ttl_seconds_min: shorter TTLs are raised to this. It should outlast an election, or a change
            of leader would end leases.
    """

    def __init__(self, backend: LeaseBackend, *, ttl_seconds_min: int = 1) -> None:
        self._backend = backend
        self._ttl_seconds_min = ttl_seconds_min
        self._is_leader = False
        self._expiries = DueQueue()
        self._checkpoints = DueQueue()
        self.reload()

    def reload(self) -> None:
        """Take the leases that the backend holds now, in place of those known. Their keys are
        attached by the store. Never called as the leader's lessor."""
        self._leases: dict[int, Lease] = {
            lease_id: Lease(lease_id, *_RECORD.unpack(record))
            for lease_id, record in self._backend.leases()
        }
        self._lease_of: dict[bytes, int] = {}

    # Replicated state

    def grant(self, lease_id: int, ttl_seconds: int, now: float) -> int:
        """Make a lease under an id chosen by the caller.

        Returns:
            The TTL granted, which may be longer than that asked for.

        Raises:
            LeaseTtlTooLarge: over 9,000,000,000 seconds.
            LeaseExists: the id is taken.
            LeaseNotFound: the id is 0, which means no lease.
        """
        if lease_id == NO_LEASE:
            raise LeaseNotFound
        if ttl_seconds > TTL_SECONDS_MAX:
            raise LeaseTtlTooLarge
        if lease_id in self._leases:
            raise LeaseExists
        lease = Lease(lease_id, max(ttl_seconds, self._ttl_seconds_min))
        self._leases[lease_id] = lease
        self._save(lease)
        if self._is_leader:
            self._start(lease, now + lease.ttl_seconds, now)
        return lease.ttl_seconds

    def revoke(self, lease_id: int) -> list[bytes]:
        """End a lease.

        Returns:
            Its keys, sorted. The caller deletes them in one revision, before the next commit of
            the backend (a lease that ends without its keys would leave them for ever).

        Raises:
            LeaseNotFound: there is no such lease.
        """
        lease = self._get(lease_id)
        for key in lease.keys:
            del self._lease_of[key]
        del self._leases[lease_id]
        self._backend.delete_lease(lease_id)
        self._expiries.discard(lease_id)
        self._checkpoints.discard(lease_id)
        return sorted(lease.keys)

    def checkpoint(self, lease_id: int, remaining_seconds: int) -> None:
        """Note how much time a lease has left: what it starts with under the next leader. 0: its
        full time.

        Harmless if there is no such lease (any more).
        """
        lease = self._leases.get(lease_id)
        if lease is not None:
            lease.remaining_seconds = remaining_seconds
            lease.checkpointing = False
            self._save(lease)

    def has(self, lease_id: int) -> bool:
        return lease_id in self._leases

    def lease_of(self, key: bytes) -> int:
        """Return the lease that `key` is attached to, 0 for none."""
        return self._lease_of.get(key, NO_LEASE)

    def attach(self, lease_id: int, keys: Iterable[bytes]) -> None:
        """Attach keys to a lease, leaving whatever lease they were attached to.

        Raises:
            LeaseNotFound: there is no such lease.
        """
        lease = self._get(lease_id)
        for key in keys:
            before = self._lease_of.get(key)
            if before is not None:
                del self._leases[before].keys[key]
            self._lease_of[key] = lease_id
            lease.keys[key] = None

    def detach(self, lease_id: int, keys: Iterable[bytes]) -> None:
        """Detach those of the keys that are attached to this lease.

        Raises:
            LeaseNotFound: there is no such lease.
        """
        lease = self._get(lease_id)
        for key in keys:
            if key in lease.keys:
                del lease.keys[key]
                del self._lease_of[key]

    # Reading

    def __len__(self) -> int:
        return len(self._leases)

    def ids(self) -> list[int]:
        """Return the ids of all leases, those granted first first."""
        return list(self._leases)

    def records(self) -> list[tuple[int, bytes]]:
        """Return (lease id, stored record) of all leases."""
        return [(lease.lease_id, _record(lease)) for lease in self._leases.values()]

    def lookup(self, lease_id: int) -> Lease | None:
        return self._leases.get(lease_id)

    def keys(self, lease_id: int) -> list[bytes]:
        """Return the keys attached to a lease.

        Raises:
            LeaseNotFound: there is no such lease.
        """
        return list(self._get(lease_id).keys)

    def time_to_live(self, lease_id: int, now: float) -> int:
        """Return the whole seconds that a lease has left, at least 0. Only the leader's lessor
        knows.

        Raises:
            LeaseNotFound: there is no such lease.
            NoLeader: this lessor is not the leader's.
        """
        lease = self._get(lease_id)
        self._require_leader()
        return max(int(lease.expiry - now), 0)

    # The leader's

    @property
    def is_leader(self) -> bool:
        return self._is_leader

    def promote(self, now: float, extend_seconds: float = 0.0) -> None:
        """Become the leader's lessor: from now on leases expire.

        Args:
            extend_seconds: added to every lease, for the time in which nobody could renew: an
            election timeout.
        """
        self._is_leader = True
        for lease in self._leases.values():
            lease.checkpointing = False
            lease.expiry = now + extend_seconds + (lease.remaining_seconds or lease.ttl_seconds)
        self._expiries.reset({lease_id: lease.expiry for lease_id, lease in self._leases.items()})
        self._checkpoints.reset(
            {
                lease_id: now + CHECKPOINT_INTERVAL_SECONDS
                for lease_id, lease in self._leases.items()
                if lease.expiry - now > CHECKPOINT_INTERVAL_SECONDS
            }
        )

    def demote(self) -> None:
        """Be the leader's no more: nothing expires here."""
        self._is_leader = False
        self._expiries.reset({})
        self._checkpoints.reset({})
        for lease in self._leases.values():
            lease.expiry = inf

    def is_checkpointed(self, lease_id: int) -> bool:
        """Return whether a renewal must be preceded by a replicated `checkpoint(lease_id, 0)`.

        Otherwise the next leader would start the lease with the time left before the renewal. A
        checkpoint that was handed out and is still on its way through the log counts too: it would
        be applied after the renewal and outlast it.
        """
        lease = self._leases.get(lease_id)
        return lease is not None and (lease.remaining_seconds > 0 or lease.checkpointing)

    def renew(self, lease_id: int, now: float) -> int:
        """Give a lease its full time again.

        Returns:
            Its TTL.

        Raises:
            LeaseNotFound: there is no such lease, or it has expired and is about to be revoked.
            NoLeader: this lessor is not the leader's.
        """
        self._require_leader()
        lease = self._get(lease_id)
        if lease.expiry <= now:
            raise LeaseNotFound
        lease.expiry = now + lease.ttl_seconds
        return lease.ttl_seconds

    def expired(self, now: float, limit: int) -> list[int]:
        """Return up to `limit` expired leases, those that expired first first, for the caller to
        revoke.

        A lease handed out comes again after `REVOKE_RETRY_SECONDS` unless it was revoked.
        """
        found: list[int] = []
        while len(found) < limit:
            lease_id = self._expiries.pop_due(now)
            if lease_id is None:
                break
            expiry = self._leases[lease_id].expiry
            if expiry <= now:
                found.append(lease_id)
                expiry = now + REVOKE_RETRY_SECONDS
            self._expiries.schedule(lease_id, expiry)
        return found

    def checkpoints_due(self, now: float, limit: int) -> list[tuple[int, int]]:
        """Return up to `limit` (lease id, remaining seconds) for the caller to replicate by
        `checkpoint`."""
        found: list[tuple[int, int]] = []
        while len(found) < limit:
            lease_id = self._checkpoints.pop_due(now)
            if lease_id is None:
                break
            lease = self._leases[lease_id]
            remaining = ceil(lease.expiry - now)
            if remaining > 0:
                self._checkpoints.schedule(lease_id, now + CHECKPOINT_INTERVAL_SECONDS)
            if 0 < remaining < lease.ttl_seconds:
                lease.checkpointing = True
                found.append((lease_id, remaining))
        return found

    # Private

    def _get(self, lease_id: int) -> Lease:
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseNotFound
        return lease

    def _require_leader(self) -> None:
        if not self._is_leader:
            raise NoLeader

    def _save(self, lease: Lease) -> None:
        self._backend.put_lease(lease.lease_id, _record(lease))

    def _start(self, lease: Lease, expiry: float, now: float) -> None:
        lease.expiry = expiry
        self._expiries.schedule(lease.lease_id, expiry)
        if expiry - now > CHECKPOINT_INTERVAL_SECONDS:
            self._checkpoints.schedule(lease.lease_id, now + CHECKPOINT_INTERVAL_SECONDS)


def _record(lease: Lease) -> bytes:
    return _RECORD.pack(lease.ttl_seconds, lease.remaining_seconds)
