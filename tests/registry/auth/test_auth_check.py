"""Requests on behalf of somebody: what each needs, and when a claim counts."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from registry.auth.auth_fakes import (
    BOTH,
    READ,
    WRITE,
    FakeLeases,
    add_role,
    add_user,
    enabled_store,
)

from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu_registry import errors
from tianlu_registry.auth import ROOT, AuthStore, Checker, Claim
from tianlu_registry.auth.commands import MESSAGES
from tianlu_registry.auth.envelope import seal, unseal
from tianlu_registry.auth.permissions import Access

PUT = pb.PutRequest(key=b"w/a")
OP = pb.RequestOp


@pytest.fixture
def leases() -> FakeLeases:
    return FakeLeases()


@pytest.fixture
def store() -> AuthStore:
    """ann may write w/ and read r/ and both in b/."""
    store = enabled_store()
    add_role(
        store,
        "role",
        (WRITE, b"w/", b"w0"),
        (READ, b"r/", b"r0"),
        (BOTH, b"b/", b"b0"),
    )
    add_user(store, "ann", "role")
    return store


@pytest.fixture
def checker(store: AuthStore, leases: FakeLeases) -> Checker:
    return Checker(store, leases)


def check(checker: Checker, store: AuthStore, request: Message, user: str = "ann") -> None:
    claim = Claim(user, store.revision)
    if isinstance(request, pb.RangeRequest):
        checker.range(claim, request)
    else:
        checker.command(claim, request)


PERMITTED: list[Message] = [
    PUT,
    pb.PutRequest(key=b"b/a", prev_kv=True),
    pb.RangeRequest(key=b"r/", range_end=b"r0"),
    pb.DeleteRangeRequest(key=b"w/", range_end=b"w0"),
    pb.DeleteRangeRequest(key=b"b/", range_end=b"b0", prev_kv=True),
    pb.TxnRequest(
        compare=[pb.Compare(key=b"r/a")],
        success=[OP(request_put=PUT), OP(request_txn=pb.TxnRequest(success=[OP(request_put=PUT)]))],
        failure=[OP(request_range=pb.RangeRequest(key=b"r/a")), OP()],
    ),
    pb.LeaseGrantRequest(TTL=1),
    pb.LeaseRevokeRequest(ID=1),
    pb.CompactionRequest(revision=1),
]

DENIED: list[Message] = [
    pb.PutRequest(key=b"r/a"),
    pb.PutRequest(key=b"w/a", prev_kv=True),
    pb.RangeRequest(key=b"w/a"),
    pb.RangeRequest(key=b"r/", range_end=b"\0"),
    pb.RangeRequest(key=b"r/", range_end=b"r1"),
    pb.DeleteRangeRequest(key=b"r/a"),
    pb.DeleteRangeRequest(key=b"w/a", prev_kv=True),
    pb.TxnRequest(compare=[pb.Compare(key=b"w/a")]),
    pb.TxnRequest(compare=[pb.Compare(key=b"r/", range_end=b"\0")]),
    pb.TxnRequest(failure=[OP(request_put=pb.PutRequest(key=b"r/a"))]),
    pb.TxnRequest(success=[OP(request_range=pb.RangeRequest(key=b"w/a"))]),
    pb.TxnRequest(success=[OP(request_delete_range=pb.DeleteRangeRequest(key=b"r/a"))]),
    pb.TxnRequest(
        failure=[OP(request_txn=pb.TxnRequest(failure=[OP(request_put=pb.PutRequest(key=b"x"))]))]
    ),
    pb.PutRequest(key=b"w/a", lease=2),
    pb.LeaseRevokeRequest(ID=2),
    pb.AlarmRequest(),  # no rule for it
    *(message() for kind, message in MESSAGES.items() if kind.name != "LOG_IN"),
]


@pytest.mark.parametrize("request_", PERMITTED, ids=lambda each: type(each).__name__)
def test_permitted(
    checker: Checker, store: AuthStore, leases: FakeLeases, request_: Message
) -> None:
    leases.keys[1] = [b"w/1", b"b/1"]
    check(checker, store, request_)
    with pytest.raises(errors.UserEmpty):
        check(checker, store, request_, user="")


@pytest.mark.parametrize("request_", DENIED, ids=lambda each: type(each).__name__)
def test_denied(checker: Checker, store: AuthStore, leases: FakeLeases, request_: Message) -> None:
    leases.keys[2] = [b"w/1", b"r/1"]
    with pytest.raises(errors.PermissionDenied):
        check(checker, store, request_)
    if not isinstance(request_, pb.AlarmRequest):
        check(checker, store, request_, user=ROOT)


def test_a_claim_of_an_older_revision_counts_for_nothing(
    checker: Checker, store: AuthStore
) -> None:
    with pytest.raises(errors.AuthOldRevision):
        checker.command(Claim("ann", store.revision - 1), PUT)
    with pytest.raises(errors.AuthOldRevision):
        checker.command(Claim(ROOT, store.revision - 1), PUT)


def test_who_is_gone_is_denied(checker: Checker, store: AuthStore) -> None:
    store.delete_user(pb.AuthUserDeleteRequest(name="ann"))
    with pytest.raises(errors.PermissionDenied):
        check(checker, store, PUT)
    with pytest.raises(errors.UserNotFound):
        checker.administrator(Claim("ann", store.revision))


def test_nothing_is_refused_while_it_is_off(
    checker: Checker, store: AuthStore, leases: FakeLeases
) -> None:
    leases.keys[2] = [b"r/1"]
    store.disable()
    nobody = Claim("", 0)
    for request in (each for each in DENIED if not isinstance(each, pb.AlarmRequest)):
        check(checker, store, request, user="")
    checker.administrator(nobody)
    checker.anybody(nobody)
    checker.lease(nobody, 2, Access.WRITE)


def test_log_in_is_nobodys_command(checker: Checker, store: AuthStore) -> None:
    """It comes after a password was checked, from the node itself."""
    with pytest.raises(errors.PermissionDenied):
        check(checker, store, pb.AuthenticateRequest(name="ann"), user=ROOT)


@given(st.text(max_size=40), st.integers(0, 2**64 - 1), st.integers(0, 255), st.binary(max_size=40))
def test_envelope(user: str, revision: int, kind: int, request: bytes) -> None:
    data = seal(Claim(user, revision), kind, request)
    assert unseal(data) == (Claim(user, revision), kind, request)


@pytest.mark.parametrize("data", [b"", b"\1" * 10, seal(Claim("ann", 1), 1, b"")[:-1]])
def test_a_torn_envelope_is_corrupt(data: bytes) -> None:
    with pytest.raises(errors.Corrupt):
        unseal(data)
