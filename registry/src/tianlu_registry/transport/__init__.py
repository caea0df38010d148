"""Shell: messages, raft_snapshots and calls between the members of a cluster.

    transport = Transport(
        identity=PeerIdentity(cluster_id, member_id, release),
        handler=handler,                      # PeerHandler; see handler.py
        listen=(PeerAddress.parse(url), ...), # default (): listen nowhere
        tls=PeerTls(...) | None,
        snapshot_dir=Path,                    # incoming raft_snapshots are collected here
        limits=TransportLimits(...),
        admit=callable(member) -> str | None, # default: everybody; says why a member is refused
        open_methods=frozenset({"members"}),  # calls that strangers (sender 0) may make
    )
    await transport.start()                   # binds; raises CannotListen. Before it, only calls
    transport.addresses                       # the URLs bound, port 0 replaced
    transport.identity                        # as given
    transport.set_peers({member: (url, ...)}) # all other members; adds, changes, drops
    transport.send(messages)                  # never waits; no InstallSnapshot here
    transport.send_snapshot(message, copy)    # copy: async () -> SnapshotSource
    await transport.call(member | url, method, payload, timeout_seconds) -> bytes
    transport.peer_status() -> dict[MemberId, PeerStatus]
    await transport.stop()

All of it belongs to one event loop and is called on its thread. DESIGN.md has the protocol, the
limits and what happens when something fails.
"""

from tianlu_registry.transport.addresses import PeerAddress
from tianlu_registry.transport.errors import (
    BadPeerMessage,
    CannotListen,
    PeerRefused,
    PeerUnreachable,
)
from tianlu_registry.transport.handler import (
    Admission,
    CopySnapshot,
    PeerHandler,
    PeerIdentity,
    SnapshotSource,
)
from tianlu_registry.transport.limits import TransportLimits
from tianlu_registry.transport.status import PeerStatus
from tianlu_registry.transport.tls import PeerTls
from tianlu_registry.transport.transport import Transport

__all__ = [
    "Admission",
    "BadPeerMessage",
    "CannotListen",
    "CopySnapshot",
    "PeerAddress",
    "PeerHandler",
    "PeerIdentity",
    "PeerRefused",
    "PeerStatus",
    "PeerTls",
    "PeerUnreachable",
    "SnapshotSource",
    "Transport",
    "TransportLimits",
]
