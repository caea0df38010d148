"""etcd's flags that are not ours: what becomes of each.

They are taken off the command line before ours are read, so that a command, a unit or a manifest
written for etcd starts a node. Nothing is dropped in silence: a flag without effect leaves a line
in the log that says why, and one that asks for what would not be there is an error which names the
way to go.

docs/reference/etcd-flags.md shows this table; a test holds it to `etcd --help`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tianlu_registry.server.errors import EXIT_USAGE, CannotStart

_OFF: Final = frozenset({"", "0", "false", "f", "off"})
_ANYTHING: Final[frozenset[str] | None] = None


@dataclass(frozen=True, slots=True)
class EtcdFlag:
    """A flag of etcd's that we have not.

    Attributes:
        why: for who gives it.
        is_switch: whether it may stand without a value.
        harmless: values that change nothing, so that nobody is refused for saying what is the case
            anyway; None if every value is.
        same_as: our flag that means the same; `harmless` is not asked then.
    """

    why: str
    is_switch: bool = False
    harmless: frozenset[str] | None = _ANYTHING
    same_as: str = ""

    def check(self, flag: str, value: str) -> None:
        """Refuse what cannot be had.

        Raises:
            CannotStart: names the flag and what to do instead.
        """
        if self.harmless is not None and value.lower() not in self.harmless:
            raise CannotStart(f"{flag}: {self.why}", EXIT_USAGE)


def _idle(why: str) -> EtcdFlag:
    return EtcdFlag(why)


def _idle_switch(why: str) -> EtcdFlag:
    return EtcdFlag(why, is_switch=True)


def _refused(why: str) -> EtcdFlag:
    return EtcdFlag(why, harmless=_OFF)


def _refused_switch(why: str) -> EtcdFlag:
    return EtcdFlag(why, is_switch=True, harmless=_OFF)


def _same(flag: str) -> EtcdFlag:
    return EtcdFlag(f"read as {flag}", same_as=flag)


_NO_V2: Final = "the v2 API is not served; only etcd 3.4 and older clients ask for it"
_NO_DISCOVERY: Final = "members are not discovered; name them in --initial-cluster"
_NO_TRACING: Final = "no traces are sent; /metrics and the audit log say what happens"
_NO_BBOLT: Final = "the database is LMDB, which has no such setting"
_NO_PROXY: Final = "the v2 proxy is gone; clients find members by themselves, or use tianlu gateway"
_COMPARED: Final = "the members compare their states all the time (docs/operations/index.md)"
_STEPS: Final = "compaction runs beside the writes in steps of bounded length"
_NO_SNAPSHOTS: Final = "there are no snapshot files: the database carries its log position"
_MADE_ANEW: Final = "snapshots are made when a member needs one, and removed when it has it"
_CLIENT_FILES: Final = "a node dials other members with --peer-cert-file and no client at all"

ETCD_FLAGS: Final[Mapping[str, EtcdFlag]] = MappingProxyType(
    {
        # Member
        "wal-dir": _refused("the log lies in DATA_DIR/member/wal: mount a fast disk there"),
        "initial-election-tick-advance": _idle_switch("a member of one votes for itself at once"),
        "max-snapshots": _idle(_NO_SNAPSHOTS),
        "max-wals": _idle("the log is cut behind --snapshot-catchup-entries"),
        "backend-bbolt-freelist-type": _idle(_NO_BBOLT),
        "experimental-backend-bbolt-freelist-type": _idle(_NO_BBOLT),
        "grpc-keepalive-min-time": _idle("pings are answered by Envoy and cost the node nothing"),
        "socket-reuse-port": _idle_switch("a port is held over restarts, and never shared"),
        "socket-reuse-address": _idle_switch("an address in TIME_WAIT is bound always"),
        "raft-read-timeout": _idle("a peer's connection is dead after --election-timeout"),
        "raft-write-timeout": _idle("a peer's connection is dead after --election-timeout"),
        # Clustering
        "discovery": _refused(_NO_DISCOVERY),
        "discovery-fallback": _idle(_NO_DISCOVERY),
        "discovery-proxy": _refused(_NO_DISCOVERY),
        "discovery-srv": _refused(_NO_DISCOVERY),
        "discovery-srv-name": _idle(_NO_DISCOVERY),
        "discovery-token": _refused(_NO_DISCOVERY),
        "discovery-endpoints": _refused(_NO_DISCOVERY),
        "discovery-dial-timeout": _idle(_NO_DISCOVERY),
        "discovery-request-timeout": _idle(_NO_DISCOVERY),
        "discovery-keepalive-time": _idle(_NO_DISCOVERY),
        "discovery-keepalive-timeout": _idle(_NO_DISCOVERY),
        "discovery-insecure-transport": _idle_switch(_NO_DISCOVERY),
        "discovery-insecure-skip-tls-verify": _idle_switch(_NO_DISCOVERY),
        "discovery-cert": _idle(_NO_DISCOVERY),
        "discovery-key": _idle(_NO_DISCOVERY),
        "discovery-cacert": _idle(_NO_DISCOVERY),
        "discovery-user": _idle(_NO_DISCOVERY),
        "discovery-password": _idle(_NO_DISCOVERY),
        "strict-reconfig-check": _idle_switch("a change that would cost the majority is refused"),
        "enable-v2": _idle_switch(_NO_V2),
        "v2-deprecation": _idle(_NO_V2),
        "experimental-enable-v2v3": _refused(_NO_V2),
        # Security
        "client-cert-file": _idle(_CLIENT_FILES),
        "client-key-file": _idle(_CLIENT_FILES),
        "peer-client-cert-file": _refused("give --peer-cert-file: it serves in both directions"),
        "peer-client-key-file": _refused("give --peer-key-file: it serves in both directions"),
        "peer-skip-client-san-verification": _idle_switch("it is not looked at"),
        "experimental-peer-skip-client-san-verification": _idle_switch("it is not looked at"),
        # Auth
        "bcrypt-cost": _idle("passwords are hashed by argon2id, at a fixed cost of 30 ms"),
        # Profiling, tracing, logging
        "enable-pprof": _idle_switch("there is no Go profiler in it; py-spy attaches to the node"),
        "experimental-enable-distributed-tracing": _refused_switch(_NO_TRACING),
        "enable-distributed-tracing": _refused_switch(_NO_TRACING),
        "experimental-distributed-tracing-address": _idle(_NO_TRACING),
        "distributed-tracing-address": _idle(_NO_TRACING),
        "experimental-distributed-tracing-service-name": _idle(_NO_TRACING),
        "distributed-tracing-service-name": _idle(_NO_TRACING),
        "experimental-distributed-tracing-instance-id": _idle(_NO_TRACING),
        "distributed-tracing-instance-id": _idle(_NO_TRACING),
        "experimental-distributed-tracing-sampling-rate": _idle(_NO_TRACING),
        "distributed-tracing-sampling-rate": _idle(_NO_TRACING),
        "logger": _idle("there is one kind of log; --log-format says how it looks"),
        "enable-log-rotation": _refused_switch(
            "the log is not rotated; let logrotate (copytruncate) or the journal do it"
        ),
        "log-rotation-config-json": _idle("the log is not rotated"),
        # v2 proxy
        "proxy": _refused(_NO_PROXY),
        "proxy-failure-wait": _idle(_NO_PROXY),
        "proxy-refresh-interval": _idle(_NO_PROXY),
        "proxy-dial-timeout": _idle(_NO_PROXY),
        "proxy-write-timeout": _idle(_NO_PROXY),
        "proxy-read-timeout": _idle(_NO_PROXY),
        # Experimental, and what has become of it in 3.6
        "experimental-initial-corrupt-check": _idle_switch(_COMPARED),
        "experimental-corrupt-check-time": _idle(_COMPARED),
        "corrupt-check-time": _idle(_COMPARED),
        "experimental-compact-hash-check-enabled": _idle_switch(_COMPARED),
        "experimental-compact-hash-check-time": _idle(_COMPARED),
        "compact-hash-check-time": _idle(_COMPARED),
        "experimental-enable-lease-checkpoint": _idle_switch("leases are always checkpointed"),
        "experimental-enable-lease-checkpoint-persist": _idle_switch(
            "leases are always checkpointed"
        ),
        "experimental-compaction-batch-limit": _idle(_STEPS),
        "compaction-batch-limit": _idle(_STEPS),
        "experimental-compaction-sleep-interval": _idle(_STEPS),
        "compaction-sleep-interval": _idle(_STEPS),
        "experimental-watch-progress-notify-interval": _same("--watch-progress-notify-interval"),
        "experimental-snapshot-catchup-entries": _same("--snapshot-catchup-entries"),
        "experimental-warning-apply-duration": _idle("slow applies are not logged"),
        "warning-apply-duration": _idle("slow applies are not logged"),
        "experimental-warning-unary-request-duration": _idle("slow calls are not logged"),
        "warning-unary-request-duration": _idle("slow calls are not logged"),
        "experimental-txn-mode-write-with-shared-buffer": _idle_switch(_NO_BBOLT),
        "experimental-bootstrap-defrag-threshold-megabytes": _idle("freed pages are used again"),
        "bootstrap-defrag-threshold-megabytes": _idle("freed pages are used again"),
        "experimental-memory-mlock": _idle_switch(
            "keys are in memory, pages as the kernel sees fit"
        ),
        "memory-mlock": _idle_switch("keys are in memory, pages as the kernel sees fit"),
        "experimental-max-learners": _idle("there is one learner at a time"),
        "max-learners": _idle("there is one learner at a time"),
        "experimental-downgrade-check-time": _idle("there is no release to go back to"),
        "downgrade-check-time": _idle("there is no release to go back to"),
        "experimental-wait-cluster-ready-timeout": _idle("a node waits 5 s for a leader"),
        "experimental-stop-grpc-service-on-defrag": _idle_switch("defragmentation does nothing"),
        "feature-gates": _idle("there are no features behind gates"),
        "enable-grpc-gateway": EtcdFlag(
            "JSON is always served beside gRPC",
            is_switch=True,
            harmless=frozenset({"", "true", "1", "t"}),
        ),
        "listen-client-http-urls": _refused("every client URL serves JSON and gRPC alike"),
        # Unsafe
        "unsafe-no-fsync": _refused_switch("an answered write is durable; that is not for sale"),
    }
)
"""By name, without dashes."""
