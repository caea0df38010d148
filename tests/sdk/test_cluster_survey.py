"""Which answer is put to which member, when endpoints are proxies, or lead to somebody else."""

from __future__ import annotations

from typing import cast

import pytest

from tianlu._cluster.model import Answer, Member, NodeStatus, Survey, find_member
from tianlu._cluster.node import Nodes
from tianlu._cluster.survey import arrange, client_endpoints, known_members, survey
from tianlu._endpoint import Endpoint, parse_endpoints
from tianlu._errors import InvalidInput, NotFound, Unavailable
from tianlu._proto.etcd import rpc_pb2 as etcd


def member(id_: str, name: str, *urls: str) -> Member:
    return Member(id_, name, (f"http://{name}:2380",), urls, learner=False)


A = member("a", "one", "http://10.0.0.1:2379", "unix:/run/one.sock")
B = member("b", "two", "http://10.0.0.2:2379")
NEW = Member("c", "", ("http://10.0.0.3:2380",), (), learner=True)


def answer(
    endpoint: str, id_: str, *, applied: int = 5, members: tuple[Member, ...] = ()
) -> Answer:
    status = NodeStatus("c1", id_, "3.5.13", "a", False, 2, 5, applied, 1, 1, 1, 0, ())
    return Answer(endpoint, status, members=members)


def silence(endpoint: str) -> Answer:
    return Answer(endpoint, None, "failed to connect: Connection refused")


def endpoints_of(found: Survey) -> list[str | None]:
    return [view.answer.endpoint if view.answer else None for view in found.members]


def test_a_members_own_url_is_the_first_choice() -> None:
    """A proxy gives each call to another member: what it answered may not be asked again there."""
    answers = [answer("proxy:80", "a"), answer("10.0.0.2:2379", "b"), answer("10.0.0.1:2379", "a")]
    assert endpoints_of(arrange((A, B), answers)) == ["10.0.0.1:2379", "10.0.0.2:2379"]


def test_a_member_may_be_reached_through_a_proxy_alone() -> None:
    found = arrange((A, B), [answer("proxy:80", "a"), silence("10.0.0.1:2379")])
    assert endpoints_of(found) == ["proxy:80", None]
    assert found.members[1].trouble == "not asked: no client URL with TLS"


def test_who_answers_counts_and_not_where() -> None:
    """ "http://127.0.0.1:2379" said by a member on another host leads to somebody else."""
    found = arrange((A, B), [answer("10.0.0.2:2379", "a")])
    assert endpoints_of(found) == ["10.0.0.2:2379", None]


def test_failures_are_put_to_whose_url_it_was() -> None:
    found = arrange((A, B, NEW), [answer("10.0.0.1:2379", "a"), silence("10.0.0.2:2379")])
    assert [view.trouble for view in found.members] == ["", "connection refused", "never started"]
    assert found.silent == ()


def test_strangers_and_silent_endpoints() -> None:
    found = arrange((A,), [answer("x:1", "99"), silence("y:1"), answer("10.0.0.1:2379", "a")])
    assert [one.endpoint for one in found.strangers] == ["x:1"]
    assert [one.endpoint for one in found.silent] == ["y:1"]
    found.check_answered()
    with pytest.raises(Unavailable, match="y:1: connection refused"):
        arrange((), [silence("y:1")]).check_answered()


def test_the_list_of_who_has_applied_most_counts() -> None:
    old, new = answer("x:1", "a", applied=4, members=(A,)), answer("y:1", "b", members=(A, B))
    assert known_members([old, new, silence("z:1")]) == (A, B)
    assert known_members([silence("z:1")]) == ()


def test_urls_that_cannot_be_read_are_left_out() -> None:
    odd = member("d", "odd", "http://", "https://10.0.0.4:2379", "tcp://x")
    assert [str(one) for one in client_endpoints(odd)] == ["https://10.0.0.4:2379"]


class Asked:
    """Nodes of which each answers as the member "one", and tells where it is to be found."""

    def __init__(self, *urls: str) -> None:
        self._urls = urls
        self.endpoints: set[str] = set()

    async def call(self, endpoint: Endpoint, method: object, request: object) -> object:
        self.endpoints.add(str(endpoint))
        if isinstance(request, etcd.StatusRequest):
            return etcd.StatusResponse(header=etcd.ResponseHeader(member_id=10))
        return etcd.MemberListResponse(members=[etcd.Member(ID=10, clientURLs=self._urls)])


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("https://a:1", {"https://a:1", "https://b:2"}),
        ("https://a:1,c:3", {"https://a:1", "c:3", "https://b:2", "127.0.0.1:2379"}),
        ("c:3", {"c:3", "https://b:2", "127.0.0.1:2379"}),
    ],
)
async def test_who_comes_with_tls_asks_nobody_without(given: str, asked: set[str]) -> None:
    """A question brings a token along, and to who refuses that, the password."""
    nodes = Asked("http://127.0.0.1:2379", "https://b:2")
    await survey(cast("Nodes", nodes), parse_endpoints(given))
    assert nodes.endpoints == asked


def test_members_are_found_by_name_and_id() -> None:
    assert find_member((A, B), "two") == B
    assert find_member((A, B), "0x000A") == A
    with pytest.raises(NotFound, match=r"its members are one \(a\), two \(b\)"):
        find_member((A, B), "three")
    with pytest.raises(InvalidInput, match="give an id"):
        find_member((A, member("e", "one")), "one")
    with pytest.raises(InvalidInput, match="give an id"):
        find_member((A, member("f", "a")), "a")
