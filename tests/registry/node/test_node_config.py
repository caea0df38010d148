from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from tianlu_registry.errors import Corrupt, InvalidArgument
from tianlu_registry.node.config import MIB, NodeConfig, parse_initial_cluster
from tianlu_registry.node.identity import (
    Identity,
    check_owner,
    decode_founders,
    decode_metadata,
    encode_metadata,
    founders_of,
    identity_of,
    new_member_id,
)
from tianlu_registry.node.membership import MemberRecord, Membership
from tianlu_registry.raft.types import MemberId

DATA = Path("data")


def test_defaults_are_valid_and_documented() -> None:
    NodeConfig(DATA)
    assert NodeConfig.__doc__ is not None
    for field in fields(NodeConfig):
        assert f"{field.name}" in NodeConfig.__doc__, f"{field.name} is not documented"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a=b"}, "name"),
        ({"quota_bytes": 1}, "quota_bytes"),
        ({"disk_free_bytes_min": -1}, "disk_free_bytes_min"),
        ({"request_bytes_max": 10}, "request_bytes_max"),
        ({"txn_ops_max": 0}, "txn_ops_max"),
        ({"backlog_proposals_max": 0}, "backlog_proposals_max"),
        ({"backlog_bytes_max": MIB}, "backlog_bytes_max"),
        ({"request_timeout_seconds": 0}, "request_timeout_seconds"),
        ({"tick_milliseconds": 0}, "tick_milliseconds"),
        ({"heartbeat_ticks": 10, "election_ticks": 10}, "election_ticks"),
        ({"commit_interval_milliseconds": 0}, "commit_interval_milliseconds"),
        ({"commit_operations_max": 0}, "commit_operations_max"),
        ({"wal_entries_kept": -1}, "wal_entries_kept"),
        ({"wal_segment_bytes": 1}, "wal_segment_bytes"),
        ({"apply_slice_entries_max": 0}, "apply_slice_entries_max"),
        ({"apply_slice_milliseconds": 0}, "apply_slice_milliseconds"),
        ({"cluster_token": ""}, "cluster_token"),
        ({"cluster_state": "old"}, "cluster_state"),
        ({"listen_peer_urls": ("localhost",)}, "listen_peer_urls"),
        ({"listen_peer_urls": ("https://127.0.0.1:1",)}, "peer_cert_file"),
        ({"peer_cert_file": "c"}, "peer_key_file"),
        ({"peer_key_file": "k"}, "peer_cert_file"),
        ({"peer_client_cert_auth": True}, "peer_trusted_ca_file"),
        ({"peer_cert_allowed_cn": "n"}, "peer_client_cert_auth"),
        ({"start_wait_seconds": -1}, "start_wait_seconds"),
        ({"peer_urls": ()}, "peer_urls"),
        ({"peer_urls": ("localhost:2380",)}, "peer_urls"),
        ({"initial_cluster": "default"}, "initial_cluster"),
        ({"initial_cluster": "other=http://localhost:2380"}, "initial_cluster"),
        ({"initial_cluster": "default=http://elsewhere:2380"}, "initial_cluster"),
    ],
)
def test_a_field_that_cannot_be_is_named(settings: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        NodeConfig(DATA, **settings)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_two_members_at_one_url_are_refused() -> None:
    both = "default=http://localhost:2380,b=http://localhost:2380"
    with pytest.raises(InvalidArgument, match="gives http://localhost:2380 to default and to b"):
        NodeConfig(DATA, initial_cluster=both)


def test_several_members_found_a_cluster_with_etcds_numbers() -> None:
    urls = {"a": "http://127.0.0.1:12380", "b": "http://127.0.0.1:22380"}
    cluster = ",".join(f"{name}={url}" for name, url in urls.items())
    configs = [
        NodeConfig(DATA, name=name, peer_urls=(url,), initial_cluster=cluster)
        for name, url in urls.items()
    ]
    first, second = map(identity_of, configs)
    assert first.cluster_id == second.cluster_id
    founders = founders_of(configs[0])
    assert founders == founders_of(configs[1])
    assert founders.conf_state.voters == tuple(sorted((first.member_id, second.member_id)))


def test_a_member_may_have_several_urls() -> None:
    assert parse_initial_cluster("a=http://x:1,a=http://y:1") == {"a": ("http://x:1", "http://y:1")}
    NodeConfig(
        DATA,
        name="a",
        peer_urls=("http://y:1", "http://x:1"),
        initial_cluster="a=http://x:1,a=http://y:1",
    )


def test_ids_are_etcds() -> None:
    """etcd's log and `etcdctl member list` show these for its default settings."""
    assert identity_of(NodeConfig(DATA)) == Identity(
        cluster_id=0xCDF818194E3A8C32, member_id=MemberId(0x8E9E05C52164694D)
    )


def test_ids_depend_on_urls_and_token_alone() -> None:
    one = identity_of(NodeConfig(DATA, peer_urls=("http://a:1", "http://b:1")))
    assert one == identity_of(
        NodeConfig(Path("other"), name="n", peer_urls=("http://b:1", "http://a:1"))
    )
    assert one != identity_of(
        NodeConfig(DATA, peer_urls=("http://a:1", "http://b:1"), cluster_token="t")
    )


def test_metadata_round_trip() -> None:
    stored = Identity(1, MemberId(2))
    founders = founders_of(NodeConfig(DATA))
    metadata = encode_metadata(stored, founders)
    assert decode_metadata(metadata) == stored
    assert decode_founders(metadata) == founders
    strangers = Membership.of_strangers(founders.members.values())
    assert decode_founders(encode_metadata(stored, strangers)) == strangers
    assert strangers.conf_state.voters == ()


def owned(config: NodeConfig) -> tuple[Identity, Membership, Membership]:
    founders = founders_of(config)
    return identity_of(config), founders, founders


@pytest.mark.parametrize(
    "settings",
    [
        {"cluster_token": "another"},
        {"name": "b", "peer_urls": ("http://elsewhere:2380",)},
    ],
)
def test_the_data_of_another_member_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match="holds member 8e9e05c52164694d"):
        check_owner(*owned(NodeConfig(DATA)), NodeConfig(DATA, **settings))  # type: ignore[arg-type]


