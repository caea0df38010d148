"""What a node is told at its start: one frozen value, checked whole.

The flags and environment variables that fill it are the API's business (`tianlu registry`); their
names are etcd's, and so are the defaults unless a field says why not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tianlu_registry.errors import InvalidArgument

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

DEFAULT_PEER_URL: Final = "http://localhost:2380"
DEFAULT_CLUSTER_TOKEN: Final = "etcd-cluster"  # noqa: S105 - etcd's default name, not a secret

_CLUSTER_STATES: Final = ("new", "existing")
_TLS_SCHEMES: Final = frozenset({"https", "unixs"})
_PEER_SCHEMES: Final = frozenset({"http", "https", "unix", "unixs"})


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A node's settings.

    Attributes:
        data_dir: directory that belongs to this node alone; made if it is missing.
        name: the member's name within `initial_cluster`; 1 to 256 characters without ``=``, ``,``.
        peer_urls: where other members reach this one. With `cluster_token` they decide the member
            id, so changing them is changing the member.
        initial_cluster: ``name=url[,name=url...]``, etcd's form; empty means this member alone,
            at its `peer_urls`. Read at the first start only.
        cluster_token: keeps two clusters with equal URLs apart.
        cluster_state: ``new``: the members named found a cluster. ``existing``: this member was
            added to the one that the others named belong to. Read at the first start only.
        force_new_cluster: begin again as a cluster of this member alone, with all that it has:
            the last resort when a majority is lost for ever. What the others had acknowledged and
            this member had not received is lost.
        listen_peer_urls: where to listen for other members; none for a cluster of one that nobody
            shall join.
        client_urls: where clients are told to connect; published to the other members.
        peer_cert_file, peer_key_file, peer_trusted_ca_file: TLS between members, PEM files; https
            URLs need them.
        peer_client_cert_auth: other members must show a certificate of the trusted CA.
        peer_cert_allowed_cn: and its common name must be this one, if given.
        peer_cert_allowed_hostname: or it must be for this host, if given.
        peer_crl_file: certificates of members that are not accepted any more.
        peer_tls_min_version: TLS1.2 or TLS1.3.
        peer_cipher_suites: for TLS 1.2, OpenSSL's names; none for good ones.
        peer_auto_tls: members' certificates are made by themselves, and nobody verifies them.
        start_wait_seconds: how long a member of several waits for a leader before it serves all
            the same, saying that there is none. Default 5.

        quota_bytes: database size in use above which writes are refused with `NoSpace`; at least
            16 MiB. Default 2 GiB, as etcd's: a restart reads the keys of all of it.
        disk_free_bytes_min: free space on the data directory's file system below which writes are
            refused, so that the disk is never quite full and the node can still compact; 0 turns
            the check off. Default 128 MiB: two WAL segments.
        request_bytes_max: largest serialized request; 1 KiB to 64 MiB. Default 1.5 MiB, etcd's.
        txn_ops_max: most comparisons, and most operations of one branch, of a transaction; at
            least 1. Default 128, etcd's.

        backlog_proposals_max: proposals not yet answered, beyond which more are refused with
            `TooManyRequests`; at least 1. Default 5,000, etcd's gap of committed to applied.
        backlog_bytes_max: the same in bytes of their log entries; at least two of the largest
            requests. Default 64 MiB.
        request_timeout_seconds: a proposal unanswered for so long fails with `RequestTimeout`.
            Default 7: etcd's 5 s of disk and two elections of 1 s each.

        tick_milliseconds: length of a Raft tick, 10 to 10,000. Default 100, etcd's heartbeat.
        heartbeat_ticks: ticks between a leader's heartbeats; at least 1.
        election_ticks: ticks without a leader before an election; more than `heartbeat_ticks`.

        commit_interval_milliseconds: longest time that applied entries stay out of the database
            file; 1 to 60,000. They are in the WAL: this bounds replay, not loss. Default 100.
        commit_operations_max: commit at once when so many operations wait; at least 1. Default
            10,000. Four times as many waiting stop the applier until the disk has caught up.
        wal_entries_kept: applied entries that stay in the log behind the database, for followers
            that lag; 0 or more. Default 5,000, etcd's catch-up entries.
        wal_segment_bytes: size at which the WAL starts a new file; 64 KiB to 1 GiB. Default
            64 MiB, etcd's.

        compaction_period_seconds: the leader compacts what was superseded longer ago, unasked; 0
            for never, or 1 to 36,000,000 (10,000 hours: a sample is kept for every six minutes).
            Default 0, etcd's.
        compaction_revisions_kept: the leader compacts all but the newest so many revisions,
            unasked; 0 or more, 0 for never. At most one of the two is set. Default 0, etcd's.

        apply_slice_entries_max: entries applied in one turn of the event loop; at least 1.
        apply_slice_milliseconds: a slice ends earlier after so long, above 0. Default 2, so that a
            long backlog delays other calls by no more.
    """

    data_dir: Path
    name: str = "default"
    peer_urls: tuple[str, ...] = (DEFAULT_PEER_URL,)
    initial_cluster: str = ""
    cluster_token: str = DEFAULT_CLUSTER_TOKEN
    cluster_state: str = "new"
    force_new_cluster: bool = False
    listen_peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    peer_cert_file: str = ""
    peer_key_file: str = ""
    peer_trusted_ca_file: str = ""
    peer_client_cert_auth: bool = False
    peer_cert_allowed_cn: str = ""
    peer_cert_allowed_hostname: str = ""
    peer_crl_file: str = ""
    peer_tls_min_version: str = "TLS1.2"
    peer_cipher_suites: tuple[str, ...] = ()
    peer_auto_tls: bool = False
    start_wait_seconds: float = 5.0

    quota_bytes: int = 2 * GIB
    disk_free_bytes_min: int = 128 * MIB
    request_bytes_max: int = 1536 * KIB
    txn_ops_max: int = 128

    backlog_proposals_max: int = 5_000
    backlog_bytes_max: int = 64 * MIB
    request_timeout_seconds: float = 7.0

    tick_milliseconds: int = 100
    heartbeat_ticks: int = 1
    election_ticks: int = 10

    commit_interval_milliseconds: int = 100
    commit_operations_max: int = 10_000
    wal_entries_kept: int = 5_000
    wal_segment_bytes: int = 64 * MIB

    compaction_period_seconds: float = 0.0
    compaction_revisions_kept: int = 0

    apply_slice_entries_max: int = 256
    apply_slice_milliseconds: float = 2.0

    def __post_init__(self) -> None:
        """Check every field and how they relate.

        Raises:
            InvalidArgument: names the first field that cannot be, and what would be right.
        """
        _check_name(self.name)
        _in_range("quota_bytes", self.quota_bytes, 16 * MIB, 1 << 50)
        _in_range("disk_free_bytes_min", self.disk_free_bytes_min, 0, 1 << 50)
        _in_range("request_bytes_max", self.request_bytes_max, KIB, 64 * MIB)
        _in_range("txn_ops_max", self.txn_ops_max, 1, 1_000_000)
        _in_range("backlog_proposals_max", self.backlog_proposals_max, 1, 10_000_000)
        _in_range("backlog_bytes_max", self.backlog_bytes_max, 2 * self.request_bytes_max, 1 << 40)
        _in_range("request_timeout_seconds", self.request_timeout_seconds, 0.05, 3600)
        _in_range("tick_milliseconds", self.tick_milliseconds, 10, 10_000)
        _in_range("heartbeat_ticks", self.heartbeat_ticks, 1, 1_000)
        _in_range("election_ticks", self.election_ticks, self.heartbeat_ticks + 1, 10_000)
        _in_range("commit_interval_milliseconds", self.commit_interval_milliseconds, 1, 60_000)
        _in_range("commit_operations_max", self.commit_operations_max, 1, 10_000_000)
        _in_range("wal_entries_kept", self.wal_entries_kept, 0, 10_000_000)
        _in_range("wal_segment_bytes", self.wal_segment_bytes, 64 * KIB, GIB)
        _in_range("apply_slice_entries_max", self.apply_slice_entries_max, 1, 1_000_000)
        _in_range("apply_slice_milliseconds", self.apply_slice_milliseconds, 0.01, 1_000)
        _check_compaction(self.compaction_period_seconds, self.compaction_revisions_kept)
        if not self.cluster_token:
            raise InvalidArgument("cluster_token", "may not be empty")
        if self.cluster_state not in _CLUSTER_STATES:
            raise InvalidArgument(
                "cluster_state", f"is {self.cluster_state!r}; give new or existing"
            )
        _in_range("start_wait_seconds", self.start_wait_seconds, 0.0, 3600.0)
        _check_peer_urls("peer_urls", self.peer_urls)
        if self.listen_peer_urls:
            _check_peer_urls("listen_peer_urls", self.listen_peer_urls)
        _check_peer_tls(self)
        _check_members(self.members(), self.name, self.peer_urls)

    def members(self) -> dict[str, tuple[str, ...]]:
        """Return the initial cluster's peer URLs by member name, in the order given.

        Raises:
            InvalidArgument: `initial_cluster` is not ``name=url[,name=url...]``.
        """
        if not self.initial_cluster:
            return {self.name: self.peer_urls}
        return parse_initial_cluster(self.initial_cluster)

    @property
    def tick_seconds(self) -> float:
        """Length of a Raft tick."""
        return self.tick_milliseconds / 1000

    @property
    def election_seconds(self) -> float:
        """The election timeout, without its random part."""
        return self.election_ticks * self.tick_seconds

    @property
    def lease_ttl_seconds_min(self) -> int:
        """Shortest lease granted: no shorter than one and a half elections, or every change of
        leader would end it. Source: etcd server/etcdserver/server.go `minTTL`."""
        election_milliseconds = self.election_ticks * self.tick_milliseconds
        return max(1, -(-3 * election_milliseconds // 2000))


def parse_initial_cluster(text: str) -> dict[str, tuple[str, ...]]:
    """Parse etcd's ``name=url[,name=url...]``; a name given again adds a URL to that member.

    Raises:
        InvalidArgument: an item has no name, no URL, or a URL that cannot be a peer's.
    """
    members: dict[str, tuple[str, ...]] = {}
    for item in text.split(","):
        name, _, url = item.strip().partition("=")
        if not name or not url:
            raise InvalidArgument(
                "initial_cluster", f"{item!r} is not of the form name=http://host:port"
            )
        _check_peer_urls("initial_cluster", (url,))
        members[name] = (*members.get(name, ()), url)
    return members


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= 256:
        raise InvalidArgument("name", f"has {len(name)} characters; give 1 to 256")
    if "=" in name or "," in name:
        raise InvalidArgument("name", f"{name!r} may contain neither '=' nor ','")


def _check_compaction(period_seconds: float, revisions_kept: int) -> None:
    if period_seconds and not 1 <= period_seconds <= 10_000 * 3600:
        raise InvalidArgument(
            "compaction_period_seconds",
            f"is {period_seconds:g} seconds; give 1 second to 10000 hours, or 0 for none",
        )
    _in_range("compaction_revisions_kept", revisions_kept, 0, 1 << 62)
    if period_seconds and revisions_kept:
        raise InvalidArgument("compaction_revisions_kept", "cannot be set beside a period")


def _check_peer_urls(field: str, urls: tuple[str, ...]) -> None:
    if not urls:
        raise InvalidArgument(field, "give at least one URL, such as http://127.0.0.1:2380")
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in _PEER_SCHEMES or not (parts.netloc or parts.path):
            raise InvalidArgument(
                field, f"{url!r} is not a URL of the form http://host:port (or https, unix, unixs)"
            )


def _check_members(
    members: dict[str, tuple[str, ...]], name: str, peer_urls: tuple[str, ...]
) -> None:
    if name not in members:
        raise InvalidArgument(
            "initial_cluster",
            f"does not name this member, {name!r} (it names {', '.join(members)}); "
            "add it or change --name",
        )
    if sorted(members[name]) != sorted(peer_urls):
        raise InvalidArgument(
            "initial_cluster",
            f"gives {name!r} the peer URLs {','.join(members[name])} where "
            f"--initial-advertise-peer-urls gives {','.join(peer_urls)}; make them equal",
        )
    seen: dict[str, str] = {}
    for member, urls in members.items():
        for url in urls:
            if url in seen:
                raise InvalidArgument(
                    "initial_cluster", f"gives {url} to {seen[url]} and to {member}"
                )
            seen[url] = member


def _check_peer_tls(config: NodeConfig) -> None:
    if bool(config.peer_cert_file) != bool(config.peer_key_file):
        missing = "peer_key_file" if config.peer_cert_file else "peer_cert_file"
        raise InvalidArgument(missing, "a certificate and its key are given together, or neither")
    if config.peer_client_cert_auth and not config.peer_trusted_ca_file:
        raise InvalidArgument("peer_trusted_ca_file", "is needed to check certificates of members")
    if config.peer_cert_allowed_cn and config.peer_cert_allowed_hostname:
        raise InvalidArgument(
            "peer_cert_allowed_hostname", "give this or --peer-cert-allowed-cn, not both"
        )
    if config.peer_cert_allowed_cn and not config.peer_client_cert_auth:
        raise InvalidArgument("peer_client_cert_auth", "is needed for an allowed common name")
    if config.peer_cert_allowed_hostname and not config.peer_client_cert_auth:
        raise InvalidArgument("peer_client_cert_auth", "is needed for an allowed host name")
    if config.peer_crl_file and not config.peer_trusted_ca_file:
        raise InvalidArgument("peer_trusted_ca_file", "is needed to check certificates of members")
    if config.peer_auto_tls and config.peer_trusted_ca_file:
        raise InvalidArgument(
            "peer_trusted_ca_file",
            "cannot have signed what members make for themselves; give --peer-cert-file and "
            "--peer-key-file, or no authority",
        )
    for url in config.listen_peer_urls:
        if urlsplit(url).scheme in _TLS_SCHEMES and not config.peer_cert_file:
            raise InvalidArgument("peer_cert_file", f"is needed to listen at {url}")


def _in_range(field: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidArgument(field, f"is {value}; give {least} to {most}")
