"""The seams between the transport and the node that uses it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tianlu_registry.raft import InstallSnapshot, MemberId, Message


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who speaks.

    Attributes:
        cluster_id, member_id: 0 while a joining node does not know them: it can make calls by
            URL, of the methods that are open to strangers, and nothing else.
        release: the program's, told to the other side for people to read. Nothing is decided by it.
    """

    cluster_id: int
    member_id: MemberId
    release: str = ""


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """A copy of the state machine that is ready to be sent.

    Attributes:
        message: the InstallSnapshot with the position that the copy holds.
        path: the data. It does not change until `release`.
        release: called once, when the file is needed no more.
    """

    message: InstallSnapshot
    path: Path
    release: Callable[[], None]


CopySnapshot = Callable[[], Awaitable[SnapshotSource]]
"""Makes the copy when its turn has come. An exception ends the sending: not installed."""


class PeerHandler(Protocol):
    """The node, as the transport sees it.

    Everything is called on the event loop, in a turn of its own: never from within a method of
    the transport. An exception closes the connection it came by, is logged, and stops nothing else.
    """

    def on_messages(self, messages: list[Message]) -> None:
        """Take messages from one member, in the order in which it sent them. Must not block.

        They are from whom they say and to this member.
        """

    def on_unreachable(self, member: MemberId) -> None:
        """Messages to a member were dropped. At most once per member and turn of the loop."""

    async def on_call(self, sender: MemberId, method: str, payload: bytes) -> bytes:
        """Answer a member's request.

        It is cancelled when the caller's time is over, its connection has ended, or the transport
        stops.

        Args:
            sender: 0 for a stranger, who is only heard with the methods open to strangers.

        Raises:
            RegistryError: the caller gets the same class and text, if it is one of errors.py.
        """
        ...

    async def on_snapshot(self, message: InstallSnapshot, path: Path) -> bool:
        """Take a raft_snapshot whose data is complete and verified. One at a time.

        The file is the handler's now: it moves or deletes it. It is cancelled when the transport
        stops, and only then.

        Returns:
            Whether it was installed, or is no longer needed.
        """
        ...

    def on_snapshot_sent(self, member: MemberId, *, installed: bool) -> None:
        """The sending that `Transport.send_snapshot` began has ended. Once for each, but for those
        that a newer one to the same member replaced."""


Admission = Callable[[MemberId], str | None]
"""Says why a member's connections are refused ("member 1f was removed"), or None to let it in."""


def admit_all(_member: MemberId) -> None:
    """Let every member of the cluster in: one that was just added may know of it before us."""
