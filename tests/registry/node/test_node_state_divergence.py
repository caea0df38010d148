"""A member whose state goes another way takes itself out, and the others go on."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from registry.node.clusters import Members, members, until

from tianlu._proto.etcd.rpc_pb2 import CORRUPT
from tianlu_registry.errors import Corrupt
from tianlu_registry.mvcc.revision import pack, revision_key
from tianlu_registry.node.metrics import NodeCollector


def damage(cluster: Members, name: str) -> None:
    """Have a member store what no entry says, as a bug or a bad bit would."""
    node = cluster[name].node
    record = b"\x0a\x03bad"
    node.machine.mvcc._backend.put(revision_key(pack(node.machine.mvcc.revision, 1000)), record)


def sample(cluster: Members, name: str, metric: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(NodeCollector(cluster[name].node))
    return registry.get_sample_value(metric)


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_the_one_that_diverges_stops_and_the_others_raise_the_alarm(role: str) -> None:
    async with members() as cluster:
        leader = await cluster.wait_leader()
        await cluster.put(leader, b"before")
        wrong = leader if role == "leader" else (await cluster.followers())[0]
        member_id = cluster[wrong].node.identity.member_id
        damage(cluster, wrong)
        await until("it has stopped", lambda: wrong in cluster.failures)
        failure = cluster.failures[wrong]
        assert isinstance(failure, Corrupt)
        assert failure.exit_code == 75
        assert "diverges from the majority" in str(failure)
        await cluster.stop(wrong)
        others = list(cluster.running)
        await until(
            "the alarm is known to the others",
            lambda: all(
                [(alarm.member, alarm.kind) for alarm in cluster[name].node.machine.cluster.alarms]
                == [(member_id, CORRUPT)]
                for name in others
            ),
        )
        # Whoever has raised the alarm knows; the other one may.
        diverged = "tianlu_registry_state_audit_diverged_members"
        assert 1 in [sample(cluster, name, diverged) for name in others]
        await cluster.put(others[0], b"after")
        assert await cluster.get(others[1], b"after") == b"v"
        assert set(cluster.failures) == {wrong}


async def test_members_agree_across_writes_leases_and_a_restart() -> None:
    async with members() as cluster:
        for number in range(300):
            await cluster.put("abc"[number % 3], b"k%d" % (number % 50))
        await cluster.stop("c")
        await cluster.put("a", b"meanwhile")
        await cluster.start("c")
        await cluster.wait_equal()
        reports = [
            node.node.state_hash.report(node.node.applied_index)
            for node in cluster.running.values()
        ]
        assert len({report.points[max(report.points)] for report in reports}) == 1
        audits = [node.node.others.audit.counts for node in cluster.running.values()]
        rounds = sum(audit.rounds for audit in audits)
        await until("rounds have passed", lambda: sum(a.rounds for a in audits) >= rounds + 2)
        assert [audit.mismatches for audit in audits] == [0, 0, 0]
        assert not cluster.failures
