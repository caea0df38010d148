"""What lines say of calls, and what they may never say."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._proto.etcd.v3election_pb2 import DESCRIPTOR as ELECTION
from tianlu._proto.etcd.v3lock_pb2 import DESCRIPTOR as LOCK
from tianlu._proto.v1.catalog_pb2 import DESCRIPTOR as CATALOG
from tianlu_registry.audit.key_text import KEY_BYTES_MAX, key_text, range_fields
from tianlu_registry.audit.touched import OPERATIONS_MAX, SOMETIMES_READ, WRITES, revision_of

READS = {
    *("etcdserverpb.KV/Range", "etcdserverpb.KV/RangeStream", "etcdserverpb.Watch/Watch"),
    *("etcdserverpb.Lease/LeaseKeepAlive", "etcdserverpb.Lease/LeaseTimeToLive"),
    *("etcdserverpb.Lease/LeaseLeases", "etcdserverpb.Cluster/MemberList"),
    *("etcdserverpb.Maintenance/Status", "etcdserverpb.Maintenance/Hash"),
    *("etcdserverpb.Maintenance/HashKV", "etcdserverpb.Auth/AuthStatus"),
    *("etcdserverpb.Auth/UserGet", "etcdserverpb.Auth/UserList"),
    *("etcdserverpb.Auth/RoleGet", "etcdserverpb.Auth/RoleList"),
    *("v3electionpb.Election/Leader", "v3electionpb.Election/Observe"),
    # What keeps a session alive changes nothing.
    *("tianlu.v1.Catalog/KeepAlive", "tianlu.v1.Catalog/RenewSession"),
    *("tianlu.v1.Catalog/GetService", "tianlu.v1.Catalog/ListNamespaces"),
    *("tianlu.v1.Catalog/ListServices", "tianlu.v1.Catalog/ListInstances"),
    *("tianlu.v1.Catalog/Discover", "tianlu.v1.Catalog/Watch"),
    *("tianlu.v1.Catalog/ListSubscribers", "tianlu.v1.Catalog/AwaitApplied"),
}
METHODS = {
    f"{service.full_name}/{method.name}": method
    for file in (etcd.DESCRIPTOR, LOCK, ELECTION, CATALOG)
    for service in file.services_by_name.values()
    for method in service.methods
}
SECRET_FIELDS = {"value", "password", "hashedPassword", "metadata"}
SECRET = "s3cret"


def test_every_method_either_leaves_lines_or_changes_nothing() -> None:
    assert set(METHODS) == READS | set(WRITES)
    assert not READS & set(WRITES)


def test_only_methods_that_are_known_to_may_leave_no_line() -> None:
    requests = {name: GetMessageClass(METHODS[name].input_type)() for name in WRITES}
    silent = {name for name, touched in WRITES.items() if touched(requests[name], None) is None}
    assert silent <= SOMETIMES_READ <= set(WRITES)


@pytest.mark.parametrize("name", sorted(WRITES))
def test_no_value_and_no_password_is_in_a_line(name: str) -> None:
    request = GetMessageClass(METHODS[name].input_type)()
    response = GetMessageClass(METHODS[name].output_type)()
    _fill(request, 3)
    assert SECRET in str(request) or not (SECRET_FIELDS & set(request.DESCRIPTOR.fields_by_name))
    if name == "etcdserverpb.KV/Txn":
        response = etcd.TxnResponse(succeeded=True, responses=[etcd.ResponseOp()] * 3)
    for answer in (None, response):
        line = json.dumps(WRITES[name](request, answer))
        assert SECRET not in line


@pytest.mark.parametrize("name", sorted(WRITES))
def test_a_number_without_a_name_stands_as_it_is(name: str) -> None:
    """Enums are open: what a caller makes up must neither fail a call nor keep its line away."""
    request = GetMessageClass(METHODS[name].input_type)()
    for message in (request, getattr(request, "perm", None)):
        for field in () if message is None else message.DESCRIPTOR.fields:
            if field.enum_type is not None and not field.is_repeated:
                setattr(message, field.name, 99)
    json.dumps(WRITES[name](request, None))


def test_what_a_grant_says_of_an_unknown_permission() -> None:
    request = etcd.AuthRoleGrantPermissionRequest(name="r")
    request.perm.permType, request.perm.key = 99, b"k"  # type: ignore[assignment]
    fields = WRITES["etcdserverpb.Auth/RoleGrantPermission"](request, None)
    assert fields == {"role": "r", "permission": {"op": "99", "key": "k"}}


def _fill(message: Message, depth: int) -> None:
    """Put a secret into each field that may hold one, and something else into every other."""
    if isinstance(message, etcd.TxnRequest):
        message.success.add().request_put.CopyFrom(etcd.PutRequest(key=b"k", value=SECRET.encode()))
        message.success.add().request_delete_range.key = b"k"
        message.success.add().request_range.key = b"k"
        message.compare.add().value = SECRET.encode()
        return
    for field in message.DESCRIPTOR.fields:
        word = SECRET if field.name in SECRET_FIELDS else "word"
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[word] = word
        elif field.message_type is not None and depth and not field.is_repeated:
            _fill(getattr(message, field.name), depth - 1)
        elif field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            setattr(message, field.name, word)
        elif field.type == FieldDescriptor.TYPE_BYTES and not field.is_repeated:
            setattr(message, field.name, word.encode())


# Transactions


def _put(key: bytes) -> etcd.RequestOp:
    return etcd.RequestOp(request_put=etcd.PutRequest(key=key, value=b"v", lease=255))


def _txn(request: etcd.TxnRequest, response: etcd.TxnResponse | None) -> dict[str, object] | None:
    return WRITES["etcdserverpb.KV/Txn"](request, response)


def test_only_the_branch_that_was_taken_is_in_the_line() -> None:
    request = etcd.TxnRequest(success=[_put(b"a")], failure=[_put(b"b")])
    done = etcd.TxnResponse(succeeded=True, responses=[etcd.ResponseOp()])
    assert _txn(request, done) == {
        "keys": [{"op": "put", "key": "a", "lease": "ff"}],
        "succeeded": True,
    }
    refused = _txn(request, None)
    assert refused is not None
    assert [each["key"] for each in refused["keys"]] == ["a", "b"]  # type: ignore[attr-defined]


def test_nested_branches_are_followed() -> None:
    inner = etcd.TxnRequest(success=[_put(b"a")], failure=[_put(b"b")])
    request = etcd.TxnRequest(success=[etcd.RequestOp(request_txn=inner), _put(b"c")])
    inner_done = etcd.TxnResponse(succeeded=False, responses=[etcd.ResponseOp()])
    done = etcd.TxnResponse(
        succeeded=True,
        responses=[etcd.ResponseOp(response_txn=inner_done), etcd.ResponseOp()],
    )
    fields = _txn(request, done)
    assert fields is not None
    assert [each["key"] for each in fields["keys"]] == ["b", "c"]  # type: ignore[attr-defined]


def test_a_transaction_that_wrote_nothing_leaves_no_line() -> None:
    reading = etcd.RequestOp(request_range=etcd.RangeRequest(key=b"a"))
    done = etcd.TxnResponse(succeeded=True, responses=[etcd.ResponseOp()])
    assert _txn(etcd.TxnRequest(success=[reading]), None) is None
    assert _txn(etcd.TxnRequest(success=[reading], failure=[_put(b"b")]), done) is None


def test_a_long_transaction_is_cut_and_says_so() -> None:
    count = OPERATIONS_MAX + 5
    request = etcd.TxnRequest(success=[_put(b"%d" % number) for number in range(count)])
    fields = _txn(request, None)
    assert fields is not None
    assert len(fields["keys"]) == OPERATIONS_MAX  # type: ignore[arg-type]
    assert fields["keys_left_out"] == 5


def test_the_revision_is_found_in_both_kinds_of_responses() -> None:
    header = etcd.ResponseHeader(revision=7)
    assert revision_of(etcd.PutResponse(header=header)) == 7
    deleted = GetMessageClass(METHODS["tianlu.v1.Catalog/DeleteService"].output_type)(revision=8)
    assert revision_of(deleted) == 8
    assert revision_of(None) == 0


# Keys as text


@given(st.binary(max_size=64))
def test_keys_are_exact(key: bytes) -> None:
    text = key_text(key)
    assert text.isprintable()
    assert b"".join(_bytes_of(text)) == key


def _bytes_of(text: str) -> Iterator[bytes]:
    characters = iter(text)
    for each in characters:
        if each != "\\":
            yield each.encode()
        elif (kind := next(characters)) == "x":
            yield bytes.fromhex(next(characters) + next(characters))
        else:
            yield kind.encode()


def test_a_long_key_is_cut_and_says_so() -> None:
    fields = range_fields("put", b"k" * (KEY_BYTES_MAX + 1), b"l")
    assert fields == {
        "op": "put",
        "key": "k" * KEY_BYTES_MAX,
        "key_bytes": KEY_BYTES_MAX + 1,
        "range_end": "l",
    }
