"""The transport's numbers."""

from __future__ import annotations

from dataclasses import dataclass

from tianlu_registry.errors import InvalidArgument

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """Every bound of the transport. Each is above 0.

    Attributes:
        dead_after_seconds: a connection on which nothing was heard for about this long is closed.
            An election timeout is right: later, and a leader goes on sending into a dead
            connection after its followers have given it up. Pings go out four times as often.
            Call and snapshot connections, of which less depends, wait four times as long.
        connect_seconds: one attempt to connect. Short, because the kernel repeats a lost SYN ever
            more slowly: what ends a partition should be noticed soon.
        handshake_seconds: from then to the end of the handshake, TLS included.
        reconnect_seconds_min, reconnect_seconds_max: the wait between attempts doubles from the
            first to the second; jitter takes up to half of it away.
        send_queue_bytes_max: encoded messages that wait for one member's connection. Four times
            what the core has in flight to one follower (16 MiB), so that only a member that has
            stopped reading reaches it; messages beyond it are dropped and the member is
            reported unreachable.
        send_queue_messages_max: the same in messages.
        frame_bytes_max: one frame. An AppendEntries holds 1 MiB, or one larger entry; a call's
            answer may be a long list.
        connections_max: connections accepted at a time, of all kinds. A further one takes the place
            of the oldest that has not said who it is, or is closed at once.
        stranger_connections_max: connections of who is no member yet.
        calls_max: calls under way per connection. The caller's side refuses further ones with
            `TooManyRequests`; the other side reads no further ones.
        snapshot_bytes_per_second: the pace at which one raft_snapshot is sent.
        snapshot_bytes_max: the size of an incoming raft_snapshot.
        snapshots_outgoing_max: raft_snapshots sent at a time; further ones wait.
        snapshot_attempts_max: attempts to send one, each going on where the last one ended.
        snapshot_install_seconds: how long the receiver may take to install one after the last byte.
    """

    dead_after_seconds: float = 1.0
    connect_seconds: float = 1.0
    handshake_seconds: float = 5.0
    reconnect_seconds_min: float = 0.05
    reconnect_seconds_max: float = 1.0
    send_queue_bytes_max: int = 64 * MIB
    send_queue_messages_max: int = 4096
    frame_bytes_max: int = 64 * MIB
    connections_max: int = 256
    stranger_connections_max: int = 16
    calls_max: int = 1024
    snapshot_bytes_per_second: int = 128 * MIB
    snapshot_bytes_max: int = 64 * 1024 * MIB
    snapshots_outgoing_max: int = 2
    snapshot_attempts_max: int = 5
    snapshot_install_seconds: float = 600.0

    def __post_init__(self) -> None:
        """Check the whole.

        Raises:
            InvalidArgument: a field, or the relation of two, is out of range.
        """
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise InvalidArgument(name, "must be above 0")
        if self.reconnect_seconds_min > self.reconnect_seconds_max:
            raise InvalidArgument("reconnect_seconds_min", "must not be above the maximum")
        if self.frame_bytes_max > self.send_queue_bytes_max:
            raise InvalidArgument("frame_bytes_max", "must not be above send_queue_bytes_max")