def test_a_member_that_has_moved_is_known_by_its_name() -> None:
    identity, founders, membership = owned(NodeConfig(DATA))
    moved = membership.moved(identity.member_id, ("http://elsewhere:2380",))
    config = NodeConfig(DATA, peer_urls=("http://elsewhere:2380",), cluster_token="lost")
    check_owner(identity, founders, moved, config)
    check_owner(identity, founders, moved, NodeConfig(DATA))


def test_a_member_that_joined_in_the_place_of_another_is_known() -> None:
    config = NodeConfig(
        DATA, name="b", peer_urls=("http://b:2380",), initial_cluster="b=http://b:2380"
    )
    first = identity_of(config).member_id
    second = new_member_id(config.peer_urls, config.cluster_token, {first})
    strangers = Membership.of_strangers([MemberRecord(second, "", config.peer_urls)])
    voters = Membership.founded_by(strangers.members.values())
    check_owner(Identity(1, second), strangers, voters, config)
    elsewhere = NodeConfig(
        DATA, name="c", peer_urls=("http://c:2380",), initial_cluster="c=http://c:2380"
    )
    with pytest.raises(InvalidArgument, match="holds member"):
        check_owner(Identity(1, second), strangers, voters, elsewhere)


def test_a_new_member_never_gets_a_number_that_was_used() -> None:
    first = new_member_id(("http://a:1",), "t", set())
    second = new_member_id(("http://a:1",), "t", {first})
    assert first != second
    assert new_member_id(("http://a:1",), "t", {first, second}) not in {first, second}
    record = MemberRecord(first, "a", ("http://a:1",))
    assert Membership.founded_by([record]).members == {first: record}


@pytest.mark.parametrize(
    "metadata", [b"", b"{}", b"[]", b'{"format": 9, "cluster_id": "1", "member_id": "1"}']
)
def test_metadata_of_another_format_is_refused(metadata: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_metadata(metadata)


@pytest.mark.parametrize(("ticks", "seconds"), [(10, 2), (20, 3), (3, 1)])
def test_the_shortest_lease_outlives_an_election(ticks: int, seconds: int) -> None:
    assert NodeConfig(DATA, election_ticks=ticks).lease_ttl_seconds_min == seconds
