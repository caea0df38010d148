"""Joining a cluster that exists: who this member is, asked of those who have added it.

A member that has run before never begins again without its data: it has acknowledged entries and
given votes that it would not remember, so that the others could lose what they count as safe.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from tianlu._proto.etcd.rpc_pb2 import Member, MemberListResponse
from tianlu_registry.errors import InvalidArgument, RegistryError, Unavailable
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.node.identity import Identity
from tianlu_registry.node.membership import MemberRecord, Membership
from tianlu_registry.node.peers import ask_members
from tianlu_registry.node.recovery import Origin
from tianlu_registry.raft import MemberId

_log = logging.getLogger(__name__)

ASK_SECONDS: Final = 2.0
JOIN_SECONDS: Final = 30.0
"""Within so long one of the others has to answer, and to know of this member."""

RETRY_SECONDS: Final = 0.3

FOUNDING_ASK_SECONDS: Final = 1.0


async def check_never_started(config: NodeConfig, own_id: MemberId) -> None:
    """See to it that a member without data that is to found a cluster has not founded it before.

    Asks the others, all at once and once. While a cluster is founded usually none answers.
    Source: etcd server/etcdserver/cluster_util.go `isMemberBootstrapped`.

    Raises:
        InvalidArgument: one of them knows it as a member that has run.
    """
    urls = [url for name, urls in config.members().items() if name != config.name for url in urls]
    directory = Path(config.data_dir)
    answers = await asyncio.gather(
        *(ask_members(config, url, FOUNDING_ASK_SECONDS, directory) for url in urls),
        return_exceptions=True,
    )
    for answer in answers:
        if isinstance(answer, MemberListResponse):
            for member in answer.members:
                if MemberId(member.ID) == own_id:
                    _check_not_started(member)
        elif not isinstance(answer, RegistryError):
            raise answer


async def origin_in_existing_cluster(config: NodeConfig) -> Origin:
    """Ask the other members of `initial_cluster` which of them this one is.

    A member that has just been started may not have heard yet that this one was added; so all are
    asked, again and again for a while.

    Raises:
        InvalidArgument: they answer, but know no member at our peer URLs.
        Unavailable: none of them answers.
    """
    urls = [url for name, urls in config.members().items() if name != config.name for url in urls]
    if not urls:
        raise InvalidArgument(
            "--initial-cluster",
            "names no other member; to join a cluster that exists, name its members as well",
        )
    deadline = asyncio.get_running_loop().time() + JOIN_SECONDS
    problem: InvalidArgument | Unavailable = Unavailable()
    while True:
        for url in urls:
            try:
                return _origin(
                    config, await ask_members(config, url, ASK_SECONDS, Path(config.data_dir))
                )
            except (Unavailable, InvalidArgument) as error:
                problem = error
                _log.info("join.not_yet url=%s reason=%s", url, error)
        if asyncio.get_running_loop().time() >= deadline:
            if isinstance(problem, InvalidArgument):
                raise problem
            raise Unavailable(
                f"none of the members at {', '.join(urls)} answers: {problem}; start them, or "
                "correct --initial-cluster"
            )
        await asyncio.sleep(RETRY_SECONDS)


def _origin(config: NodeConfig, answer: MemberListResponse) -> Origin:
    for member in answer.members:
        if set(member.peerURLs) == set(config.peer_urls):
            _check_not_started(member)
            return Origin(
                Identity(answer.header.cluster_id, MemberId(member.ID)),
                Membership.of_strangers(
                    MemberRecord(
                        MemberId(each.ID),
                        each.name,
                        tuple(each.peerURLs),
                        tuple(each.clientURLs),
                    )
                    for each in answer.members
                ),
            )
    raise InvalidArgument(
        "--initial-advertise-peer-urls",
        f"{','.join(config.peer_urls)} is no member's of the cluster "
        f"{answer.header.cluster_id:x}; add it first: tianlu cluster member add {config.name} "
        f"--peer-urls {','.join(config.peer_urls)}",
    )


def _check_not_started(member: Member) -> None:
    if member.clientURLs:
        raise InvalidArgument(
            "data_dir",
            f"is empty, but member {member.ID:x}, {member.name!r} at {','.join(member.peerURLs)}, "
            "has run before and must not begin again without what it has promised; give it its "
            "data, or remove it from the cluster and add it anew: "
            "docs/operations/replace-a-member.md",
        )
