"""Several members: whatever one of them answers is true of all."""

from __future__ import annotations

import asyncio
import hashlib
import shutil

import pytest
from registry.node.clusters import members, retried, until

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu._proto.etcd.rpc_pb2 import (
    AlarmRequest,
    CompactionRequest,
    DeleteRangeRequest,
    HashKVRequest,
    LeaseGrantRequest,
    LeaseTimeToLiveRequest,
    MemberAddRequest,
    MemberListRequest,
    MemberPromoteRequest,
    MemberRemoveRequest,
    MemberUpdateRequest,
    MoveLeaderRequest,
    PutRequest,
)
from tianlu_registry.errors import (
    BadLeaderTransferee,
    InvalidArgument,
    LearnerNotReady,
    MemberNotFound,
    MemberNotLearner,
    MemberRemoved,
    NoSpace,
    NotLeader,
    PeerUrlExists,
    TooManyLearners,
    UnhealthyCluster,
)
from tianlu_registry.mvcc.types import WatchBatch, WatchSpec


async def test_what_one_member_acknowledges_all_members_read() -> None:
    async with members() as cluster:
        for number, name in enumerate("abcabc"):
            key = b"k%d" % number
            assert await cluster.put(name, key, key) == number + 2
            for other in "abc":
                assert await cluster.get(other, key) == key


async def test_members_know_each_other() -> None:
    async with members() as cluster:
        for name in "abc":
            await until(
                "all have published",
                lambda name=name: all(  # type: ignore[misc]
                    record.client_urls
                    for record in cluster[name].node.machine.cluster.membership.members.values()
                ),
            )
            listed = await cluster.cluster(name).member_list(MemberListRequest(linearizable=True))
            assert {member.name: member.clientURLs[0] for member in listed.members} == {
                each: f"http://{each}.example:2379" for each in "abc"
            }
            assert not any(member.isLearner for member in listed.members)


async def test_the_others_go_on_when_the_leader_is_gone_and_it_catches_up() -> None:
    async with members() as cluster:
        leader = await cluster.wait_leader()
        await cluster.put(leader, b"before")
        await cluster.stop(leader)
        others = list(cluster.running)
        await cluster.put(others[0], b"meanwhile")
        await cluster.start(leader)
        assert await cluster.get(leader, b"meanwhile") == b"v"
        await cluster.wait_equal()


async def test_writes_and_reads_wait_for_a_leader() -> None:
    async with members() as cluster:
        await cluster.put("a", b"k", b"1")
        await cluster.stop("b", "c")
        alone = cluster["a"].node
        await until("it has noticed", lambda: alone.leader_id == 0)
        writing = asyncio.create_task(cluster.put("a", b"k", b"2"))
        reading = asyncio.create_task(cluster.get("a", b"k"))
        await asyncio.sleep(0)
        assert await cluster.get("a", b"k", serializable=True) == b"1"
        await cluster.start("b")
        await writing
        assert await reading in (b"1", b"2")
        assert await cluster.get("b", b"k") == b"2"


async def test_leases_are_renewed_through_any_member() -> None:
    async with members() as cluster:
        (follower, other) = await cluster.followers()
        granted = await cluster[follower].store.lease_grant(LeaseGrantRequest(TTL=60))
        for name in "abc":
            answer = await cluster[name].store.lease_keep_alive(granted.ID)
            assert answer.TTL == granted.TTL
            missing = await cluster[name].store.lease_keep_alive(granted.ID + 1)
            assert missing.TTL == 0
        request = LeaseTimeToLiveRequest(ID=granted.ID, keys=True)
        await cluster[other].store.put(PutRequest(key=b"k", lease=granted.ID))
        left = await cluster[other].store.lease_time_to_live(request)
        assert 0 < left.TTL <= left.grantedTTL == granted.TTL
        assert list(left.keys) == [b"k"]


