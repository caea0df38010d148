"""What is known of a cluster's members: values, and how they are made from etcd's messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tianlu._errors import InvalidInput, NotFound, Unavailable
from tianlu._proto.etcd import rpc_pb2 as etcd

_REASONS: Final = (
    ("Connection refused", "connection refused"),
    ("No route to host", "no route to host"),
    ("Network is unreachable", "network unreachable"),
    ("DNS resolution failed", "host name not found"),
    ("Domain name not found", "host name not found"),
    ("Deadline Exceeded", "no answer in time"),
    ("failed to connect", "cannot connect"),
)
"""What gRPC's long texts contain, and what that means."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member, as the cluster's own list has it.

    Attributes:
        id: as etcdctl writes it: hexadecimal, without zeros in front.
        name: empty until it has started for the first time.
        client_urls: where it tells clients to connect; empty like the name.
    """

    id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool

    @property
    def started(self) -> bool:
        """Whether it has ever joined."""
        return bool(self.name)

    def __str__(self) -> str:
        return f"{self.name or 'unnamed'} ({self.id})"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node says of itself. Sizes in bytes.

    Attributes:
        leader: id of the member that it follows or is; empty if it knows of none.
        quota: 0 if it does not say (etcd before 3.6).
        alarms: such as "memberID:1 alarm:NOSPACE".
    """

    cluster: str
    member: str
    version: str
    leader: str
    learner: bool
    term: int
    index: int
    applied: int
    revision: int
    size: int
    size_in_use: int
    quota: int
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of asking one endpoint.

    Attributes:
        status: None if it did not answer.
        error: why not.
        seconds: how long the answer took.
        members: the list as this node knows it, if it told.
    """

    endpoint: str
    status: NodeStatus | None
    error: str = ""
    seconds: float = 0.0
    members: tuple[Member, ...] = ()

    @property
    def reason(self) -> str:
        """`error` in a few words, where it is one of the common ones."""
        return next((short for long, short in _REASONS if long in self.error), self.error)


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member together with the best answer that it gave.

    Attributes:
        answer: None for a member that was not asked: it has no client URL, or none with TLS for
            someone who came with that.
    """

    member: Member
    answer: Answer | None

    @property
    def status(self) -> NodeStatus | None:
        """What it says of itself; None if it was not reached."""
        return self.answer.status if self.answer is not None else None

    @property
    def trouble(self) -> str:
        """Why it was not reached, or what it reports as wrong; empty if nothing."""
        if self.answer is None:
            if not self.member.started:
                return "never started"
            known = self.member.client_urls
            return f"not asked: no client URL {'with TLS' if known else 'known'}"
        if self.answer.status is None:
            return self.answer.reason
        alarms = self.answer.status.alarms
        return "; ".join(alarms if self.answer.status.leader else ("no leader", *alarms))


@dataclass(frozen=True, slots=True)
class Survey:
    """What all endpoints and members answered at about the same time.

    Attributes:
        members: in the order of their names, those without one last; none if nobody answered.
        strangers: nodes that answered and are in no list.
        silent: endpoints that did not answer and belong to no member that is known of.
    """

    members: tuple[MemberView, ...]
    strangers: tuple[Answer, ...] = ()
    silent: tuple[Answer, ...] = ()

    @property
    def cluster(self) -> str:
        """The cluster's id; empty if nobody answered."""
        return next((view.status.cluster for view in self.members if view.status), "")

    @property
    def leader(self) -> Member | None:
        """The leader that the answer of the newest term names, if it is a member."""
        statuses = [view.status for view in self.members if view.status is not None]
        newest = max((s for s in statuses if s.leader), key=lambda s: s.term, default=None)
        known = {view.member.id: view.member for view in self.members}
        return known.get(newest.leader) if newest is not None else None

    def view(self, member: Member) -> MemberView:
        """Return what is known of a member of this survey."""
        return next(view for view in self.members if view.member.id == member.id)

    def check_answered(self) -> None:
        """Insist that somebody answered.

        Raises:
            Unavailable: nobody did.
        """
        if not any(view.status for view in self.members) and not self.strangers:
            raise Unavailable("; ".join(f"{one.endpoint}: {one.reason}" for one in self.silent))


def member_id(number: int) -> str:
    """Return a member's id as etcdctl writes it; empty for 0, no member."""
    return f"{number:x}" if number else ""


def member_of(message: etcd.Member) -> Member:
    return Member(
        member_id(message.ID),
        message.name,
        tuple(message.peerURLs),
        tuple(message.clientURLs),
        message.isLearner,
    )


def members_of(messages: Iterable[etcd.Member]) -> tuple[Member, ...]:
    """Return members by name, those without one last."""
    members = (member_of(message) for message in messages)
    return tuple(sorted(members, key=lambda one: (not one.name, one.name, one.id)))


def status_of(message: etcd.StatusResponse) -> NodeStatus:
    return NodeStatus(
        cluster=f"{message.header.cluster_id:x}",
        member=member_id(message.header.member_id),
        version=message.version,
        leader=member_id(message.leader),
        learner=message.isLearner,
        term=message.raftTerm,
        index=message.raftIndex,
        applied=message.raftAppliedIndex,
        revision=message.header.revision,
        size=message.dbSize,
        size_in_use=message.dbSizeInUse,
        quota=message.dbSizeQuota,
        alarms=tuple(error.strip() for error in message.errors if "alarm:" in error),
    )


def find_member(members: Sequence[Member], wanted: str) -> Member:
    """Return the member of a name or id.

    Raises:
        NotFound: there is none.
        InvalidInput: it means several.
    """
    plain = wanted.lower().removeprefix("0x").lstrip("0")
    found = [one for one in members if wanted == one.name or plain == one.id]
    if not found:
        known = ", ".join(str(one) for one in members)
        raise NotFound(f"member {wanted!r}: not in the cluster; its members are {known}")
    if len(found) > 1:
        raise InvalidInput(
            "member", f"{wanted!r} means {' and '.join(map(str, found))}; give an id"
        )
    return found[0]
