"""Asks every endpoint and every member for its state, all at once.

Only what a node answers by itself is asked, so that a cluster without a leader answers too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence

from tianlu._cluster.model import (
    Answer,
    Member,
    MemberView,
    Survey,
    members_of,
    status_of,
)
from tianlu._cluster.node import MEMBER_LIST, STATUS, Nodes
from tianlu._endpoint import Endpoint, as_protected, parse_endpoints
from tianlu._errors import InvalidInput, TianluError
from tianlu._proto.etcd import rpc_pb2 as etcd


async def survey(nodes: Nodes, endpoints: Sequence[Endpoint]) -> Survey:
    """Ask the endpoints, then every member where it tells clients to connect.

    A member that cannot be reached there may still have answered at an endpoint. That one may be a
    proxy that gives each call to another member, so it is the second choice. Who comes with TLS
    endpoints alone asks nobody without TLS.
    """
    answers = list(await asyncio.gather(*(ask(nodes, endpoint) for endpoint in endpoints)))
    further = [
        endpoint
        for member in known_members(answers)
        for endpoint in client_endpoints(member)
        if endpoint not in endpoints
    ]
    asked = as_protected(dict.fromkeys(further), endpoints)
    answers += await asyncio.gather(*(ask(nodes, one) for one in asked))
    return arrange(known_members(answers), answers)


async def ask(nodes: Nodes, endpoint: Endpoint) -> Answer:
    """Return a node's status and its list of members, or why there is none."""
    started = time.perf_counter()
    try:
        status = status_of(await nodes.call(endpoint, STATUS, etcd.StatusRequest()))
    except TianluError as error:
        return Answer(str(endpoint), None, str(error), time.perf_counter() - started)
    seconds = time.perf_counter() - started
    members: tuple[Member, ...] = ()
    try:
        # Not linearizable: this node's own list, for which it needs nobody.
        listed = await nodes.call(endpoint, MEMBER_LIST, etcd.MemberListRequest())
        members = members_of(listed.members)
    except TianluError:
        pass  # a learner of etcd's does not list
    return Answer(str(endpoint), status, "", seconds, members)


def known_members(answers: Iterable[Answer]) -> tuple[Member, ...]:
    """Return the list of the node that has applied most, which is the newest."""
    lists = [
        (answer.status.applied, answer.members)
        for answer in answers
        if answer.status and answer.members
    ]
    return max(lists, key=lambda one: one[0])[1] if lists else ()


def client_endpoints(member: Member) -> list[Endpoint]:
    """Return where a member tells clients to connect, as far as it can be read."""
    found: list[Endpoint] = []
    for url in member.client_urls:
        try:
            found += parse_endpoints([url])
        except InvalidInput:
            continue
    return found


def arrange(members: Sequence[Member], answers: Sequence[Answer]) -> Survey:
    """Put answers to the members that gave them, and failures to those whose URL it was.

    A URL may lead to another member than it should ("http://127.0.0.1:2379" said by a member on
    another host), so what counts is who the answer says it is from.
    """
    views, used = [], set()
    for member in members:
        urls = {str(endpoint) for endpoint in client_endpoints(member)}
        own = [answer for answer in answers if answer.status and answer.status.member == member.id]
        own.sort(key=lambda answer: answer.endpoint not in urls)
        failed = [answer for answer in answers if not answer.status and answer.endpoint in urls]
        used |= urls
        views.append(MemberView(member, next(iter([*own, *failed]), None)))
    ids = {member.id for member in members}
    return Survey(
        tuple(views),
        strangers=tuple(one for one in answers if one.status and one.status.member not in ids),
        silent=tuple(one for one in answers if not one.status and one.endpoint not in used),
    )