async def test_a_lease_outlives_its_leader_and_ends_when_nobody_renews() -> None:
    async with members() as cluster:
        leader = await cluster.wait_leader()
        granted = await cluster[leader].store.lease_grant(LeaseGrantRequest(TTL=1))
        await cluster[leader].store.put(PutRequest(key=b"k", value=b"v", lease=granted.ID))
        await cluster.stop(leader)
        survivor = next(iter(cluster.running))
        assert await cluster.get(survivor, b"k") == b"v"
        machine = cluster[survivor].node.machine
        await until("it has ended", lambda: machine.mvcc.key_count == 0)


async def test_watches_on_a_follower_see_what_is_written_elsewhere() -> None:
    async with members() as cluster:
        follower, _ = await cluster.followers()
        leader = await cluster.wait_leader()
        sink = Sink()
        cluster[follower].store.watch(WatchSpec(key=b"k", range_end=b"l"), sink)
        for number in range(20):
            await cluster.put(leader, b"k%d" % number)
        await until("all have come", lambda: len(sink.events) == 20)
        assert [event.kv.mod_revision for event in sink.events] == list(range(2, 22))


class Sink:
    """Takes all batches."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.error: Exception | None = None

    def deliver(self, batch: WatchBatch) -> bool:
        self.events.extend(batch.events)
        return True

    def ended(self, error: Exception) -> None:
        self.error = error


# Members that come and go


async def test_a_learner_catches_up_and_becomes_a_voter() -> None:
    async with members() as cluster:
        for number in range(50):
            await cluster.put("a", b"k%d" % number)
        number = await cluster.add("d", learner=True)
        with pytest.raises(TooManyLearners):
            await cluster.cluster("b").member_add(
                MemberAddRequest(peerURLs=["http://e:1"], isLearner=True)
            )
        with pytest.raises(LearnerNotReady):
            await cluster.cluster("b").member_promote(MemberPromoteRequest(ID=number))
        await cluster.start("d")
        assert cluster["d"].node.is_learner
        assert not cluster["d"].node.is_settled
        assert cluster["d"].node.identity.member_id == number
        await cluster.wait_equal()
        promote = MemberPromoteRequest(ID=number)
        await retried(lambda: cluster.cluster("b").member_promote(promote))
        await until("it votes", lambda: not cluster["d"].node.is_learner)
        await until("it serves all", lambda: cluster["d"].node.is_settled)
        assert await cluster.get("d", b"k49") == b"v"
        with pytest.raises(MemberNotLearner):
            await cluster.cluster("a").member_promote(promote)


async def test_a_member_is_added_as_a_voter_and_removed() -> None:
    async with members() as cluster:
        with pytest.raises(PeerUrlExists):
            await cluster.cluster("b").member_add(MemberAddRequest(peerURLs=[cluster.url("a")]))
        await cluster.add("d")
        await cluster.start("d")
        assert await cluster.put("d", b"k") == 2
        number = cluster["a"].node.identity.member_id
        removal = MemberRemoveRequest(ID=number)
        await retried(lambda: cluster.cluster("d").member_remove(removal))
        await until("it has stopped itself", lambda: "a" in cluster.failures)
        assert isinstance(cluster.failures["a"], MemberRemoved)
        await cluster.stop("a")
        with pytest.raises(MemberNotFound):
            await cluster.cluster("d").member_remove(removal)
        assert await cluster.put("d", b"k") == 3


async def test_a_member_that_was_away_when_it_was_removed_learns_of_it() -> None:
    async with members() as cluster:
        away, _ = await cluster.followers()
        removal = MemberRemoveRequest(ID=cluster[away].node.identity.member_id)
        await cluster.stop(away)
        survivor = next(iter(cluster.running))
        await retried(lambda: cluster.cluster(survivor).member_remove(removal))
        await cluster.start(away, start_wait_seconds=0.1)
        await until("it has stopped itself", lambda: away in cluster.failures)
        assert isinstance(cluster.failures[away], MemberRemoved)


async def test_a_restarted_leader_still_has_what_a_follower_lacks() -> None:
    async with members() as cluster:
        away, other = await cluster.followers()
        await cluster.stop(away)
        for number in range(50):
            await cluster.put(other, b"k%d" % number)
        rest = list(cluster.running)
        await cluster.stop(*rest)
        await cluster.start(*rest)
        await cluster.start(away)
        assert await cluster.get(away, b"k49") == b"v"
        assert cluster[away].node.others.snapshots.installed_count == 0


async def test_a_member_that_would_cost_the_quorum_is_not_removed() -> None:
    async with members() as cluster:
        leader = await cluster.wait_leader()
        gone, kept = await cluster.followers()
        await cluster.stop(gone)
        raft = cluster[leader].node.raft_status
        await until("it is missed", lambda: not all(p.recent_active for p in raft().peers.values()))
        removal = MemberRemoveRequest(ID=cluster[kept].node.identity.member_id)
        with pytest.raises(UnhealthyCluster):
            await cluster.cluster(leader).member_remove(removal)


async def test_a_new_member_gets_a_snapshot_where_the_log_is_gone() -> None:
    async with members(wal_entries_kept=0) as cluster:
        for number in range(300):
            await cluster.put("a", b"k%d" % (number % 100), b"%d" % number)
        await cluster["a"].store.compact(CompactionRequest(revision=250, physical=True))
        await cluster.add("d", learner=True)
        await cluster.start("d")
        assert cluster["d"].node.others.snapshots.installed_count == 1
        await cluster.wait_equal()
        assert await cluster.get("d", b"k99", serializable=True) == b"299"
        # And it goes on from there, also after a restart.
        await cluster.put("b", b"after")
        await cluster.stop("d")
        await cluster.start("d")
        await cluster.wait_equal()
        assert await cluster.get("d", b"after", serializable=True) == b"v"


async def test_a_compaction_that_a_snapshot_brings_unfinished_is_finished() -> None:
    async with members(wal_entries_kept=0) as cluster:
        away, _ = await cluster.followers()
        await cluster.wait_equal()
        cluster.cut_off(away)
        leader = await cluster.wait_leader()
        cluster[leader].node.machine.on_compacted = lambda: None  # it has much else to do
        for _ in range(50):
            await cluster.put(leader, b"k")
        await cluster[leader].store.compact(CompactionRequest(revision=40))
        await cluster.cut_log()
        cluster.join_again(away)
        await cluster.wait_equal()
        assert cluster[away].node.others.snapshots.installed_count == 1
        mvcc = cluster[away].node.machine.mvcc
        assert mvcc.compact_revision == 40
        await until("it is done", lambda: mvcc.compaction_step(0))


async def test_a_follower_that_was_away_too_long_is_brought_back_with_its_watchers() -> None:
    async with members(wal_entries_kept=0) as cluster:
        away, _ = await cluster.followers()
        sink = Sink()
        cluster[away].store.watch(WatchSpec(key=b"k", range_end=b"l", start_revision=1), sink)
        await cluster.put(away, b"k", b"seen")
        cluster.cut_off(away)
        for number in range(200):
            await cluster.put(await cluster.wait_leader(), b"k", b"%d" % number)
        await cluster.cut_log()
        cluster.join_again(away)
        await cluster.wait_equal()
        assert cluster[away].node.others.snapshots.installed_count == 1
        await until("all have come", lambda: len(sink.events) == 201)
        revisions = [event.kv.mod_revision for event in sink.events]
        assert revisions == list(range(2, 203))


async def test_a_wiped_member_is_replaced() -> None:
    async with members() as cluster:
        await cluster.put("a", b"k")
        lost, _ = await cluster.followers()
        number = cluster[lost].node.identity.member_id
        await cluster.stop(lost)
        shutil.rmtree(cluster.root / lost)
        removal = MemberRemoveRequest(ID=number)
        survivor = next(iter(cluster.running))
        await retried(lambda: cluster.cluster(survivor).member_remove(removal))
        cluster.founders.remove(lost)
        fresh = await cluster.add(lost)
        assert fresh != number
        await cluster.start(lost)
        assert await cluster.get(lost, b"k") == b"v"


@pytest.mark.parametrize("state", ["new", "existing"])
async def test_a_wiped_member_does_not_begin_again_under_its_old_number(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tianlu_registry.node.join.JOIN_SECONDS", 0.0)
    async with members() as cluster:
        wiped, other = await cluster.followers()
        own_id = cluster[wiped].node.identity.member_id
        known = cluster[other].node.machine.cluster
        await until("it is known", lambda: bool(known.membership.members[own_id].client_urls))
        await cluster.wait_equal()
        await cluster.stop(wiped)
        shutil.rmtree(cluster.root / wiped)
        with pytest.raises(InvalidArgument, match="has run before"):
            await cluster.start(wiped, cluster_state=state)


async def test_the_last_survivor_begins_again_by_force() -> None:
    async with members() as cluster:
        await cluster.put("a", b"k", b"kept")
        await cluster.wait_equal()
        await cluster.stop("a", "b", "c")
        await cluster.start("b", force_new_cluster=True)
        assert await cluster.get("b", b"k") == b"kept"
        listed = await cluster.cluster("b").member_list(MemberListRequest())
        assert [member.name for member in listed.members] == ["b"]
        await cluster.stop("b")
        await cluster.start("b")
        assert await cluster.put("b", b"k") > 2
        cluster.founders = ["b"]
        await cluster.add("d")
        await cluster.start("d")
        assert await cluster.get("d", b"k") == b"v"


async def test_a_stranger_is_told_to_be_added_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tianlu_registry.node.join.JOIN_SECONDS", 0.0)
    async with members("a") as cluster:
        with pytest.raises(InvalidArgument, match="add it first: tianlu cluster member add d"):
            await cluster.start("d")


async def test_a_cluster_of_one_grows() -> None:
    async with members("a") as cluster:
        await cluster.put("a", b"k")
        for name in "bc":
            await cluster.add(name)
            await cluster.start(name)
            cluster.founders.append(name)
        await cluster.wait_equal()
        await cluster.stop(await cluster.wait_leader())
        assert await cluster.get(next(iter(cluster.running)), b"k") == b"v"


async def test_peer_urls_are_changed_while_it_runs() -> None:
    async with members() as cluster:
        follower, _ = await cluster.followers()
        node = cluster[follower].node
        moved = f"unix:{cluster.root}/elsewhere.sock"
        request = MemberUpdateRequest(ID=node.identity.member_id, peerURLs=[moved])
        await cluster.cluster(follower).member_update(request)
        await cluster.stop(follower)
        config = {"peer_urls": (moved,), "listen_peer_urls": (moved,), "initial_cluster": ""}
        await cluster.start(follower, **config)
        assert await cluster.put(follower, b"k") == 2
        taken = MemberUpdateRequest(
            ID=cluster[await cluster.wait_leader()].node.identity.member_id, peerURLs=[moved]
        )
        with pytest.raises(PeerUrlExists):
            await cluster.cluster(follower).member_update(taken)


# The leader


async def test_leadership_is_moved() -> None:
    async with members() as cluster:
        leader = await cluster.wait_leader()
        target, _ = await cluster.followers()
        request = MoveLeaderRequest(targetID=cluster[target].node.identity.member_id)
        with pytest.raises(NotLeader):
            await cluster.cluster(target).move_leader(request)
        with pytest.raises(BadLeaderTransferee):
            await cluster.cluster(leader).move_leader(MoveLeaderRequest(targetID=1))
        await cluster.cluster(leader).move_leader(request)
        await until("it leads", lambda: cluster.leader() == target)


async def test_writes_go_through_while_leadership_moves() -> None:
    async with members() as cluster:
        written = 0

        async def write(name: str) -> None:
            nonlocal written
            while not done:
                await cluster.put(name, b"k-" + name.encode())
                written += 1

        done = False
        writers = [asyncio.create_task(write(name)) for name in "abc"]
        for _ in range(5):
            leader = await cluster.wait_leader()
            target = next(name for name in "abc" if name != leader)
            number = cluster[target].node.identity.member_id
            await cluster.cluster(leader).move_leader(MoveLeaderRequest(targetID=number))
        done = True
        await asyncio.gather(*writers)
        revision = cluster["a"].store.header().revision
        await cluster.wait_equal()
        assert revision >= 1 + written - len(writers)
        await cluster.get("a", b"k")
        assert cluster["a"].store.header().revision == 1 + written


# Alarms


async def test_no_space_on_one_member_stops_writes_on_all_until_there_is_room() -> None:
    async with members() as cluster:
        short, *_ = await cluster.followers()
        guard = cluster[short].node.space
        free = guard._disk_free_bytes
        guard._disk_free_bytes_min, guard._disk_free_bytes = 1 << 20, lambda: 0
        others = [name for name in "abc" if name != short]
        alarms = cluster[others[0]].node.machine.cluster
        await until("all know", lambda: bool(alarms.alarms))
        for name in "abc":
            await until("all refuse", lambda name=name: bool(cluster[name].store.status().alarms))
            with pytest.raises(NoSpace):
                await cluster.put(name, b"k")
            await cluster[name].store.delete_range(DeleteRangeRequest(key=b"k"))
        listed = await cluster.cluster(others[0]).alarm(AlarmRequest())
        assert [alarm.memberID for alarm in listed.alarms] == [
            cluster[short].node.identity.member_id
        ]
        guard._disk_free_bytes = free
        await until("it has cleared", lambda: not alarms.alarms)
        await retried(lambda: cluster.put(others[0], b"k"))


# State


async def test_members_agree_and_one_that_does_not_takes_itself_out() -> None:
    async with members() as cluster:
        for number in range(300):
            await cluster.put("a", b"k%d" % number)
        liar, _ = await cluster.followers()
        nodes = [cluster[name].node for name in "abc"]
        audits = [node.others.audit.counts for node in nodes]
        await until("they have compared", lambda: any(audit.agreed_index for audit in audits))
        cluster[liar].node.state_hash.wrote_record(b"what nobody wrote")
        await until("it has stopped", lambda: liar in cluster.failures)
        assert cluster.failures[liar].exit_code == 75
        others = [name for name in "abc" if name != liar]
        assert await cluster.put(others[0], b"k") > 300


async def test_hashes_and_snapshots_of_members_are_equal() -> None:
    async with members() as cluster:
        for number in range(100):
            await cluster.put("b", b"k%d" % (number % 10), b"%d" % number)
        await cluster["a"].store.compact(CompactionRequest(revision=50))
        await cluster["c"].store.lease_grant(LeaseGrantRequest(ID=5, TTL=60))
        await cluster.wait_equal()
        hashes = {(await cluster.cluster(name).hash()).hash for name in "abc"}
        assert len(hashes) == 1
        of_keys = [
            await cluster.cluster(name).hash_kv(HashKVRequest(revision=80)) for name in "abc"
        ]
        assert len({(answer.hash, answer.compact_revision) for answer in of_keys}) == 1
        await cluster.put("a", b"k1", b"other")
        await cluster.wait_equal()
        again = await cluster.cluster("b").hash_kv(HashKVRequest(revision=80))
        assert again.hash == of_keys[0].hash
        assert (await cluster.cluster("b").hash_kv(HashKVRequest())).hash != again.hash
        assert again.hash_revision == 80


async def test_a_snapshot_is_a_whole_file_with_its_digest() -> None:
    async with members() as cluster:
        await cluster.put("a", b"k")
        name, _ = await cluster.followers()
        pieces = [piece async for piece in cluster.cluster(name).snapshot()]
        data = b"".join(piece.blob for piece in pieces)
        assert hashlib.sha256(data[:-32]).digest() == data[-32:]
        assert pieces[-1].remaining_bytes == 0
        assert pieces[0].remaining_bytes == len(data) - len(pieces[0].blob)
