"""Rules of leases, each by name. Source of the rules: etcd server/lease/lessor.go and its API
documentation."""

from __future__ import annotations

import pytest
from registry.mvcc.mvcc_fakes import MemoryBackend

from tianlu_registry.errors import LeaseExists, LeaseNotFound, LeaseTtlTooLarge, NoLeader
from tianlu_registry.lease import TTL_SECONDS_MAX, Lessor
from tianlu_registry.lease.lessor import CHECKPOINT_INTERVAL_SECONDS, REVOKE_RETRY_SECONDS


def leading(backend: MemoryBackend | None = None) -> Lessor:
    lessor = Lessor(backend or MemoryBackend(), ttl_seconds_min=2)
    lessor.promote(0.0)
    return lessor


def test_grant_bounds() -> None:
    lessor = leading()
    assert lessor.grant(1, 60, 0.0) == 60
    assert lessor.grant(2, 1, 0.0) == 2  # raised to the minimum
    assert lessor.grant(3, -5, 0.0) == 2
    assert lessor.grant(4, TTL_SECONDS_MAX, 0.0) == TTL_SECONDS_MAX
    with pytest.raises(LeaseTtlTooLarge):
        lessor.grant(5, TTL_SECONDS_MAX + 1, 0.0)
    with pytest.raises(LeaseExists):
        lessor.grant(1, 60, 0.0)
    with pytest.raises(LeaseNotFound):
        lessor.grant(0, 60, 0.0)
    assert lessor.ids() == [1, 2, 3, 4]


def test_revoke_hands_over_the_keys_sorted() -> None:
    lessor = leading()
    lessor.grant(1, 60, 0.0)
    lessor.attach(1, [b"c", b"a", b"b"])
    lessor.detach(1, [b"b", b"never"])
    assert lessor.revoke(1) == [b"a", b"c"]
    assert lessor.lease_of(b"a") == 0
    for call in (lessor.revoke, lessor.keys, lambda lease_id: lessor.attach(lease_id, [b"a"])):
        with pytest.raises(LeaseNotFound):
            call(1)


def test_a_key_is_on_one_lease_at_a_time() -> None:
    lessor = leading()
    lessor.grant(1, 60, 0.0)
    lessor.grant(2, 60, 0.0)
    lessor.attach(1, [b"a"])
    lessor.attach(2, [b"a"])
    lessor.detach(1, [b"a"])
    assert (lessor.keys(1), lessor.keys(2), lessor.lease_of(b"a")) == ([], [b"a"], 2)


def test_expiry_and_renewal() -> None:
    lessor = leading()
    lessor.grant(1, 10, 0.0)
    lessor.grant(2, 10, 1.0)
    assert lessor.renew(1, 5.0) == 10
    assert lessor.expired(10.9, 10) == []
    assert lessor.expired(11.0, 10) == [2]
    lessor.revoke(2)
    assert lessor.time_to_live(1, 11.5) == 3
    assert lessor.expired(15.0, 10) == [1]


def test_an_expired_lease_cannot_be_renewed() -> None:
    """It may be on its way out through the log, so a renewal must not promise anything."""
    lessor = leading()
    lessor.grant(1, 10, 0.0)
    with pytest.raises(LeaseNotFound):
        lessor.renew(1, 10.0)
    with pytest.raises(LeaseNotFound):
        lessor.renew(404, 10.0)
    assert lessor.time_to_live(1, 99.0) == 0


def test_an_expired_lease_that_is_not_revoked_comes_again() -> None:
    lessor = leading()
    lessor.grant(1, 10, 0.0)
    assert lessor.expired(10.0, 5) == [1]
    assert lessor.expired(10.0 + REVOKE_RETRY_SECONDS / 2, 5) == []
    assert lessor.expired(10.0 + REVOKE_RETRY_SECONDS, 5) == [1]
    lessor.revoke(1)
    assert lessor.expired(99.0, 5) == []


def test_only_the_leader_knows_times() -> None:
    lessor = Lessor(MemoryBackend())
    lessor.grant(1, 10, 0.0)
    assert lessor.expired(1e12, 5) == []
    for call in (lessor.renew, lessor.time_to_live):
        with pytest.raises(NoLeader):
            call(1, 0.0)
    lessor.promote(100.0, extend_seconds=1.5)
    assert lessor.expired(111.0, 5) == []
    assert lessor.expired(111.5, 5) == [1]
    lessor.demote()
    assert not lessor.is_leader
    assert lessor.expired(1e12, 5) == []


def test_a_hundred_thousand_expiring_at_once_come_in_batches() -> None:
    lessor = leading()
    for lease_id in range(1, 100_001):
        lessor.grant(lease_id, 10, 0.0)
    seen: list[int] = []
    while batch := lessor.expired(10.0, 1_000):
        assert len(batch) <= 1_000
        seen += batch
    assert sorted(seen) == list(range(1, 100_001))


def test_a_long_lease_is_checkpointed() -> None:
    backend = MemoryBackend()
    lessor = leading(backend)
    lessor.grant(1, 3600, 0.0)
    lessor.grant(2, 60, 0.0)  # too short to bother
    assert lessor.checkpoints_due(CHECKPOINT_INTERVAL_SECONDS - 1, 10) == []
    assert lessor.checkpoints_due(CHECKPOINT_INTERVAL_SECONDS + 0.5, 10) == [(1, 3300)]
    lessor.checkpoint(1, 3300)
    lessor.checkpoint(404, 1)  # revoked meanwhile: harmless
    assert lessor.is_checkpointed(1)
    assert lessor.checkpoints_due(2 * CHECKPOINT_INTERVAL_SECONDS + 0.5, 10) == [(1, 3000)]
    successor = Lessor(backend, ttl_seconds_min=2)
    assert successor.ids() == [1, 2]
    successor.promote(0.0)
    assert successor.time_to_live(1, 0.0) == 3300
    successor.checkpoint(1, 0)
    assert not successor.is_checkpointed(1)
    assert successor.renew(1, 0.0) == 3600


def test_a_checkpoint_on_its_way_counts_as_one() -> None:
    """It is applied after a renewal that did not clear it, and would cut the lease short under the
    next leader: found by the simulation."""
    lessor = leading()
    lessor.grant(1, 3600, 0.0)
    ((lease_id, remaining),) = lessor.checkpoints_due(CHECKPOINT_INTERVAL_SECONDS + 0.5, 10)
    assert lessor.is_checkpointed(lease_id)
    lessor.checkpoint(lease_id, remaining)
    assert lessor.is_checkpointed(lease_id)
    lessor.checkpoint(lease_id, 0)
    assert not lessor.is_checkpointed(lease_id)


def test_a_new_leader_has_handed_out_no_checkpoint() -> None:
    lessor = leading()
    lessor.grant(1, 3600, 0.0)
    lessor.checkpoints_due(CHECKPOINT_INTERVAL_SECONDS + 0.5, 10)
    lessor.demote()
    lessor.promote(400.0)
    assert not lessor.is_checkpointed(1)


def test_a_renewed_lease_needs_no_checkpoint_yet() -> None:
    lessor = leading()
    lessor.grant(1, 3600, 0.0)
    lessor.renew(1, CHECKPOINT_INTERVAL_SECONDS)
    assert lessor.checkpoints_due(CHECKPOINT_INTERVAL_SECONDS, 10) == []
    assert lessor.checkpoints_due(2 * CHECKPOINT_INTERVAL_SECONDS, 10) == [(1, 3300)]
