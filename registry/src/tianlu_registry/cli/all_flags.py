"""All flags of the command, by group, in the order in which the help shows them."""

from __future__ import annotations

from dataclasses import dataclass

from tianlu_registry.cli.audit_flags import AuditFlags
from tianlu_registry.cli.client_limit_flags import ClientLimitFlags
from tianlu_registry.cli.cluster_flags import ClusterFlags, MemberFlags
from tianlu_registry.cli.limit_flags import LimitFlags
from tianlu_registry.cli.serving_flags import ClientFlags, RunningFlags, UserFlags
from tianlu_registry.cli.tls_flags import ClientTlsFlags, PeerTlsFlags
from tianlu_registry.cli.underlying_flags import UnderlyingFlags


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command was told."""

    member: MemberFlags
    clients: ClientFlags
    cluster: ClusterFlags
    client_tls: ClientTlsFlags
    peer_tls: PeerTlsFlags
    limits: LimitFlags
    client_limits: ClientLimitFlags
    users: UserFlags
    audit: AuditFlags
    running: RunningFlags
    underlying: UnderlyingFlags
