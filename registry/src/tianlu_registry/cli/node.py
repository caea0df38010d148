"""The embedded node's configuration, as the flags give it."""

from __future__ import annotations

from typing import Final

from tianlu_registry.cli.all_flags import Flags
from tianlu_registry.cli.auto_tls import peer_self_signed
from tianlu_registry.cli.cluster_flags import ClusterFlags
from tianlu_registry.cli.flags import flag_of
from tianlu_registry.cli.urls import split_urls
from tianlu_registry.node.config import GIB, NodeConfig
from tianlu_registry.server.cipher_suites import openssl_suites
from tianlu_registry.server.errors import EXIT_USAGE, CannotStart
from tianlu_registry.server.retention import parse_retention

_FLAGS: Final = {
    "peer_urls": "--initial-advertise-peer-urls",
    "cluster_state": "--initial-cluster-state",
    "cluster_token": "--initial-cluster-token",
    "quota_bytes": "--quota-backend-bytes",
    "request_bytes_max": "--max-request-bytes",
    "txn_ops_max": "--max-txn-ops",
    "wal_entries_kept": "--snapshot-catchup-entries",
    "tick_milliseconds": "--heartbeat-interval",
    "election_ticks": "--election-timeout",
    "commit_interval_milliseconds": "--backend-batch-interval",
    "commit_operations_max": "--backend-batch-limit",
    "compaction_period_seconds": "--auto-compaction-retention",
    "compaction_revisions_kept": "--auto-compaction-retention",
}
"""Of fields whose names are not their flags': so that an error names what its reader wrote."""


def flag_of_field(field: str) -> str:
    """Return the flag that gives a field of the node's configuration."""
    return _FLAGS.get(field, flag_of(field))


def node_config(flags: Flags) -> NodeConfig:
    """Return the node's configuration.

    Raises:
        InvalidArgument: names the field that cannot be; see `flag_of_field`.
        CannotStart: names flags that cannot go together.
    """
    member, cluster, peer_tls, limits = flags.member, flags.cluster, flags.peer_tls, flags.limits
    _check_pre_vote(cluster.pre_vote)
    self_signed = peer_self_signed(member, peer_tls)
    retention = parse_retention(limits.auto_compaction_mode, limits.auto_compaction_retention)
    return NodeConfig(
        data_dir=member.directory,
        name=member.name,
        peer_urls=split_urls(cluster.initial_advertise_peer_urls),
        initial_cluster=cluster.initial_cluster,
        cluster_token=cluster.initial_cluster_token,
        cluster_state=cluster.initial_cluster_state,
        force_new_cluster=cluster.force_new_cluster,
        listen_peer_urls=_peer_listeners(cluster),
        client_urls=split_urls(flags.clients.advertise_client_urls),
        peer_cert_file=str(self_signed.cert_file) if self_signed else peer_tls.peer_cert_file,
        peer_key_file=str(self_signed.key_file) if self_signed else peer_tls.peer_key_file,
        peer_trusted_ca_file=peer_tls.peer_trusted_ca_file,
        peer_client_cert_auth=peer_tls.peer_client_cert_auth,
        peer_cert_allowed_cn=peer_tls.peer_cert_allowed_cn,
        peer_cert_allowed_hostname=peer_tls.peer_cert_allowed_hostname,
        peer_crl_file=peer_tls.peer_crl_file,
        peer_tls_min_version=peer_tls.peer_tls_min_version,
        peer_cipher_suites=openssl_suites(flags.client_tls.cipher_suites),
        peer_auto_tls=self_signed is not None,
        quota_bytes=limits.quota_backend_bytes or 2 * GIB,
        request_bytes_max=limits.max_request_bytes,
        txn_ops_max=limits.max_txn_ops,
        wal_entries_kept=limits.snapshot_catchup_entries,
        compaction_period_seconds=retention.period_seconds,
        compaction_revisions_kept=retention.revisions,
        commit_interval_milliseconds=limits.commit_interval_milliseconds,
        commit_operations_max=limits.backend_batch_limit or 10_000,
        tick_milliseconds=cluster.heartbeat_interval,
        election_ticks=_election_ticks(cluster.election_timeout, cluster.heartbeat_interval),
    )


def _election_ticks(election_timeout: int, heartbeat_interval: int) -> int:
    """Return the election timeout in heartbeats.

    Raises:
        CannotStart: it is less than five heartbeats, which etcd refuses too.
    """
    if heartbeat_interval <= 0 or election_timeout < 5 * heartbeat_interval:
        raise CannotStart(
            f"--election-timeout: {election_timeout} ms must be at least five times "
            f"--heartbeat-interval ({heartbeat_interval} ms)",
            EXIT_USAGE,
        )
    return election_timeout // heartbeat_interval


def _check_pre_vote(pre_vote: bool) -> None:
    if not pre_vote:
        raise CannotStart(
            "--no-pre-vote: it is always on; without it a member that comes back disturbs the "
            "others by an election",
            EXIT_USAGE,
        )


def _peer_listeners(cluster: ClusterFlags) -> tuple[str, ...]:
    """Return where to listen for other members: nowhere in a cluster of one, unless told to."""
    if cluster.listen_peer_urls or "," not in cluster.initial_cluster:
        return split_urls(cluster.listen_peer_urls)
    return split_urls(cluster.initial_advertise_peer_urls)
